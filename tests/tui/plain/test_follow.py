"""A run followed in plain lines: what is said, how often, and when following ends."""

from __future__ import annotations

import fcntl
import io
import itertools
import os
import struct
import termios
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from loratui.engine.runs import ages, lock
from loratui.engine.runs.directory import RunDirectory, create_run
from loratui.engine.runs.eta import TimeLeft
from loratui.engine.runs.event_log import EventLog
from loratui.engine.runs.events import Event, EventBatch
from loratui.engine.runs.state import RunState
from loratui.engine.runs.tail import Tail
from loratui.tui import text
from loratui.tui.plain.follow import STEP_LATEST_S, STEP_LINE_S, Narrator, _Standstills, _wrapped, follow, say
from loratui.tui.runs import figures
from loratui.tui.runs.store import RunStore


class Story:
    """A state with events told one after the other."""

    def __init__(self, steps: int = 1000) -> None:
        self.seq = itertools.count(1)
        self.store = RunStore()
        self.narrator = Narrator(self.store)
        self.tell("run_started", images=18, epochs=10, image_steps=2 * steps, optimizer_steps=steps)

    def tell(self, type: str, **fields: Any) -> None:
        self.store.apply(Event(type, next(self.seq), 0.0, fields))

    def step(self, number: int, **fields: Any) -> None:
        self.tell("step", step=number, image_step=2 * number, epoch=1, loss=0.25, step_s=0.1, **fields)

    def heard(self, now: float) -> list[str]:
        return [line.split("  ", 1)[1] for line in self.narrator.lines(now)]


def test_a_trainer_that_gets_no_further_is_told_in_plain_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = create_run(tmp_path, "anafox", recipe_toml="", effective_toml="", ledger={}, today="20261121")
    up = [ages.up_s()]
    monkeypatch.setattr("loratui.engine.runs.ages.up_s", lambda: up[0])
    monkeypatch.setattr("loratui.engine.runs.event_log.up_s", lambda: up[0])
    held = lock.acquire(run.lock)
    told = _Standstills(run, waits=False)
    with EventLog.open(run.events) as log:
        log.append("trainer_started", attempt=1, pid=1, clock=ages.clock_name())
        log.append("phase_changed", phase="training", text="")
        for step in range(1, 21):
            log.append("step", step=step, image_step=step, epoch=1, loss=0.1, step_s=0.5)
        assert list(told.lines(0.0)) == []
        up[0] += 40.0
        log.append("heartbeat", phase="training")
        assert list(told.lines(1.0)) == [], "it looks every two seconds"
        (line,) = told.lines(40.0)
        assert line.endswith("  Stalled. No step for 40 s, where one takes 0.5 s.")
        assert list(told.lines(60.0)) == []
        up[0] += 60.0
        log.append("heartbeat", phase="training")
        (again,) = told.lines(101.0)
        assert again.endswith("No step for 1 min, where one takes 0.5 s.")
        log.append("step", step=21, image_step=21, epoch=1, loss=0.1, step_s=0.5)
        (line,) = told.lines(104.0)
        assert line.endswith("  It goes on.")
        assert list(told.lines(107.0)) == []
    held.release()


@pytest.mark.parametrize("waits", [False, True])
def test_a_wait_for_the_disk_is_told_again_and_at_once_to_whoever_comes_later(tmp_path: Path, waits: bool) -> None:
    run = create_run(tmp_path, "anafox", recipe_toml="", effective_toml="", ledger={}, today="20261121")
    held = lock.acquire(run.lock)
    told = _Standstills(run, waits=waits)
    with EventLog.open(run.events) as log:
        log.append("trainer_started", attempt=1, pid=1, clock=ages.clock_name())
        log.append(
            "disk_waiting", reason="The disk is full.", remedy="Free some space.", error="ENOSPC", place="x", deletable=[]
        )
        lines = [line.split("  ", 1)[1] for now in (0.0, 30.0, 65.0, 90.0) for line in told.lines(now)]
        assert lines == ["It still waits for its disk. The disk is full. Free some space."] * (1 + waits)
        log.append("disk_resumed", seconds=1.0)
        assert list(told.lines(200.0)) == []
    held.release()


