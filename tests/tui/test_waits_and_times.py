"""Clock times name their zone, waits what they are for and how long, and words go when their cause has gone."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from loratui.engine.machine import hardware
from loratui.engine.runs.clock import zone
from loratui.engine.runs.events import Event
from loratui.engine.runs.state import RunState
from loratui.engine.runs.verdict import Evidence, judge
from loratui.tui import text
from loratui.tui.plain.follow import Narrator
from loratui.tui.runs import run_words
from loratui.tui.runs.machine_line import Box
from loratui.tui.runs.store import RunStore


def _event(seq: int, type: str, ts: float = 1000.0, **fields: object) -> Event:
    return Event(type, seq, ts, fields)


@pytest.mark.parametrize(("tz", "words"), [("UTC", "UTC"), ("IST-5:30", "UTC+05:30"), ("PST8", "UTC-08:00")])
def test_the_zone_is_told_by_its_distance_from_utc(monkeypatch: pytest.MonkeyPatch, tz: str, words: str) -> None:
    monkeypatch.setenv("TZ", tz)
    time.tzset()
    try:
        assert zone(1_760_000_000.0) == words
        assert text.clock_with_zone(1_760_000_000.0).endswith(f" {words}")
    finally:
        monkeypatch.setenv("TZ", "UTC")
        time.tzset()


def test_the_dashboard_says_what_it_waits_for_and_how_long() -> None:
    state = RunState()
    state.apply(_event(1, "trainer_started", attempt=1, pid=1))
    state.apply(_event(2, "phase_changed", phase="loading", text="Loading SDXL"))
    assert run_words.steps_words(state, 1001.0).plain == "loading SDXL …"
    assert run_words.steps_words(state, 1042.0).plain == "loading SDXL … 42 s"
    state.apply(_event(3, "phase_changed", 1050.0, phase="training", text=""))
    assert run_words.steps_words(state, 1062.0).plain.startswith("the first step, which may be compiled … 12 s")
    state.apply(_event(4, "step", 1063.0, step=1, image_step=2, epoch=1, loss=0.1, lr=1e-4))
    assert "…" not in run_words.steps_words(state, 1070.0).plain
    assert run_words.steps_words(state, None).plain


def test_plain_lines_say_what_they_wait_for_each_half_minute() -> None:
    store = RunStore()
    narrator = Narrator(store)
    store.apply(_event(1, "trainer_started", attempt=1, pid=1))
    store.apply(_event(2, "phase_changed", phase="loading", text="Loading SDXL"))
    assert len(list(narrator.lines(0.0))) == 2
    assert list(narrator.lines(29.0)) == []
    (line,) = narrator.lines(31.0)
    assert "till loading SDXL, 31 s so far" in line
    assert " UTC  " in line
    assert list(narrator.lines(40.0)) == []
    assert "1 min 02 s so far" in next(narrator.lines(62.0))


@pytest.mark.parametrize("command", ["pause", "stop"])
def test_a_run_that_has_agreed_to_end_is_not_called_stalled_while_it_saves(command: str) -> None:
    state = RunState()
    state.apply(_event(1, "trainer_started", attempt=1, pid=1))
    state.apply(_event(2, "step", step=1))
    assert judge(Evidence(name="x", state=state, held=True, quiet_s=30)).status == "stalled"
    state.apply(_event(3, "command_acknowledged", id="1", command=command, ok=True, message=""))
    assert judge(Evidence(name="x", state=state, held=True, quiet_s=30)).status == "running"
    assert judge(Evidence(name="x", state=state, held=True, quiet_s=600)).status == "stalled"


@pytest.mark.parametrize(
    ("words", "width", "cut"),
    [
        ("1024×1536→1024×1024", 17, "1024×1536→…"),
        ("1 607 of 900", 5, "…"),
        ("loss 0.1234", 8, "loss…"),
        ("step 12 000", 10, "step…"),
        ("a drawn portrait", 10, "a drawn p…"),
        ("東京 2020", 6, "東京…"),
        ("fits", 4, "fits"),
    ],
)
def test_a_number_is_never_cut(words: str, width: int, cut: str) -> None:
    assert text.cut(words, width) == cut


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=4), st.integers(1, 30))
def test_what_is_cut_holds_whole_numbers_only(numbers: list[int], width: int) -> None:
    words = " and ".join(map(str, numbers))
    shown = text.cut(words, width)
    assert cell_len(shown) <= width
    kept = [word for word in shown.rstrip("…").split() if word.isdecimal()]
    assert kept == [str(number) for number in numbers][: len(kept)]


def test_a_long_name_keeps_its_end() -> None:
    assert text.cut_middle("training-20261121-12", 14) == "traini…1121-12"


def test_a_gpu_whose_driver_is_silent_is_not_called_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "gpus", lambda *_: ())
    monkeypatch.setattr(hardware, "has_device_file", lambda: True)
    assert Box().words(tmp_path).startswith("GPU: driver does not answer")
    monkeypatch.setattr(hardware, "has_device_file", lambda: False)
    assert Box().words(tmp_path).startswith("no GPU")
