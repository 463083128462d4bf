"""The dashboard on real terminals: ones that answer late or never, stop reading, vanish, or change their size all the time."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import struct
import sys
import termios
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fake_run import PROMPTS, FakeTrainer, make_run
from fake_trainer import Actor
from pty_terminal import Terminal

from loratui.engine.runs.directory import RunDirectory
from loratui.engine.runs.events import read_events

LORATUI = [sys.executable, "-m", "loratui.tui.cli"]
SIXEL_TERMINAL = b"\x1b[6;18;9t\x1b[?63;1;2;4;6;9;15;22c"
_QUESTION = b"\x1b[c"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("LORATUI_HOME", str(folder))
    monkeypatch.setenv("LORATUI_CONFIG", str(tmp_path / "config"))
    for name in ("TMUX", "STY", "KITTY_WINDOW_ID", "TERM_PROGRAM", "LC_TERMINAL"):
        monkeypatch.delenv(name, raising=False)
    return folder


def _begun(home: Path) -> RunDirectory:
    run = make_run(home)
    with FakeTrainer(run) as trainer:
        trainer.start()
        trainer.steps(90)
        for index, prompt in enumerate(PROMPTS):
            trainer.sample(prompt, index)
    return run


@contextmanager
def _training(run: RunDirectory, ending: str = "done", speed: float = 20.0, last_step: int = 900) -> Iterator[threading.Thread]:
    """A believable run in a thread; it is waited for at the end."""

    def play() -> None:
        with FakeTrainer(run, step_s=0.5 / speed) as trainer:
            Actor(trainer, speed=speed, last_step=last_step).play(ending)

    thread = threading.Thread(target=play, daemon=True)
    thread.start()
    yield thread
    thread.join(60)
    assert not thread.is_alive()


def test_no_cell_shows_the_background_of_the_terminal_itself(home: Path) -> None:
    run = _begun(home)
    with Terminal.start([*LORATUI, "attach", run.name]) as terminal:
        terminal.shows("90 of 900 optimizer steps")
        terminal.settles()
        assert terminal.left_bare() == 0
        terminal.press("o")
        terminal.shows("real pixels")
        terminal.settles()
        assert terminal.left_bare() == 0


def _answer(terminal: Terminal, reply: bytes, after_s: float, asked_before: int) -> None:
    """Waits for the question of what the terminal can show and answers it after some time."""
    assert terminal.read_for(10, lambda: terminal.sent.count(_QUESTION) > asked_before)
    terminal.read_for(after_s)
    os.write(terminal.fd, reply)


@pytest.mark.parametrize("delay_s", [0.0, 0.3, 1.2])
def test_an_image_in_pixels_however_late_the_terminal_answers(home: Path, delay_s: float) -> None:
    run = _begun(home)
    with Terminal.start([*LORATUI, "attach", run.name], columns=80, rows=24) as terminal:
        terminal.shows("90 of 900 optimizer steps", "samples/step-000090")
        terminal.press("o")
        terminal.shows("f real pixels")
        asked = terminal.sent.count(_QUESTION)
        terminal.press("f")
        _answer(terminal, SIXEL_TERMINAL, delay_s, asked)
        assert terminal.read_for(10, lambda: b"\x1bP0;1q" in terminal.sent and b"any key returns" in terminal.sent)
        terminal.forget()  # the emulator of these tests knows no sixels
        terminal.press(" ")
        terminal.shows("f real pixels", "red clothing")
        terminal.press("\x1b")
        text = terminal.shows("90 of 900 optimizer steps")
        assert "keys of this screen" not in text.lower()


def test_a_terminal_that_never_answers_is_waited_for_once_and_shows_words(home: Path) -> None:
    run = _begun(home)
    with Terminal.start([*LORATUI, "attach", run.name]) as terminal:
        terminal.shows("90 of 900 optimizer steps", "o image")
        terminal.press("o")
        terminal.shows("f real pixels")
        began = time.monotonic()
        terminal.press("f")
        terminal.read_for(8, lambda: b"any key returns" in terminal.sent)
        assert 1.5 < time.monotonic() - began < 6.0
        terminal.press(" ")
        # The answer comes at last, when nobody expects it: it is swallowed, and no key of the app is pressed by it.
        terminal.read_for(0.3)
        os.write(terminal.fd, SIXEL_TERMINAL)
        terminal.shows("No real pixels", "f real pixels")
        terminal.press("\x1b")
        terminal.shows("90 of 900 optimizer steps", "esc runs")


def test_a_terminal_that_stops_reading_neither_holds_the_run_nor_loses_what_happened(home: Path) -> None:
    run = make_run(home)
    with _training(run, speed=100.0, last_step=600) as thread, Terminal.start([*LORATUI, "attach", run.name]) as terminal:
        terminal.shows("optimizer steps")
        thread.join(60)  # the run goes to its end while nobody reads
        assert not thread.is_alive()
        assert terminal.rss_mib() < 160
        terminal.shows("done", "600 of 900 optimizer steps", timeout_s=30)
        terminal.press("q")
        assert terminal.ended(10)


def test_a_storm_of_sizes_breaks_nothing(home: Path) -> None:
    run = make_run(home)
    sizes = [(24, 80), (5, 20), (1, 1), (100, 300), (40, 120), (20, 60), (19, 59), (50, 160)]
    with _training(run, speed=100.0, last_step=600), Terminal.start([*LORATUI, "attach", run.name]) as terminal:
        terminal.shows("optimizer steps")
        for number in range(30):
            rows, columns = sizes[number % len(sizes)]
            fcntl.ioctl(terminal.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
            if number % 10 == 3:
                terminal.press("2")
            terminal.read_for(0.03)
        terminal.press("2")
        fcntl.ioctl(terminal.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        terminal.columns, terminal.rows = 120, 40
        terminal.forget()
        terminal.shows("600 of 900 optimizer steps", "done", timeout_s=30)
        terminal.press("q")
        assert terminal.ended(10)
        assert terminal.exit_code == 0


@pytest.mark.parametrize(
    ("ending", "words"),
    [
        ("crash", "interrupted"),
        ("nan", "is not a finite number"),
        ("memory", "too little memory"),
        ("done", "All steps are done"),
    ],
)
def test_every_end_of_a_run_is_told(home: Path, ending: str, words: str) -> None:
    run = make_run(home)
    with _training(run, ending, speed=200.0, last_step=90), Terminal.start([*LORATUI, "attach", run.name]) as terminal:
        terminal.shows(words, timeout_s=40)


def test_two_viewers_show_the_same_and_one_may_vanish(home: Path) -> None:
    run = _begun(home)
    with FakeTrainer(run) as trainer:
        trainer.step = 90
        command = [*LORATUI, "attach", run.name]
        with Terminal.start(command) as one, Terminal.start(command, columns=80, rows=24) as other:
            one.shows("90 of 900")
            other.shows("90 of 900")
            one.hang_up()
            assert one.ended(2.0)
            trainer.steps(10)
            other.shows("100 of 900")
    assert [e.get("step") for e in read_events(run.events).events if e.type == "step"] == list(range(1, 101))


def test_the_way_back_to_a_torn_and_long_log_is_short(home: Path) -> None:
    run = make_run(home)
    with FakeTrainer(run) as trainer:
        trainer.start(optimizer_steps=30_000, image_steps=60_000)
        trainer.steps(30_000)
    with run.events.open("ab") as file:
        file.write(b'{"v":1,"seq":99999,"ts":17')
    began = time.monotonic()
    with Terminal.start([*LORATUI, "attach", run.name]) as terminal:
        terminal.shows("30 000 of 30 000 optimizer steps", "interrupted")
        assert time.monotonic() - began < 10
        assert terminal.cpu_s() < 3


def test_nothing_listens_before_a_page_is_asked_for(home: Path) -> None:
    run = _begun(home)
    with Terminal.start([*LORATUI, "attach", run.name]) as terminal:
        terminal.shows("90 of 900 optimizer steps", "o image")
        assert _listening(terminal.pid) == 0
        terminal.press("o")
        terminal.shows("b browser")
        terminal.press("b")
        text = terminal.shows("http://127.0.0.1:")
        assert re.search(r"ssh -N -L \d+:127.0.0.1:\d+", text)
        assert _listening(terminal.pid) == 1
        terminal.press("\x1b")
        assert terminal.read_for(10, lambda: _listening(terminal.pid) == 0)


def _listening(pid: int) -> int:
    """TCP sockets on which a process listens."""
    inodes = {str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir() if entry.is_symlink()}
    lines = [line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]]
    return sum(1 for fields in lines if fields[3] == "0A" and f"socket:[{fields[9]}]" in inodes)


def test_a_watched_step_sends_little_and_a_key_has_little_to_wait_for(home: Path) -> None:
    run = make_run(home)
    with FakeTrainer(run, step_s=0.5) as trainer:
        trainer.start()
        trainer.steps(200)
        for index, prompt in enumerate(PROMPTS):
            trainer.sample(prompt, index)
        with Terminal.start([*LORATUI, "attach", run.name]) as terminal:
            terminal.shows("200 of 900", "samples/step-000200")
            terminal.settles(0.5)
            assert len(terminal.sent) < 60_000
            paints: list[int] = []
            for step in range(201, 203):
                before = len(terminal.sent)
                trainer.steps(1)
                terminal.shows(f"{step} of 900")
                terminal.read_for(1.2)
                paints.append(len(terminal.sent) - before)
            before = len(terminal.sent)
            terminal.press("l")
            terminal.shows("logarithmic")
            key = len(terminal.sent) - before
    # 2 400 bytes are 150 ms of a line of 16 KiB/s.
    assert max(paints) + key < 2_400, (paints, key)
    assert max(paints) < 800, paints


def test_a_size_that_changed_and_changed_back_leaves_nothing_unpainted(home: Path) -> None:
    run = _begun(home)
    with Terminal.start([*LORATUI, "attach", run.name]) as terminal:
        terminal.shows("90 of 900", "samples/step-000090")
        terminal.settles()
        terminal.forget()
        os.kill(terminal.pid, signal.SIGWINCH)
        terminal.shows("90 of 900", "samples/step-000090", "esc runs")


_SYNC_ANSWER, _SYNC_QUESTION = b"\x1b[?2026;2$y", b"\x1b[?2026$p"


def _unanswered(terminal: Terminal, answered: int) -> int:
    return terminal.sent.count(_SYNC_QUESTION) - answered


def test_on_a_line_that_has_not_emptied_itself_only_keys_paint(home: Path) -> None:
    run = make_run(home)
    with FakeTrainer(run, step_s=0.5) as trainer:
        trainer.start()
        trainer.steps(200)
        with Terminal.start([*LORATUI, "attach", run.name]) as terminal:
            assert terminal.read_for(20, lambda: _SYNC_QUESTION in terminal.sent)
            os.write(terminal.fd, _SYNC_ANSWER)
            answered = 1
            terminal.shows("200 of 900")
            end = time.monotonic() + 20.0
            while answered <= 2:
                assert time.monotonic() < end
                terminal.read_for(0.1)
                os.write(terminal.fd, _SYNC_ANSWER * (count := _unanswered(terminal, answered)))
                answered += count
            # From here on nothing arrives at the person's side for a while: one paint is on its way, and an image is waiting.
            trainer.steps(1)
            trainer.sample()
            assert terminal.read_for(5, lambda: _unanswered(terminal, answered) > 0)
            terminal.read_for(0.3)
            before = len(terminal.sent)
            trainer.steps(1)
            terminal.read_for(1.3)
            assert len(terminal.sent) - before < 100  # the window's title may be among it
            terminal.press("l")
            assert terminal.read_for(2, lambda: b"logarithmic" in terminal.sent[before:])
            terminal.read_for(0.2)
            assert len(terminal.sent) - before < 2_400
            os.write(terminal.fd, _SYNC_ANSWER * _unanswered(terminal, answered))
            terminal.shows("202 of 900")
