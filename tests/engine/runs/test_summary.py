"""How a run stands: the lock and the end of the log decide, the numbers come from state.json."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from loratui.engine.runs import lock
from loratui.engine.runs.directory import RunDirectory, create_run
from loratui.engine.runs.events import Event, EventLog
from loratui.engine.runs.lock import Owner, ProcessIdentity
from loratui.engine.runs.state import RunState
from loratui.engine.runs.state_file import StateWriter
from loratui.engine.runs.summary import judge, summarise, summarise_all

HERE = ProcessIdentity(1, "1", lock.boot_id(), lock.host_name())


def log(*types: str, **fields: Any) -> list[Event]:
    return [Event(type, i, 0.0, fields if i == len(types) else {}) for i, type in enumerate(types, 1)]


def adding_up_to(events: list[Event]) -> RunState:
    state = RunState()
    for seq, event in enumerate(events, 1):
        state.apply(dataclasses.replace(event, seq=seq))
    return state


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
        (log("trainer_started", "output_written", final=True) + log("trainer_started", "step"), False, 1, "interrupted"),
        ([], False, 1, "interrupted"),
    ],
)
def test_the_status(events: list[Event], held: bool, quiet_s: float, status: str) -> None:
    verdict = judge(adding_up_to(events), held=held, quiet_s=quiet_s, owner=owner(), name="r")
    assert verdict.status == status
    unexplained = status in ("starting", "running") or bool(events and events[-1].type == "run_finished")
    assert bool(verdict.reason) == (not unexplained)


@pytest.mark.parametrize(("quiet_s", "words"), [(11, "10 s"), (59.9, "50 s"), (119, "1 min"), (7199, "119 min"), (9000, "2 h")])
def test_a_silence_is_told_in_steps_so_that_it_need_not_be_told_each_second(quiet_s: float, words: str) -> None:
    found = judge(adding_up_to(log("run_started", "step")), held=True, quiet_s=quiet_s, owner=owner(), name="r")
    assert found.reason == f"No word from the trainer for {words}."


def test_an_interruption_is_explained() -> None:
    events = log("trainer_started", "step")

    def why(of: Owner | None, seen: list[Event]) -> str:
        return judge(adding_up_to(seen), held=False, quiet_s=700, owner=of, name="r").reason

    assert "restarted while" in why(owner(boot="earlier"), events)
    assert "another machine, box7" in why(owner(host="box7"), events)
    assert "without a message" in why(owner(), events)
    assert "never started" in why(None, [])
    assert "loratui resume r" in judge(adding_up_to(events), held=False, quiet_s=1, owner=owner(), name="r").advice


def test_a_run_on_another_machine_is_judged_by_the_age_of_its_last_event() -> None:
    events = log("trainer_started", "step")
    state = adding_up_to(events)
    found = [judge(state, held=False, quiet_s=s, owner=owner(host="box7"), name="r").status for s in (5, 100, 700)]
    assert found == ["running", "stalled", "interrupted"]


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return create_run(tmp_path, "anafox", recipe_toml="", effective_toml="", ledger={}, today="20261121")


def test_a_summary_reads_state_lock_and_log(run: RunDirectory) -> None:
    assert summarise(run).status == "interrupted"
    with EventLog.open(run.events) as events:
        events.append("trainer_started", attempt=1, pid=1)
        StateWriter(run, events)
        events.append("run_started", optimizer_steps=10, preset="demo")
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