def test_every_change_is_one_sentence() -> None:
    story = Story()
    (start,) = story.heard(0.0)
    assert start.startswith("18 images, 10 epochs, ")
    story.tell("phase_changed", phase="caching", text="encoding images")
    story.tell("epoch_finished", epoch=1, step=100, loss=0.5)
    story.tell("output_written", step=100, epoch=1, path="output/a-000100.safetensors", bytes=9)
    assert story.heard(0.1) == [
        "Encoding images",
        "Epoch 1 of 10 done, mean loss 0.5000",
        "LoRA file: output/a-000100.safetensors",
    ]
    assert story.heard(0.2) == []
    deletable = [{"what": "the run old-1", "bytes": 3_400_000_000, "command": "loratui rm old-1"}]
    story.tell("disk_waiting", reason="The disk is full.", remedy="Free some space.", deletable=deletable)
    story.tell("disk_resumed", seconds=90.0)
    assert story.heard(0.3) == [
        "Waits for its disk: The disk is full. Free some space. Not needed for it: the run old-1 (3.4 GB: loratui rm old-1).",
        "The disk takes writes again, after 1 min 30 s; the run goes on",
    ]


def test_steps_are_told_each_five_percent_but_not_more_often_than_each_two_seconds() -> None:
    story = Story()
    story.heard(0.0)
    told = []
    for number in range(1, 1001):
        story.step(number)
        now = number * 0.1
        told += [(number, line) for line in story.heard(now)]
    numbers = [number for number, _ in told]
    assert numbers[0] == 50
    assert all(later - earlier >= 50 for earlier, later in itertools.pairwise(numbers))
    assert len(numbers) == 20
    assert told[0][1].startswith(f"Step 50 of {text.number(1000)} (5 %), epoch 1 of 10, smoothed loss 0.2500, 10.0 steps/s, ")


def test_fast_steps_are_told_each_two_seconds_and_slow_ones_each_half_minute() -> None:
    fast, slow = Story(), Story(100_000)
    fast.heard(0.0)
    slow.heard(0.0)
    fast_told = slow_told = 0
    for tick in range(1, 601):
        now = tick * 0.1
        fast.step(tick * 100)
        fast_told += len(fast.heard(now))
        slow.step(tick)
        slow_told += len(slow.heard(now))
    assert fast_told == 60 / STEP_LINE_S
    assert slow_told == 60 / STEP_LATEST_S


def test_progress_of_other_phases_is_told_each_two_seconds() -> None:
    story = Story()
    story.heard(0.0)
    story.tell("phase_changed", phase="caching", text="")
    lines = []
    for tick in range(1, 51):
        story.tell("progress", phase="caching", done=tick, total=50, text="images")
        lines += story.heard(tick * 0.1)
    assert lines == ["Preparing the images: 20 of 50", "Preparing the images: 40 of 50"]


def test_hostile_words_of_a_trainer_cannot_reach_the_terminal() -> None:
    story = Story()
    story.tell("warning", code="x", message="\x1b]0;owned\x07\x1b[2J\u202eevil\nsecond", remedy="\x9b31m")
    (line,) = story.heard(0.0)[1:]
    assert line.isprintable()


def test_a_burst_of_more_lines_than_are_kept_does_no_harm() -> None:
    story = Story()
    for number in range(2000):
        story.tell("warning", code="x", message=str(number), remedy="")
    lines = story.heard(0.0)
    assert lines[-1] == "1999"
    assert len(lines) == 500


def test_where_training_is_leaves_out_what_is_unknown() -> None:
    assert figures.sentence(RunState(step=7), True) == "step 7"


@pytest.mark.parametrize(("sure", "said"), [(True, "3 min 20 s left"), (False, "3 min 20 s left, not sure yet")])
def test_a_time_left_that_is_not_sure_is_said_to_be_none(sure: bool, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RunState, "time_left", TimeLeft(200.0, sure))
    assert figures.sentence(RunState(), True).endswith(said)


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return create_run(tmp_path, "anafox", recipe_toml="", effective_toml="", ledger={}, today="20261121")


