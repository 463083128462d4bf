"""Rows 24 and 25: a trainer that hangs is stalled for every viewer, and the supervisor takes its stacks, ends it and resumes the run."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from random_bases import base_folder, images, make_run
from simulated_supervision import supervision
from small_runs import MakeRun, same, weights

from loratui.engine.runs import lock
from loratui.engine.runs.directory import RunDirectory, create_run
from loratui.engine.runs.events import Event, read_events
from loratui.engine.runs.summary import summarise
from loratui.engine.runs.watchdog import Watchdog

__all__ = ["base_folder", "images", "make_run"]

HERE = Path(__file__).parent
STEPS = [["phase", "training"], ["beat", 0.05], ["steps", 20], ["checkpoint", 20]]
GOES_ON = [["steps", 40], ["exit", 0]]


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return create_run(tmp_path, "anafox", recipe_toml="", effective_toml="", ledger={}, today="20261121")


@pytest.fixture
def supervised(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts the supervisor of a trainer that may be stalled for so many seconds; ends what is left."""
    monkeypatch.setenv("STALLED_AFTER_S", "0.5")
    with supervision(run) as launch:

        def start(*attempts: list[list[Any]], end_after_s: float = 0.3, wrapped: tuple[str, ...] = ()) -> subprocess.Popen[str]:
            bound(run, end_after_s)
            return launch(*attempts, wrapped=wrapped, errors=subprocess.STDOUT)

        yield start


def bound(run: RunDirectory, seconds: float) -> None:
    run.effective.write_text(f"[training]\nend_stalled_after_s = {seconds}\n")


def of_type(run: RunDirectory, type: str) -> list[Event]:
    return [event for event in read_events(run.events, 0, 1 << 30).events if event.type == type]


