"""Rows 24, 25 and 76 of the fault matrix: a trainer that lives and gets no further is stalled, whatever heartbeats and clocks say."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from loratui.engine.runs import ages, lock, stalls
from loratui.engine.runs.directory import RunDirectory, create_run
from loratui.engine.runs.event_log import EventLog
from loratui.engine.runs.events import Event
from loratui.engine.runs.state import RunState
from loratui.engine.runs.state_file import StateWriter, read_state
from loratui.engine.runs.summary import summarise
from loratui.engine.runs.verdict import Evidence, judge

STEP_S = 0.5


class Log:
    """A state to which events come at times of a machine's clock."""

    def __init__(self) -> None:
        self.state, self.now = RunState(), 1000.0
        self.add("trainer_started", attempt=1, pid=1, clock=ages.clock_name())
        self.add("phase_changed", phase="training", text="")

    def add(self, type: str, after_s: float = 0.0, **fields: Any) -> None:
        self.now += after_s
        self.state.apply(Event(type, self.state.seq + 1, 1.7e9 + self.now, fields, self.now))

    def steps(self, count: int) -> None:
        for _ in range(count):
            self.add("step", STEP_S, step=self.state.step + 1, step_s=STEP_S, loss=0.1)

    def status(self, quiet_s: float) -> str:
        idle_s = self.now - self.state.work_up
        return judge(Evidence(name="r", state=self.state, held=True, quiet_s=quiet_s, idle_s=idle_s)).status


@pytest.mark.parametrize("sign", ["heartbeat", "telemetry", "warning", "checkpoint_written"])
def test_no_step_for_20_times_the_usual_is_stalled_whatever_threads_beside_the_training_say(sign: str) -> None:
    log = Log()
    log.steps(50)
    for _ in range(6):
        log.add(sign, 5.0, phase="training")
    assert log.status(quiet_s=0.0) == "running", "30 s are never too long"
    log.add(sign, 5.0, phase="training")
    assert log.status(quiet_s=0.0) == "stalled"
    assert stalls.words(log.state, 35.0) == "No step for 30 s, where one takes 0.5 s."
    log.steps(1)
    assert log.status(quiet_s=0.0) == "running", "it goes on by itself"


def test_slow_steps_get_as_much_more_time() -> None:
    log = Log()
    for _ in range(20):
        log.add("step", 12.0, step=log.state.step + 1, step_s=12.0, loss=0.1)
    assert stalls.usual_s(log.state) == 240.0
    assert not stalls.words(log.state, 239.0)
    assert stalls.words(log.state, 300.0) == "No step for 5 min, where one takes 12 s."


@pytest.mark.parametrize("phase", ["loading", "caching", "sampling", "saving", "finishing"])
def test_a_phase_that_explains_it_is_not_stalled_for_minutes(phase: str) -> None:
    log = Log()
    log.steps(50)
    log.add("phase_changed", phase=phase, text="Something that takes long")
    log.add("heartbeat", 400.0, phase=phase)
    assert log.status(quiet_s=0.0) == "running"
    log.add("heartbeat", 3000.0, phase=phase)
    assert log.status(quiet_s=0.0) == "stalled"
    assert "something that takes long" in stalls.words(log.state, 3400.0)


def test_the_first_step_may_compile() -> None:
    log = Log()
    log.add("heartbeat", 900.0, phase="training")
    assert log.status(quiet_s=0.0) == "running"
    log.add("heartbeat", 1000.0, phase="training")
    assert log.status(quiet_s=0.0) == "stalled"


# ---- clocks


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return create_run(tmp_path, "anafox", recipe_toml="", effective_toml="", ledger={}, today="20261121")


def write(run: RunDirectory, monkeypatch: pytest.MonkeyPatch, jumps: dict[int, float]) -> None:
    """A run of 40 steps, one each half second; at some steps the wall clock is set by so many seconds."""
    wall, up = 1.75e9, ages.up_s() - 20.0
    monkeypatch.setattr("loratui.engine.runs.event_log.up_s", lambda: up)
    with EventLog.open(run.events) as log:
        state = StateWriter(run, log)
        monkeypatch.setattr(time, "time", lambda: wall)
        log.append("trainer_started", attempt=1, pid=1, clock=ages.clock_name())
        log.append("run_started", image_steps=80, optimizer_steps=80, steps_per_epoch=40)
        log.append("phase_changed", phase="training", text="")
        for step in range(1, 41):
            wall, up = wall + STEP_S + jumps.get(step, 0.0), up + STEP_S
            log.append("step", step=step, image_step=step, loss=0.1, step_s=STEP_S)
        state.write()


@pytest.mark.parametrize("jump_s", [0.0, 86_400.0, -86_400.0, -1.75e9, 3600.0])
def test_a_clock_that_is_set_changes_no_verdict_no_rate_and_no_time_left(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch, jump_s: float
) -> None:
    write(run, monkeypatch, {20: jump_s})
    held = lock.acquire(run.lock)
    for viewers_clock in (0.0, jump_s, -jump_s):
        monkeypatch.setattr(time, "time", lambda shift=viewers_clock: 1.75e9 + 20.0 + shift)
        found = summarise(run)
        assert found.status == "running", found.reason
        assert found.state.quiet_s() < 10
        assert found.state.steps_per_s == pytest.approx(1 / STEP_S)
        assert found.state.worked_s == pytest.approx(20.0, abs=0.1)
        left = found.state.time_left
        assert left is not None
        assert left.seconds == pytest.approx(20.0, rel=0.05)
    held.release()


def test_a_clock_set_back_does_not_hide_a_stall(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    write(run, monkeypatch, {})
    held = lock.acquire(run.lock)
    now = ages.up_s() + 400.0
    monkeypatch.setattr(ages, "up_s", lambda: now)
    monkeypatch.setattr(time, "time", lambda: 0.0)
    found = summarise(run)
    assert (found.status, found.reason) == ("stalled", "No word from the trainer for 6 min.")
    held.release()


def test_a_run_of_another_boot_is_judged_by_the_wall_clock(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    write(run, monkeypatch, {})
    monkeypatch.setattr(lock, "boot_id", lambda: "another")
    monkeypatch.setattr(time, "time", lambda: 1.75e9 + 120.0)
    assert read_state(run).quiet_s() == pytest.approx(100.0)


def test_the_time_since_boot_is_the_kernels() -> None:
    assert ages.up_s() == pytest.approx(time.clock_gettime(time.CLOCK_BOOTTIME), abs=0.5)
    assert ages.clock_name().startswith(lock.boot_id())
    assert str(Path("/proc/self/ns/time").stat().st_ino) in ages.clock_name()