def test_following_ends_with_the_lock_and_sees_the_last_word(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    held = lock.acquire(run.lock)
    log = EventLog.open(run.events)
    log.append("run_finished", status="paused", exit_code=10, reason="An earlier end.", advice="", step=1)
    log.append("trainer_started", attempt=1, pid=1)

    followed = threading.Event()

    class Followed(Tail):
        def read(self) -> EventBatch:
            batch = super().read()
            followed.set()
            return batch

    monkeypatch.setattr("loratui.tui.plain.follow.Tail", Followed)

    def carry_on() -> None:
        assert followed.wait(10)
        log.append("step", step=5, image_step=10, epoch=1, loss=0.5)
        log.append("run_finished", status="stopped", exit_code=143, reason="Stopped as asked.", advice="Go on.", step=5)
        held.release()

    thread = threading.Thread(target=carry_on)
    thread.start()
    out = io.StringIO()
    ended = follow(run, "train", out, poll_s=0.01)
    thread.join()
    log.close()
    assert (ended.status, ended.exit_code, ended.verdict.advice) == ("stopped", 143, "Go on.")
    assert "Stopped as asked." in out.getvalue()
    assert "An earlier end." not in out.getvalue()


def test_a_run_that_died_without_a_word_is_interrupted_and_not_waited_for(run: RunDirectory) -> None:
    with EventLog.open(run.events) as log:
        log.append("trainer_started", attempt=1, pid=1)
        log.append("step", step=5)
    ended = follow(run, "train", io.StringIO())
    assert (ended.status, ended.exit_code) == ("interrupted", 70)
    assert "loratui resume" in ended.verdict.advice


def test_the_past_is_told_only_when_asked(run: RunDirectory) -> None:
    with EventLog.open(run.events) as log:
        log.append("warning", code="x", message="Something old.", remedy="")
    silent, whole = io.StringIO(), io.StringIO()
    follow(run, "train", silent)
    follow(run, "train", whole, past=True)
    assert silent.getvalue() == ""
    assert "Something old." in whole.getvalue()


def test_a_terminal_without_unicode_gets_question_marks_not_an_error() -> None:
    raw = io.BytesIO()
    terminal = io.TextIOWrapper(raw, encoding="ascii", write_through=True)
    say(terminal, "6 × 10 – ok")
    assert raw.getvalue() == b"6 ? 10 ? ok\n"


@pytest.fixture
def terminal() -> Iterator[tuple[TextIO, Callable[[], list[str]]]]:
    """A terminal 60 columns wide to write to, and what has come out of it."""
    main_end, far_end = os.openpty()
    fcntl.ioctl(far_end, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 60, 0, 0))
    with os.fdopen(far_end, "w", encoding="utf-8") as out:
        yield out, lambda: os.read(main_end, 65_536).decode().splitlines()
    os.close(main_end)


def test_sentences_are_wrapped_at_the_width_of_the_terminal(terminal: tuple[TextIO, Callable[[], list[str]]]) -> None:
    out, shown = terminal
    words = "  warning: " + "Each image is shown 132 times; beyond 100 this recipe tends to memorise the photos. " * 2
    say(out, words.rstrip())
    lines = shown()
    assert max(map(len, lines)) <= 60
    assert len(lines) == 4
    assert all(line.startswith("  ") for line in lines)
    assert " ".join(line.strip() for line in lines) == words.strip()


@given(st.lists(st.text("a字é —", max_size=12), min_size=1, max_size=40), st.integers(0, 4))
def test_no_line_is_wider_than_the_terminal_whatever_its_letters_take(words: list[str], indent: int) -> None:
    line = " " * indent + " ".join(words).strip()
    lines = _wrapped(line, 60, None)
    assert max(map(cell_len, lines)) <= 60
    assert " ".join(" ".join(lines).split()) == " ".join(line.split())


def test_paths_commands_and_what_goes_to_a_file_are_never_broken(
    tmp_path: Path, terminal: tuple[TextIO, Callable[[], list[str]]]
) -> None:
    out, shown = terminal
    long = f"LoRA file: {'/a folder with blanks' * 8}.safetensors"
    say(out, long, as_it_is=True)
    assert shown() == [long]
    unbroken = "https://huggingface.co/" + "a-b" * 40
    say(out, f"See {unbroken} for it.")
    assert unbroken in shown()
    with (tmp_path / "told").open("w+") as file:
        say(file, "word " * 40)
        file.seek(0)
        assert file.read() == "word " * 40 + "\n"
