"""Small real training runs for tests: in this process or in the real trainer process, and what they leave behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file

from loratui.engine.errors import ExitCode
from loratui.engine.runs.control import Inbox
from loratui.engine.runs.directory import RunDirectory
from loratui.engine.runs.event_log import EventLog
from loratui.engine.runs.events import Event, read_events
from loratui.engine.runs.state_file import StateWriter
from loratui.engine.training.checkpoint import Checkpoint
from loratui.engine.training.control_queue import ControlQueue
from loratui.engine.training.reporting import Reporter
from loratui.engine.training.setup import read_job
from loratui.engine.training.trainer import Trainer

MakeRun = Callable[..., RunDirectory]
FAULTS = Path(__file__).parents[1] / "faults"


def train(run: RunDirectory, change: Callable[[Trainer], None] = lambda _: None) -> ExitCode:
    """Trains in this process; `change` may alter the trainer before it starts."""
    log = EventLog.open(run.events)
    state = StateWriter(run, log)
    report = Reporter(log)
    report._last_step = float("-inf")
    requests = ControlQueue()
    requests.open(Inbox(run, log))
    trainer = Trainer(read_job(run), report, requests)
    change(trainer)
    try:
        return trainer.run()
    finally:
        report.close()
        state.write()
        log.close()


def events(run: RunDirectory, kind: str) -> list[Event]:
    return [e for e in read_events(run.events, max_bytes=1 << 24).events if e.type == kind]


def every_step(trainer: Trainer) -> None:
    """Writes every step into the log, however fast."""
    step = trainer.report.step
    trainer.report.step = lambda *, always, **fields: step(always=True, **fields)  # type: ignore[method-assign]  # what this test replaces


def losses(run: RunDirectory) -> dict[int, str]:
    """Loss of each step as it was last made, exact."""
    return {e.fields["step"]: float(e.fields["loss"]).hex() for e in events(run, "step")}


def weights(run: RunDirectory) -> dict[str, torch.Tensor]:
    return load_file(run.output / "qxz.safetensors")


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def after_loading(trainer: Trainer, do: Callable[[], object]) -> None:
    """Has `do` called once the model, the caches and the optimizer are there."""
    load = trainer._load

    def loaded(stored: Checkpoint | None) -> None:
        load(stored)
        do()

    trainer._load = loaded  # type: ignore[method-assign]  # what this test replaces


def after_step(trainer: Trainer, number: int, do: Callable[[], object]) -> None:
    """Has `do` called right after optimizer step `number`."""

    def patch() -> None:
        make = trainer.steps.make

        def made(window, following=None) -> None:  # type: ignore[no-untyped-def]
            make(window, following)
            if window.after.step == number:
                do()

        trainer.steps.make = made  # type: ignore[method-assign]  # what this test replaces

    after_loading(trainer, patch)


def process(run: RunDirectory, **environment: str) -> subprocess.Popen[bytes]:
    """The real trainer process."""
    return subprocess.Popen(
        [sys.executable, "-m", "loratui.engine.training", str(run.path)],
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def wait_for(run: RunDirectory, kind: str, count: int = 1, limit_s: float = 120.0) -> None:
    end = time.monotonic() + limit_s
    while len(events(run, kind)) < count:
        assert time.monotonic() < end, f"no {kind}"
        time.sleep(0.01)


def supervise_on_a_card(run: RunDirectory, runs_out: Mapping[str, int], job: str = "train") -> int:
    """Carries the run to its end in real processes, on the simulated card of `card_trainer.py`, whose memory runs out as told."""
    (run.path / "memory.json").write_text(json.dumps(runs_out))
    trainer = [sys.executable, str(FAULTS / "card_trainer.py"), str(run.path), "--job", job]
    command = [sys.executable, str(FAULTS / "simulated_supervisor.py"), str(run.path), job, *trainer]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=300, check=False).returncode
