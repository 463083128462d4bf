"""A container that is stopped: its first process gets SIGTERM, and with its end the kernel kills all others."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from small_runs import MakeRun, events, every_step, losses, same, train, wait_for, weights

from loratui.engine.errors import ExitCode
from loratui.engine.runs import lock
from loratui.engine.runs.summary import summarise

HERE = Path(__file__).parent
NAMESPACE = ["unshare", *([] if os.geteuid() == 0 else ["-Ur"]), "-pf", "--mount-proc", "--kill-child"]


def can_be_made() -> bool:
    """Whether this machine lets a test make a PID namespace."""
    try:
        return subprocess.run([*NAMESPACE, "true"], capture_output=True, timeout=20, check=False).returncode == 0
    except OSError:
        return False


@pytest.mark.long
@pytest.mark.parametrize("how", ["bare", "follows"])
def test_row_21_a_container_that_is_stopped_loses_no_more_than_since_the_last_checkpoint(make_run: MakeRun, how: str) -> None:
    if not can_be_made():
        pytest.skip("no PID namespace can be made here")
    settings = ("adapter.targets=attention", "samples.steps=1", "schedule.epochs=6", "schedule.repeats=4")
    whole, run = make_run(*settings), make_run(*settings, "output.checkpoint_every_s=1")
    train(whole, every_step)
    words = [*NAMESPACE, sys.executable, str(HERE / "in_a_container.py"), str(run.path), how]
    container = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    wait_for(run, "checkpoint_written")
    first = int(Path(f"/proc/{container.pid}/task/{container.pid}/children").read_text().split()[0])
    os.kill(first, signal.SIGTERM)
    said, _ = container.communicate(timeout=60)
    assert container.returncode == (5 if how == "bare" else 143)
    assert not lock.is_held(run.lock)
    found = summarise(run, closely=True)
    made = max(event.count("step") for event in events(run, "step"))
    saved = events(run, "checkpoint_written")[-1].count("step")
    assert run.last_checkpoint_step() >= saved  # a kill may come between the two
    if how == "bare":
        assert (found.status, found.exit_code) == ("interrupted", None)
        assert f"continues from step {saved}" in found.advice
    else:
        assert (found.status, found.exit_code) == ("stopped", 143)
        assert saved >= made
        assert "Stopped as asked." in said
    assert train(run, every_step) == ExitCode.DONE
    assert losses(run).items() <= losses(whole).items()
    assert same(weights(run), weights(whole))
