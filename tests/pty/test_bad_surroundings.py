"""The app where things are not as they should be: C locale, no home, dumb terminals, tiny and changing windows, two viewers."""

from __future__ import annotations

import fcntl
import os
import pwd
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from fake_run import FakeTrainer, finished_run, make_run
from pty_terminal import Terminal

LORATUI = [sys.executable, "-m", "loratui.tui.cli"]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("LORATUI_HOME", str(folder))
    monkeypatch.setenv("LORATUI_CONFIG", str(tmp_path / "config"))
    return folder


def _resize(terminal: Terminal, columns: int, rows: int) -> None:
    fcntl.ioctl(terminal.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    terminal.columns, terminal.rows = columns, rows


def test_in_the_c_locale_everything_still_works(home: Path) -> None:
    finished_run(home)
    environ = {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    with Terminal.start(LORATUI, columns=100, rows=30, environ=environ) as terminal:
        text = terminal.shows("anafox-2026", "✔ done", "leave")
        assert "\\u" not in text
        terminal.press("?")
        terminal.shows("Here: a list")
        terminal.press("\x1b")
        terminal.hides("Here: a list")
        terminal.press("q")
        assert terminal.ended(5)
        assert terminal.exit_code == 0


def test_a_terminal_of_another_encoding_gets_plain_lines(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Terminal.start(LORATUI, columns=100, rows=30, environ={"PYTHONIOENCODING": "latin-1"}) as terminal:
        assert terminal.read_for(20, lambda: b"Which" in terminal.sent or b"What do you want to do?" in terminal.sent)
        assert b"\x1b[?1049h" not in terminal.sent


def test_without_a_home_folder_it_works_or_says_what_to_do(tmp_path: Path) -> None:
    env = {"PATH": os.environ["PATH"], "TERM": "xterm-256color"}
    if Path("/workspace").is_dir():
        pytest.skip("this machine has a /workspace, which takes the place of a home folder")
    done = subprocess.run([*LORATUI, "runs"], capture_output=True, text=True, timeout=60, env=env, check=False)
    assert "Traceback" not in done.stderr
    assert done.returncode in (0, 2)
    if done.returncode == 2:
        assert "HOME" in done.stderr


@pytest.mark.parametrize("term", ["dumb", "unknown", ""])
def test_a_terminal_that_cannot_move_its_cursor_gets_plain_lines(home: Path, term: str) -> None:
    with Terminal.start(LORATUI, columns=80, rows=24, environ={"TERM": term}) as terminal:
        assert terminal.read_for(20, lambda: b"Number [1]:" in terminal.sent)
        assert b"\x1b[" not in terminal.sent


def test_a_tiny_window_says_what_it_needs_and_a_larger_one_helps(home: Path) -> None:
    with Terminal.start(LORATUI, columns=40, rows=10) as terminal:
        terminal.shows("This terminal is 40×10", "60×20")
        _resize(terminal, 80, 24)
        terminal.shows("No runs yet")
        terminal.press("q")
        assert terminal.ended(5)


@pytest.mark.parametrize("after_s", [0.1, 0.3, 0.5])
def test_a_window_that_changes_while_the_app_starts_is_filled(home: Path, after_s: float) -> None:
    finished_run(home)
    with Terminal.start(LORATUI, columns=120, rows=40) as terminal:
        terminal.read_for(after_s)
        _resize(terminal, 80, 24)
        assert terminal.read_for(20, lambda: "q leave" in terminal.screen().split("\n")[23])
        terminal.settles()
        lines = terminal.screen().splitlines()
        assert "anafox-2026" in terminal.screen()
        assert "q leave" in lines[23]
        assert all(len(line.rstrip()) <= 80 for line in lines)


_WITH_A_FAULT = """
import pathlib, sys
from loratui.tui import cli
from loratui.tui.screens.base import LoratuiScreen
def broken(self):
    raise RuntimeError("a bug")
fault = pathlib.Path(sys.argv.pop(1))
if fault.exists():
    fault.unlink()
    LoratuiScreen.action_help = broken
sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.mark.parametrize("answer", ["r", "\r", "\x03", "\x04"])
def test_after_a_fault_of_the_app_one_key_starts_it_again(home: Path, tmp_path: Path, answer: str) -> None:
    run = make_run(home)
    with FakeTrainer(run) as trainer:
        trainer.start()
        trainer.steps(9)
        (tmp_path / "fault").touch()
        command = [sys.executable, "-c", _WITH_A_FAULT, str(tmp_path / "fault"), "attach", run.name]
        with Terminal.start(command, columns=80, rows=24) as terminal:
            terminal.shows("9 of 900", "? help")
            terminal.press("?rrr")
            terminal.shows("an error in itself: RuntimeError: a bug", "r starts loratui again; any other key leaves.")
            terminal.press(answer)  # ends it with 70 only if the keys before the question were not its answer
            if answer == "r":
                terminal.shows("9 of 900", "? help")
                terminal.press("?")
                terminal.shows("The run's progress.")
                terminal.press("\x1b")
                terminal.hides("The run's progress.")
                terminal.press("q")
            assert terminal.ended(5)
            assert terminal.exit_code == (0 if answer == "r" else 70)
        trainer.steps(1)


def test_a_storm_of_sizes_is_survived(home: Path) -> None:
    finished_run(home)
    with Terminal.start(LORATUI, columns=80, rows=24) as terminal:
        terminal.shows("anafox-2026")
        for columns, rows in ((80, 24), (20, 5), (1, 1), (300, 100), (59, 19), (160, 50)) * 5:
            _resize(terminal, columns, rows)
            terminal.read_for(0.03)
        _resize(terminal, 80, 24)
        terminal.settles()
        terminal.press("?")
        terminal.shows("Here: a list")
        terminal.press("\x1b")
        terminal.hides("Here: a list")
        terminal.press("q")
        assert terminal.ended(5)
        assert terminal.exit_code == 0


@pytest.mark.parametrize(
    ("keys", "words"),
    [("", "anafox-2026"), ("?", "Here: a list"), ("d", "Delete"), ("\x10", "What do you want to do?")],
    ids=["runs", "help", "question", "palette"],
)
def test_what_others_wrote_on_the_screen_goes_with_one_key(home: Path, keys: str, words: str) -> None:
    finished_run(home)
    with Terminal.start(LORATUI, columns=80, rows=24) as terminal:
        terminal.shows("anafox-2026", "GiB free", "q leave")  # the machine comes last
        terminal.press(keys)
        terminal.shows(words)
        terminal.settles()
        before = terminal.screen()
        junk = b"\x1b[5;9r\x1b[?6h\x1b[2J\x1b[3;1Hsomebody: the machine goes down at five\r\n\x0e"
        terminal.chunks.append((0.0, junk))
        assert terminal.screen() != before
        terminal.press("\x0c")
        terminal.read_for(5, lambda: terminal.screen() == before)
        assert terminal.screen() == before
        assert terminal.left_bare() == 0


def test_two_viewers_see_the_same_and_one_may_go(home: Path) -> None:
    run = make_run(home)
    with FakeTrainer(run) as trainer:
        trainer.start()
        trainer.steps(9)
        command = [*LORATUI, "attach", run.name]
        with (
            Terminal.start(command, columns=80, rows=24) as one,
            Terminal.start([*command, "--view-only"], columns=80, rows=24) as two,
        ):
            one.shows("9 of 900")
            two.shows("9 of 900", "view only")
            one.hang_up()
            assert one.ended(2)
            trainer.steps(9)
            two.shows("18 of 900")
        trainer.steps(1)


def test_the_title_tells_the_progress_and_is_given_back(home: Path) -> None:
    run = make_run(home)
    with FakeTrainer(run) as trainer:
        trainer.start()
        trainer.steps(90)
        with Terminal.start(LORATUI, columns=80, rows=24) as terminal:
            terminal.shows(run.name)
            title = f"\x1b]2;10 % · {run.name} · loratui\x07".encode()
            assert terminal.read_for(10, lambda: title in terminal.sent)
            assert terminal.sent.index(b"\x1b[22;2t") < terminal.sent.index(title)
            terminal.press("q")
            assert terminal.ended(5)
            assert b"\x1b[23;2t" in terminal.sent


def test_a_killed_viewer_leaves_its_draft(home: Path) -> None:
    with Terminal.start(LORATUI, columns=80, rows=24) as terminal:
        terminal.shows("No runs yet")
        terminal.press("t")
        terminal.shows("[4 plan]", "1 800 image-steps")
        terminal.press("\x1b[B5")
        terminal.shows("× 5 epochs = 900")
        terminal.read_for(0.5)
        os.kill(terminal.pid, 9)
    with Terminal.start(LORATUI, columns=80, rows=24) as terminal:
        terminal.shows("Draft: anafox")


def test_the_user_of_this_machine_is_in_no_report(home: Path) -> None:
    from loratui.tui.crash import facts, report

    text = report(facts((80, 24)))
    assert pwd.getpwuid(os.getuid()).pw_dir not in text or pwd.getpwuid(os.getuid()).pw_dir == "/"
