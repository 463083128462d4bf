"""The queue at work: runs with a simulated trainer start one after another without the app, whatever is killed meanwhile."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from loratui.engine.errors import LoratuiError
from loratui.engine.runs import control, lock
from loratui.engine.runs.directory import RunDirectory, create_run, list_runs
from loratui.engine.runs.queue import adding, entries
from loratui.engine.runs.queue.start import ensure_watched
from loratui.engine.runs.state_file import read_state
from loratui.engine.runs.summary import summarise
from loratui.tui import cli

HERE = Path(__file__).parent
WHOLE = [[["steps", 3], ["checkpoint", 3], ["final"], ["exit", 0]]]
SERVING = [[["steps", 3], ["checkpoint", 3], ["serve"]], [["steps", 6], ["checkpoint", 6], ["final"], ["exit", 0]]]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home whose processes are ended with the test."""
    monkeypatch.setenv("PYTHONPATH", str(HERE / "replaced"))
    monkeypatch.setenv("LORATUI_HOME", str(tmp_path))
    yield tmp_path
    for path in (entries.watch_lock(tmp_path), *(run.lock for run in list_runs(tmp_path))):
        if lock.is_held(path) and (owner := lock.read_owner(path)):
            owner.supervisor.send_signal(signal.SIGKILL)
            owner.trainer.send_signal(signal.SIGKILL)


def made(home: Path, plan: list[Any]) -> RunDirectory:
    effective = '[memory]\ndevice = "cpu"\n'
    run = create_run(home, "anafox", recipe_toml="", effective_toml=effective, ledger={}, today="20261121")
    (run.path / "simulated.json").write_text(json.dumps(plan))
    return run


