"""The app as a person runs it, behind a real terminal: by keys alone, through a dropped line, and where there is none."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fake_run import FakeTrainer, make_run
from pty_terminal import Terminal

from loratui.presets.bases import demo_dataset

LORATUI = [sys.executable, "-m", "loratui.tui.cli"]

_COLOUR = re.compile(rb"\x1b\[[0-9;]*?(?<![0-9])(?:3[0-8]|4[0-8]|9[0-7]|10[0-7])(?![0-9])[0-9;]*m")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("LORATUI_HOME", str(folder))
    monkeypatch.setenv("LORATUI_CONFIG", str(tmp_path / "config"))
    return folder


def test_a_new_person_walks_from_nothing_to_the_start(home: Path) -> None:
    with Terminal.start(LORATUI, columns=80, rows=24) as terminal:
        terminal.shows("No runs yet", "n new run", "q leave")
        terminal.press("n")
        terminal.shows("[1 preset]", "enter next")
        terminal.press("\x1b[F")
        terminal.shows("Demo: an invented person", "embedded:sd15")
        terminal.press("\r")
        terminal.shows("[2 base]", "toy for the demo")
        terminal.press("\r")
        terminal.shows("[3 dataset]", "Folder")
        terminal.press(str(demo_dataset()))
        terminal.shows("18 images, 18 with a caption")
        terminal.press("\ranafox\rwoman\r")
        terminal.shows("[4 plan]", "18 images × 10 repeats = 180", "× 10 epochs = 1 800 image-steps", "÷ batch 2 = 900")
        terminal.press("\r")
        terminal.shows("[5 samples]", "→ a photo of anafox woman")
        terminal.press("\r")
        terminal.shows("[6 preflight]", "All 18 images can be read", "enter runs one real")
        terminal.press("q")
        assert terminal.ended(5)
        assert terminal.exit_code == 0
        assert b"\x1b[?1049l" in terminal.sent


def test_a_run_is_watched_and_left(home: Path) -> None:
    run = make_run(home)
    with FakeTrainer(run) as trainer:
        trainer.start()
        trainer.sample()
        trainer.steps(90)
        with Terminal.start([*LORATUI, "attach", run.name], columns=80, rows=24) as terminal:
            terminal.shows("90 of 900 optimizer steps", "4.0 steps/s", "● training")
            trainer.steps(90)
            terminal.shows("180 of 900 optimizer steps")
            terminal.press("q")
            assert terminal.ended(5)
            assert f"Come back with: loratui attach {run.name}".encode() in terminal.sent
        trainer.steps(1)


@pytest.mark.parametrize("ignore_hangup", [False, True], ids=["plain", "nohup"])
def test_a_dropped_line_ends_the_app_within_a_second(home: Path, ignore_hangup: bool) -> None:
    run = make_run(home)
    with FakeTrainer(run) as trainer:
        trainer.start()
        trainer.steps(9)
        command = [*LORATUI, "attach", run.name]
        with Terminal.start(command, columns=80, rows=24, ignore_hangup=ignore_hangup) as terminal:
            terminal.shows("9 of 900 optimizer steps")
            terminal.hang_up()
            assert terminal.ended(1.0)
        trainer.steps(1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_gives_the_terminal_back_and_tells_that_the_run_goes_on(home: Path, number: int) -> None:
    run = make_run(home)
    with FakeTrainer(run) as trainer:
        trainer.start()
        trainer.steps(9)
        with Terminal.start([*LORATUI, "attach", run.name], columns=80, rows=24) as terminal:
            terminal.shows("9 of 900 optimizer steps")
            os.kill(terminal.pid, number)
            assert terminal.ended(5)
            after = terminal.sent.rpartition(b"\x1b[?1049l")
            assert f"loratui attach {run.name}".encode() in after[2]
            assert after[1]


def test_while_nothing_happens_nothing_is_sent_and_no_processor_is_used(home: Path) -> None:
    with Terminal.start(LORATUI, columns=80, rows=24) as terminal:
        terminal.shows("No runs yet")
        terminal.read_for(1.0)
        sent, used = len(terminal.sent), terminal.cpu_s()
        terminal.read_for(2.5)
        assert len(terminal.sent) == sent
        assert terminal.cpu_s() - used < 0.25


def test_without_colours_no_colour_is_sent(home: Path) -> None:
    run = make_run(home)
    with FakeTrainer(run) as trainer:
        trainer.start()
        trainer.sample()
        trainer.steps(90)
        with Terminal.start([*LORATUI, "attach", run.name], environ={"NO_COLOR": "1"}) as terminal:
            terminal.shows("90 of 900 optimizer steps", "128 × 128 px")
            assert _COLOUR.search(terminal.sent) is None


def test_hostile_text_sends_no_sequence_of_its_own(home: Path) -> None:
    run = make_run(home)
    with FakeTrainer(run) as trainer:
        trainer.start()
        trainer.steps(3)
        trainer.sample(prompt="[@click=app.leave]x[/] \x1b]52;c;ZXZpbA==\x07 \x1b]0;owned\x07 \x9b31m")
        trainer.log.append("warning", code="x", message="\x1b[2J\x1bc gone", remedy="\x90+q\x9c")
        with Terminal.start([*LORATUI, "attach", run.name]) as terminal:
            terminal.shows("3 of 900 optimizer steps", "␛]52;c;ZXZpbA==", "[@click")
            for harmful in (b"\x1b]52", b"\x1b]0;owned", b"\x1b[2J\x1bc", b"\x9b31m", b"\xc2\x9b", b"\xc2\x90"):
                assert harmful not in terminal.sent


@pytest.mark.parametrize("term", ["dumb", "", "unknown"])
def test_a_terminal_that_cannot_move_its_cursor_gets_plain_questions(home: Path, term: str) -> None:
    with Terminal.start(LORATUI, columns=80, rows=24, environ={"TERM": term}) as terminal:
        terminal.shows("What do you want to do?", "Number [1]:")
        assert b"\x1b" not in terminal.sent
        terminal.press("3\n")
        assert terminal.ended(10)
        assert terminal.exit_code == 0


def test_without_a_terminal_and_without_answers_it_says_what_to_do(home: Path) -> None:
    done = subprocess.run(LORATUI, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "loratui train FOLDER --preset NAME" in done.stderr
    assert "\x1b" not in done.stdout + done.stderr


def test_answers_from_a_pipe_are_taken(home: Path) -> None:
    done = subprocess.run([*LORATUI, "--plain"], input="9\n3\n", capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0
    assert "Type a number from 1 to 3." in done.stdout


def test_an_answer_that_is_no_utf8_is_asked_for_again(home: Path) -> None:
    env = {**os.environ, "PYTHONIOENCODING": "utf-8:strict"}  # as in en_US.UTF-8
    done = subprocess.run([*LORATUI, "--plain"], input=b"\xff\n3\n", capture_output=True, env=env, timeout=60, check=False)
    assert done.returncode == 0
    assert b"Type a number from 1 to 3." in done.stdout


@pytest.mark.parametrize("from_a_pipe", [False, True])
def test_a_token_that_is_no_utf8_is_refused_in_words(home: Path, from_a_pipe: bool) -> None:
    if from_a_pipe:
        env = {**os.environ, "PYTHONIOENCODING": "utf-8:strict"}
        done = subprocess.run([*LORATUI, "login"], input=b"hf_\xff\n", capture_output=True, env=env, timeout=60, check=False)
        said, code = done.stderr, done.returncode
    else:
        with Terminal.start([*LORATUI, "login"], environ={"LC_ALL": "C.UTF-8"}) as terminal:
            terminal.shows("Token:")
            os.write(terminal.fd, b"hf_\xff\n")
            assert terminal.ended(10)
            said, code = terminal.sent, terminal.exit_code
    assert code == 69
    assert b"holds characters that no token has" in said


def test_plain_on_a_good_terminal_asks_with_arrow_keys(home: Path) -> None:
    with Terminal.start([*LORATUI, "--plain"], columns=80, rows=24) as terminal:
        terminal.shows("What do you want to do?", "Train a LoRA on my images")
        terminal.press("\x1b[B\x1b[B\r")
        assert terminal.ended(10)
        assert terminal.exit_code == 0


def test_a_terminal_that_stops_reading_is_waited_for(home: Path) -> None:
    run = make_run(home)
    with FakeTrainer(run) as trainer:
        trainer.start()
        with Terminal.start([*LORATUI, "attach", run.name]) as terminal:
            terminal.shows("0 of 900 optimizer steps")
            for _ in range(10):
                trainer.sample()
                trainer.steps(20)
                time.sleep(0.2)
            terminal.shows("200 of 900 optimizer steps")
            assert terminal.rss_mib() < 120


@pytest.mark.parametrize("command", [["status", "--watch"], ["attach", "--plain"]], ids=["status", "attach"])
@pytest.mark.parametrize("ignore_hangup", [False, True], ids=["plain", "nohup"])
def test_a_dropped_line_ends_who_follows_a_silent_run(home: Path, command: list[str], ignore_hangup: bool) -> None:
    run = make_run(home)
    with FakeTrainer(run) as trainer:
        trainer.start()
        trainer.steps(9)
        words = [*LORATUI, command[0], run.name, *command[1:]]
        with Terminal.start(words, columns=80, rows=24, ignore_hangup=ignore_hangup) as terminal:
            terminal.read_for(20, lambda: b"9 of 900" in terminal.sent)
            terminal.hang_up()
            assert terminal.ended(2.0)


@pytest.mark.parametrize("environ", [{"TEXTUAL_COLOR_SYSTEM": "bogus"}, {"COLUMNS": "999999", "LINES": "99999"}])
def test_an_absurd_environment_is_ignored(home: Path, environ: dict[str, str]) -> None:
    with Terminal.start(LORATUI, columns=80, rows=24, environ=environ) as terminal:
        terminal.shows("No runs yet")
        terminal.press("q")
        assert terminal.ended(5)
        assert terminal.exit_code == 0


def test_bytes_that_are_no_utf8_neither_end_the_app_nor_become_keys(home: Path) -> None:
    mouse_at_column_150 = b"\x1b[M\x43" + bytes((32 + 150, 32 + 20))
    with Terminal.start(LORATUI, columns=200, rows=50) as terminal:
        terminal.shows("No runs yet")
        for sent in (
            mouse_at_column_150 * 3,
            b"\xff\xfe\x80",
            b"\x1b[200~caf\xe9\x1b[201~",
            b"\xe9",
            b"\x1b[99999999u\x1b[:;u",
        ):
            os.write(terminal.fd, sent)
        terminal.press("?")
        terminal.shows("closes this help")
        terminal.press("\x1b")
        terminal.hides("closes this help")
        terminal.press("q")
        assert terminal.ended(5)
        assert terminal.exit_code == 0
        assert b"Traceback" not in terminal.sent


BROKEN = {
    "reading": "import loratui.tui.terminal.driver as d; d.Keys.take = lambda self, data: [][data[0]] if data else []",
    "any thread": "import threading, loratui.tui.screens.base as b; "
    "b.LoratuiScreen.action_help = lambda self: threading.Thread(target=lambda: [][1]).start()",
}


@pytest.mark.parametrize("where", BROKEN)
def test_a_fault_in_a_thread_gives_the_terminal_back_and_ends_with_70(home: Path, where: str) -> None:
    code = f"{BROKEN[where]}; import sys; from loratui.tui.cli import main; sys.exit(main([]))"
    with Terminal.start([sys.executable, "-c", code], columns=80, rows=24) as terminal:
        terminal.shows("No runs yet")
        terminal.press("?")
        terminal.shows("ended because of an error in itself: IndexError", "r starts loratui again")
        terminal.press("x")
        assert terminal.ended(5)
        assert terminal.exit_code == 70
        assert b"Traceback" not in terminal.sent
        assert b"\x1b[?25h" in terminal.sent.rpartition(b"\x1b[?1049l")[2]
    assert len(list((home / "reports").glob("crash-*.txt"))) == 1
