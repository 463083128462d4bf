"""What follows a run under its real supervisor: the lock is held, cancels arrive, deaths are resumed, the run's own end stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ended_runs import Received, events, make, server, states

from loratui.engine.runs import control, lock
from loratui.engine.runs.directory import RunDirectory
from loratui.engine.runs.launcher import launch
from loratui.engine.runs.state_file import read_state
from loratui.engine.runs.summary import summarise
from loratui.engine.runs.when_finished import choice

HERE = Path(__file__).parent
ENDS = "import sys; sys.path.insert(0, {support!r}); import ended_runs, pathlib; from loratui.engine.runs.directory import RunDirectory; from loratui.engine.runs.event_log import EventLog; run = RunDirectory(pathlib.Path({run!r})); log = EventLog.open(run.events); ended_runs.write_output(run, log); log.close(); sys.exit({code})"


@pytest.fixture(autouse=True)
def own_surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORATUI_CONFIG", str(tmp_path / "config"))
    monkeypatch.setenv("RUNPOD_POD_ID", "abc123xyz")
    monkeypatch.delenv("RUNPOD_API_KEY", raising=False)


@pytest.fixture
def received() -> Iterator[Received]:
    with server() as running:
        yield running


@pytest.fixture
def supervised() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts the supervisor over a trainer that writes a real LoRA file and ends with `code`."""
    started: list[subprocess.Popen[bytes]] = []

    def start(run: RunDirectory, code: int = 0) -> subprocess.Popen[bytes]:
        support = str(HERE.parent / "support")
        words = [sys.executable, "-c", ENDS.format(support=support, run=str(run.path), code=code)]
        process = subprocess.Popen(
            [sys.executable, str(HERE / "simulated_supervisor.py"), str(run.path), "train", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def wait_for(condition: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if result := condition():
            return result
        time.sleep(0.02)
    raise AssertionError(f"waited in vain for {what}")


def waits(run: RunDirectory) -> bool:
    return states(run).get("pod") == "waiting"


@pytest.fixture
def counting(tmp_path: Path) -> RunDirectory:
    """A run whose last action is a countdown: its files are copied first, since they are on the container disk."""
    return make(tmp_path, pod="stop", copy_to=f"rsync:{tmp_path}/there", countdown_s=600)


def test_the_run_keeps_its_exit_code_whatever_its_actions_do(tmp_path: Path, supervised: Callable[..., Any]) -> None:
    run = make(tmp_path, command=("false",), notify="ntfy", after_failure=True)
    process = supervised(run, 34)
    assert process.wait(30) == 34
    assert states(run) == {"command": "failed", "notify": "failed"}
    verdict = summarise(run)
    assert (verdict.status, verdict.exit_code) == ("failed", 34)
    assert [event.type for event in events(run)][-5:] == ["run_finished", *["action"] * 4]


def test_the_lock_is_held_while_the_countdown_runs_and_any_viewer_cancels_it(
    counting: RunDirectory, supervised: Callable[..., Any]
) -> None:
    process = supervised(counting)
    wait_for(lambda: waits(counting), "the countdown")
    assert lock.is_held(counting.lock)
    assert summarise(counting).status == "finishing"
    pause = control.send(counting, "pause")
    cancel = control.send(counting, "cancel_when_finished")
    assert process.wait(30) == 0
    answers = {event.text("id"): event.get("ok") for event in events(counting) if event.type == "command_acknowledged"}
    assert answers == {pause: False, cancel: True}
    assert states(counting) == {"copy": "done", "pod": "cancelled"}
    assert summarise(counting).status == "done"


@pytest.mark.long
def test_a_sigterm_ends_the_actions_and_the_next_start_goes_on(
    tmp_path: Path, counting: RunDirectory, supervised: Callable[..., Any]
) -> None:
    process = supervised(counting)
    wait_for(lambda: waits(counting), "the countdown")
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    assert states(counting)["pod"] == "interrupted"
    choice.change(counting, {"pod": "keep", "command": ("true",)})
    launch(counting, actions="left")
    wait_for(lambda: not lock.is_held(counting.lock), "the end")
    assert states(counting) == {"copy": "done", "pod": "interrupted", "command": "done"}


def test_a_box_that_dies_between_is_resumed_and_nothing_is_done_twice(
    tmp_path: Path, supervised: Callable[..., Any], received: Received, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LORATUI_NTFY_URL", f"{received.address}/topic")
    code = f"import pathlib, os, time; pathlib.Path('{tmp_path}/pid').write_text(str(os.getpid())); time.sleep(60)"
    run = make(tmp_path, command=(sys.executable, "-c", code), notify="ntfy")
    process = supervised(run)
    wait_for(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text(), "the command")
    owner = lock.read_owner(run.lock)
    assert owner is not None
    for pid in _descendants(owner.supervisor.pid):
        os.kill(pid, signal.SIGKILL)
    process.wait(30)
    wait_for(lambda: not lock.is_held(run.lock), "the lock")
    assert states(run) == {"command": "begun"}
    assert summarise(run).status == "done"
    launch(run, actions="left")
    wait_for(lambda: not lock.is_held(run.lock), "the end")
    assert states(run) == {"command": "begun", "notify": "done"}
    assert len(received.requests) == 1
    assert read_state(run).ending is not None


def _descendants(pid: int) -> list[int]:
    """A process and all that it started, itself first, so that it cannot react."""
    found = [pid]
    for one in found:
        children = Path(f"/proc/{one}/task/{one}/children")
        found += [int(child) for child in children.read_text().split()] if children.exists() else []
    return found