def wait_for(condition: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if result := condition():
            return result
        time.sleep(0.02)
    raise AssertionError(f"waited in vain for {what}")


def watcher(home: Path) -> int:
    owner = lock.read_owner(entries.watch_lock(home))
    assert owner is not None
    return owner.supervisor.pid


def idle(home: Path) -> bool:
    return not entries.is_watched(home) and not any(lock.is_held(run.lock) for run in list_runs(home))


def test_runs_wait_start_in_order_and_a_killed_watcher_costs_nothing(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = made(home, SERVING), made(home, WHOLE)
    adding.add(first)
    assert cli.main(["queue", "add", second.name, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["watched"], [row["run"] for row in told["entries"]]) == (True, [first.name, second.name])
    assert summarise(second).status == "queued"
    wait_for(lambda: read_state(first).step == 3, "the first run")
    os.kill(watcher(home), signal.SIGKILL)
    wait_for(lambda: not entries.is_watched(home), "the end of the watcher")
    assert lock.is_held(first.lock)
    control.send(first, "stop")
    wait_for(lambda: summarise(second).status == "done", "the second run")  # the first one's supervisor has started a watcher
    wait_for(lambda: idle(home), "the end of all processes")
    assert summarise(first).status == "stopped"
    assert entries.read(home) == entries.Queue()
    assert read_state(second).trainer_end is not None
    log = (home / entries.LOG).read_text()
    assert log.count(f"{second.name} is started") == 1


@pytest.mark.long
def test_a_paused_run_holds_the_queue_and_goes_on_with_it(home: Path) -> None:
    first, second = made(home, SERVING), made(home, WHOLE)
    adding.add(first)
    adding.add(second)
    ensure_watched(home)
    wait_for(lambda: read_state(first).step == 3, "the first run")
    control.send(first, "pause")
    wait_for(lambda: idle(home), "the pause")
    held = entries.read(home)
    assert held.on_hold == f"{first.name} was paused."
    assert [entry.run for entry in held.entries] == [first.name, second.name]
    assert [summarise(run).status for run in (first, second)] == ["queued", "queued"]
    assert cli.main(["queue", "go"]) == 0
    wait_for(lambda: summarise(second).status == "done", "both runs")
    assert summarise(first).status == "done"


@pytest.mark.long
def test_what_a_reboot_killed_is_resumed_before_the_next_begins(home: Path) -> None:
    first, second = made(home, SERVING), made(home, WHOLE)
    adding.add(first)
    adding.add(second)
    ensure_watched(home)
    wait_for(lambda: read_state(first).checkpoint_step == 3, "the first run")
    owner = lock.read_owner(first.lock)
    assert owner is not None
    for process in (watcher(home), owner.supervisor.pid, owner.trainer.pid):
        os.kill(process, signal.SIGKILL)
    wait_for(lambda: idle(home), "the end of all")
    assert summarise(first).status == "interrupted"
    ensure_watched(home)
    wait_for(lambda: summarise(second).status == "done", "both runs")
    assert summarise(first).status == "done"
    assert read_state(first).last_ts < read_state(second).last_ts


@pytest.mark.long
def test_what_a_shutdown_stopped_goes_on_and_what_a_person_stopped_does_not(home: Path) -> None:
    first, second = made(home, SERVING), made(home, SERVING)
    adding.add(first)
    adding.add(second)
    ensure_watched(home)
    wait_for(lambda: read_state(first).checkpoint_step == 3, "the first run")
    owner = lock.read_owner(first.lock)
    assert owner is not None
    for process in (watcher(home), owner.supervisor.pid):  # as a machine does that shuts down
        os.kill(process, signal.SIGTERM)
    wait_for(lambda: idle(home), "the end of all")
    ending = read_state(first).ending
    assert ending is not None
    assert (ending.status, ending.by_signal) == ("stopped", True)
    ensure_watched(home)
    wait_for(lambda: read_state(second).step == 3, "the second run")
    assert summarise(first).status == "done"
    control.send(second, "stop")
    wait_for(lambda: idle(home), "the end of all processes")
    assert summarise(second).status == "stopped"
    assert entries.read(home).entries == ()


@pytest.mark.long
def test_a_run_that_fails_lets_the_next_begin_and_a_full_disk_does_not(home: Path) -> None:
    full = [[["fail", 20, "The disk is full.", "Free some space."], ["exit", 20]]]
    plans = [[[["exit", 30]]], full, WHOLE]
    first, second, third = (made(home, plan) for plan in plans)
    for run in (first, second, third):
        adding.add(run)
    ensure_watched(home)
    wait_for(lambda: entries.read(home).on_hold, "the hold")
    wait_for(lambda: idle(home), "the end of all")
    assert [summarise(run).status for run in (first, second, third)] == ["failed", "queued", "queued"]
    assert "disk" in entries.read(home).on_hold.lower()


@pytest.mark.long
@pytest.mark.parametrize("point", ["write_file.opened", "write_file.synced", "write_file.renamed"])
def test_a_kill_at_any_write_of_the_queue_loses_no_run(home: Path, point: str, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [made(home, WHOLE) for _ in range(2)]
    for run in runs:
        adding.add(run)
    monkeypatch.setenv("LORATUI_FAILPOINT", f"{point}:1")
    with contextlib.suppress(LoratuiError):
        ensure_watched(home)
    wait_for(lambda: not entries.is_watched(home), "the kill")
    monkeypatch.delenv("LORATUI_FAILPOINT")
    assert [entry.run for entry in entries.read(home).entries] == [run.name for run in runs]
    ensure_watched(home)
    wait_for(lambda: all(summarise(run).status == "done" for run in runs) and idle(home), "both runs")
    assert entries.read(home).entries == ()


@pytest.mark.long
def test_a_queue_on_hold_starts_nothing_and_a_removed_run_stays_a_run(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = made(home, WHOLE)
    entries.change(home, lambda queue: replace(queue, on_hold="You have put it on hold."))
    assert cli.main(["queue", "add", run.name]) == 0
    assert "On hold" in capsys.readouterr().out
    assert not entries.is_watched(home)
    assert cli.main(["queue", "remove", run.name]) == 0
    assert summarise(run).status == "interrupted"
    assert cli.main(["queue", "remove", run.name]) == 2
