"""How a run stands: the lock and the end of the log decide, the numbers come from state.json."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from loratui.engine.runs import lock, summary
from loratui.engine.runs.directory import RunDirectory, create_run
from loratui.engine.runs.events import Event, EventLog
from loratui.engine.runs.lock import Owner, ProcessIdentity
from loratui.engine.runs.summary import State, StateWriter, judge, read_state, summarise, summarise_all

HERE = ProcessIdentity(1, "1", lock.boot_id(), lock.host_name())


def log(*types: str, **fields: Any) -> list[Event]:
    return [Event(type, i, 0.0, fields if i == len(types) else {}) for i, type in enumerate(types, 1)]


def owner(boot: str = lock.boot_id(), host: str = lock.host_name()) -> Owner:
    return Owner(ProcessIdentity(1, "1", boot, host), ProcessIdentity(), "train", 0.0)


@pytest.mark.parametrize(
    ("events", "held", "quiet_s", "status"),
    [
        ([], True, 1, "starting"),
        (log("trainer_started"), True, 100, "starting"),
        (log("trainer_started"), True, 200, "stalled"),
        (log("trainer_started", "run_started"), True, 1, "running"),
        (log("trainer_started", "run_started", "step"), True, 9, "running"),
        (log("trainer_started", "run_started", "step"), True, 11, "stalled"),
        (log("trainer_started", "phase_changed", phase="loading"), True, 100, "running"),
        (log("trainer_started", "heartbeat", phase="loading"), True, 200, "stalled"),
        (log("run_started", "heartbeat", phase="sampling"), True, 11, "stalled"),
        (log("step", "trainer_ended"), True, 1, "starting"),
        (log("run_finished", status="done", exit_code=0), True, 1, "starting"),
        (log("run_finished", status="done", exit_code=0), False, 1e6, "done"),
        (log("run_finished", status="paused", exit_code=10), False, 1, "paused"),
        (log("run_finished", status="stopped", exit_code=143), False, 1, "stopped"),
        (log("run_finished", status="failed", exit_code=34), False, 1, "failed"),
        (log("run_finished", status=["odd"], exit_code="x"), False, 1, "failed"),
        (log("trainer_started", "run_started", "step"), False, 1, "interrupted"),
        (log("run_started", "output_written", final=True), False, 1, "done"),
        (log("run_started", "output_written", final=False), False, 1, "interrupted"),
        (log("output_written", final=True) + log("trainer_started", "step"), False, 1, "interrupted"),
        ([], False, 1, "interrupted"),
    ],
)
def test_the_status(events: list[Event], held: bool, quiet_s: float, status: str) -> None:
    verdict = judge(events, held=held, quiet_s=quiet_s, owner=owner(), name="r")
    assert verdict.status == status
    unexplained = status in ("starting", "running") or bool(events and events[-1].type == "run_finished")
    assert bool(verdict.reason) == (not unexplained)


@pytest.mark.parametrize(("quiet_s", "words"), [(11, "10 s"), (59.9, "50 s"), (119, "1 min"), (7199, "119 min"), (9000, "2 h")])
def test_a_silence_is_told_in_steps_so_that_it_need_not_be_told_each_second(quiet_s: float, words: str) -> None:
    found = judge(log("run_started", "step"), held=True, quiet_s=quiet_s, owner=owner(), name="r")
    assert found.reason == f"No word from the trainer for {words}."


def test_an_interruption_is_explained() -> None:
    events = log("trainer_started", "step")

    def why(of: Owner | None, seen: list[Event]) -> str:
        return judge(seen, held=False, quiet_s=700, owner=of, name="r").reason

    assert "restarted while" in why(owner(boot="earlier"), events)
    assert "another machine, box7" in why(owner(host="box7"), events)
    assert "without a word" in why(owner(), events)
    assert "never started" in why(None, [])
    assert "loratui resume r" in judge(events, held=False, quiet_s=1, owner=owner(), name="r").advice


def test_a_run_on_another_machine_is_judged_by_the_age_of_its_last_event() -> None:
    events = log("trainer_started", "step")
    found = [judge(events, held=False, quiet_s=s, owner=owner(host="box7"), name="r").status for s in (5, 100, 700)]
    assert found == ["running", "stalled", "interrupted"]


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return create_run(tmp_path, "anafox", recipe_toml="", effective_toml="", ledger={}, today="20261121")


def test_a_summary_reads_state_lock_and_log(run: RunDirectory) -> None:
    assert summarise(run).status == "interrupted"
    StateWriter(run).update(step=7, optimizer_steps=10, loss=0.5, preset="demo")
    with EventLog.open(run.events) as events:
        events.append("trainer_started", attempt=1, pid=1)
        events.append("step", step=7)
    held = lock.acquire(run.lock)
    found = summarise(run)
    assert (found.status, found.job, found.active, found.state.step) == ("running", "train", True, 7)
    held.release()
    assert summarise(run).status == "interrupted"
    with EventLog.open(run.events) as events:
        events.append("run_finished", status="paused", exit_code=10, reason="why", advice="what", step=7)
    (found,) = summarise_all(run.path.parent.parent)
    assert (found.status, found.exit_code, found.reason, found.advice, found.job) == ("paused", 10, "why", "what", "")
    flat = found.to_json()
    assert json.loads(json.dumps(flat)) == flat
    assert (flat["name"], flat["step"], flat["optimizer_steps"], flat["active"]) == (run.name, 7, 10, False)


def test_the_state_is_written_when_the_phase_changes_and_else_each_five_seconds(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(summary.time, "monotonic", lambda: now[0])
    writer = StateWriter(run)
    writer.update(phase="training", step=1)
    assert read_state(run).step == 1
    for now[0], step, seen in ((1.0, 2, 1), (4.9, 3, 1), (5.0, 4, 4), (6.0, 5, 4)):
        writer.update(step=step)
        assert read_state(run).step == seen
    writer.update(phase="saving")
    assert (read_state(run).step, read_state(run).phase) == (5, "saving")
    writer.update(step=6, now=True)
    assert read_state(run).step == 6
    assert StateWriter(run).state == writer.state


def test_numbers_that_are_not_finite_become_null(run: RunDirectory) -> None:
    StateWriter(run).update(loss=math.nan, step_s=math.inf, now=True)
    assert json.loads(run.state.read_text())["loss"] is None
    assert read_state(run) == State()


@pytest.mark.parametrize(
    "content",
    ["", "[]", "null", '{"step": "7"}', '{"step": true}', '{"unknown": 1}', '{"loss": "x", "seconds": []}', "[" * 9999],
)
def test_an_unusable_state_is_zeros(run: RunDirectory, content: str) -> None:
    run.state.write_text(content)
    assert read_state(run) == State()


def test_a_full_disk_does_not_stop_the_trainer(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = StateWriter(run)

    def full(fd: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.write", full)
        writer.update(step=3, now=True)
    assert not run.state.exists()
    writer.update(step=3, now=True)
    assert read_state(run).step == 3


def test_the_smoothed_loss_follows_from_the_steps_and_survives_a_new_trainer(tmp_path: Path) -> None:
    run = create_run(tmp_path, "anafox", recipe_toml="", effective_toml="", ledger={}, today="20261121")
    writer = StateWriter(run)
    writer.update(optimizer_steps=900)
    for step in range(1, 91):
        writer.update(step=step, loss=0.1 if step % 2 else 0.3)
    writer.update(loss=9.0)  # the mean of an epoch is no step
    writer.write()
    smoothed = read_state(run).loss_smoothed
    assert smoothed == pytest.approx(0.2, abs=0.01)
    again = StateWriter(run)
    again.update(step=81, loss=0.2)
    assert again.state.loss_smoothed == pytest.approx(0.2, abs=0.01), "a trainer goes on from its checkpoint"
    again.update(step=1, loss=0.7)
    assert again.state.loss_smoothed == pytest.approx(0.7), "and one without a checkpoint begins anew"
