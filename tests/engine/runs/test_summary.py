"""What lists say of runs: the verdict on each, and its figures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from loratui.engine.runs import lock
from loratui.engine.runs.directory import RunDirectory, create_run
from loratui.engine.runs.event_log import EventLog
from loratui.engine.runs.state_file import StateWriter
from loratui.engine.runs.summary import summarise, summarise_all


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