def wait_for(condition: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if result := condition():
            return result
        time.sleep(0.01)
    raise AssertionError(f"waited in vain for {what}")


def finished(run: RunDirectory, process: subprocess.Popen[str]) -> Event:
    process.communicate(timeout=40)
    (last,) = of_type(run, "run_finished")
    assert process.returncode == last.get("exit_code")
    return last


@pytest.mark.parametrize(
    "where",
    [
        "c",  # as a call of CUDA that does not return
        "gil",  # as one that keeps all of Python from running
        "fifo",  # as a file of a volume that does not answer
        "lock",
    ],
)
def test_a_hung_trainer_is_ended_with_its_stacks_in_the_log_and_resumes(
    run: RunDirectory, supervised: Callable[..., Any], where: str
) -> None:
    process = supervised([*STEPS, ["stuck", where]], GOES_ON)
    assert finished(run, process).get("status") == "done"
    assert [e.get("resumed_step") for e in of_type(run, "run_started")] == [0, 20]
    ended = of_type(run, "trainer_ended")[0]
    assert (ended.get("signal"), ended.get("stalled")) == (9, True)
    assert ended.get("reason").startswith("No step for ")
    assert "where one takes 0.01 s. It was in stuck (simulated_trainer.py, line " in ended.get("reason")
    (warning,) = [e for e in of_type(run, "warning") if e.get("code") == "trainer_restarted"]
    assert "from the checkpoint of step 20" in warning.get("message")
    log = run.trainer_log.read_text()
    assert "What its threads are at:" in log
    assert "state " in log
    assert "most recent call first" in log
    assert "in stuck" in log


def test_a_stalled_trainer_is_shown_whatever_its_heartbeats_say(
    run: RunDirectory, supervised: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    supervised([*STEPS, ["stuck", "c"]], end_after_s=0)
    monkeypatch.setattr("loratui.engine.runs.stalls.LEAST_S", 0.5)
    wait_for(lambda: summarise(run).status == "running", "the trainer")
    found = wait_for(lambda: (one := summarise(run)).status == "stalled" and one, "the stall")
    assert found.reason.startswith("No step for ")
    assert found.to_json()["status"] == "stalled"
    assert found.active


def test_the_bound_can_be_changed_while_the_trainer_hangs(run: RunDirectory, supervised: Callable[..., Any]) -> None:
    process = supervised([*STEPS, ["stuck", "c"]], GOES_ON, end_after_s=0)
    wait_for(lambda: summarise(run).state.idle_s() > 1.5, "a trainer that hangs")
    assert not of_type(run, "trainer_ended"), "0 is never"
    bound(run, 0.2)
    assert finished(run, process).get("status") == "done"


def test_a_trainer_that_answers_to_sigterm_saves_and_resumes_from_there(
    run: RunDirectory, supervised: Callable[..., Any]
) -> None:
    process = supervised([*STEPS, ["serve"]], GOES_ON)
    assert finished(run, process).get("status") == "done"
    ended = of_type(run, "trainer_ended")[0]
    assert (ended.get("exit_code"), ended.get("stalled")) == (143, True)
    assert of_type(run, "run_started")[1].get("resumed_step") == 21


@pytest.mark.long
def test_a_trainer_that_hangs_again_and_again_ends_the_run(run: RunDirectory, supervised: Callable[..., Any]) -> None:
    process = supervised([*STEPS, ["stuck", "c"]], [["phase", "training"], ["steps", 30], ["stuck", "c"]])
    last = finished(run, process)
    assert (last.get("status"), last.get("exit_code")) == ("failed", 70)
    assert last.get("reason").startswith("No step for ")
    assert "3 restarts got no further." in last.get("reason")
    assert len(of_type(run, "trainer_started")) == 4


def test_a_stop_of_a_hung_trainer_is_kept(run: RunDirectory, supervised: Callable[..., Any]) -> None:
    process = supervised([*STEPS, ["stuck", "c"]], GOES_ON, end_after_s=0)
    wait_for(lambda: of_type(run, "checkpoint_written"), "the trainer")
    os.kill(process.pid, signal.SIGTERM)
    bound(run, 0.2)
    last = finished(run, process)
    assert (last.get("status"), last.get("exit_code")) == ("stopped", 143)
    assert len(of_type(run, "trainer_started")) == 1


def test_a_trainer_that_somebody_has_stopped_is_not_ended(
    run: RunDirectory, supervised: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGSTOP is a person's own doing: it is shown, with the way back, and the time of the pause counts for nothing."""
    monkeypatch.setattr("loratui.engine.runs.verdict.STALLED_AFTER_S", 0.5)
    process = supervised([["phase", "training"], ["slowly", 60, 0.03], ["exit", 0]])
    wait_for(lambda: len(of_type(run, "step")) > 10, "steps")
    owner = lock.read_owner(run.lock)
    assert owner is not None
    owner.trainer.send_signal(signal.SIGSTOP)
    found = wait_for(lambda: (one := summarise(run)).status == "stalled" and one, "the stall")
    assert f"kill -CONT {owner.trainer.pid}" in found.reason
    wait_for(lambda: summarise(run).state.idle_s() > 2.0, "longer than it may be stalled")
    owner.trainer.send_signal(signal.SIGCONT)
    assert finished(run, process).get("status") == "done"
    assert len(of_type(run, "trainer_started")) == 1


def test_where_the_disk_hangs_for_all_nobody_is_ended(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    """The trainer waits for its volume, and would wait again after a restart: it goes on when the volume answers."""
    bound(run, 0.1)
    run.events.touch()
    asked, answer = threading.Event(), threading.Event()

    def hang(_: object) -> None:
        asked.set()
        answer.wait()

    monkeypatch.setattr("loratui.engine.runs.watchdog._Reader._look", hang)
    trainer = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    dog = Watchdog(run, "train", trainer.pid, 0.02)
    said: list[str] = []
    watching = threading.Thread(target=lambda: said.append(dog.wait()))
    watching.start()
    assert asked.wait(20)
    wait_for(lambda: not dog._reader.answers, "a reader that hangs")
    assert trainer.poll() is None
    answer.set()
    trainer.kill()
    watching.join(10)
    assert said == [""]


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_a_stuck_fsync_is_ended(run: RunDirectory, supervised: Callable[..., Any]) -> None:
    """The disk takes 60 s for a sync: the trainer is held within the kernel while its heartbeats go on."""
    strace = str(shutil.which("strace"))
    slow = (strace, "-f", "-qq", "-o", "/dev/null", "-e", "trace=fsync", "-e", "inject=fsync:delay_enter=60000000:when=6+")
    process = supervised([*STEPS, ["checkpoint", 21], ["checkpoint", 22]], GOES_ON, wrapped=slow)
    ended = wait_for(lambda: of_type(run, "trainer_ended"), "the watchdog")[0]
    assert ended.get("stalled") is True
    assert "in stuck" not in run.trainer_log.read_text()
    process.kill()


@pytest.mark.long
@pytest.mark.parametrize(
    "where", ["gil", "c", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"))]
)
def test_a_real_trainer_that_hangs_in_c_goes_on_bit_for_bit(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    monkeypatch.setenv("STALLED_AFTER_S", "3")
    sets = ("training.end_stalled_after_s=1", "output.checkpoint_every_s=1", "samples.every_image_steps=100000")
    sets += ("memory.cuda_graphs=off", "memory.compile=off")  # a recorded step calls nothing that could hang in Python's sight
    hung, whole = make_run(*sets), make_run(*sets)
    (hung.path / "hang").write_text(where)
    for run in (hung, whole):
        trainer = [sys.executable, str(HERE / "hung_trainer.py"), str(run.path), "--job", "train"]
        supervisor = [sys.executable, str(HERE / "simulated_supervisor.py"), str(run.path), "train", *trainer]
        assert subprocess.run(supervisor, stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode == 0
    ended = of_type(hung, "trainer_ended")[0]
    assert (ended.get("signal"), ended.get("stalled")) == (9, True)
    inmost = "synchronize (__init__.py, line " if where == "cuda" else "hanging (hung_trainer.py, line "
    assert f"It was in {inmost}" in ended.get("reason")
    assert where == "cuda" or same(weights(hung), weights(whole))
