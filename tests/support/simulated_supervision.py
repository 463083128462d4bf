"""A run's supervisor over a simulated trainer, as tests of faults start it."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from loratui.engine.runs import lock
from loratui.engine.runs.directory import RunDirectory

_FAULTS = Path(__file__).parents[1] / "faults"

Start = Callable[..., subprocess.Popen[str]]


@contextlib.contextmanager
def supervision(run: RunDirectory) -> Iterator[Start]:
    """Gives what starts the supervisor with the attempts of its trainer; ends what is left."""
    started: list[subprocess.Popen[str]] = []

    def start(
        *attempts: list[list[Any]],
        job: str = "train",
        command: list[str] | None = None,
        wrapped: tuple[str, ...] = (),
        errors: int = subprocess.PIPE,
    ) -> subprocess.Popen[str]:
        (run.path / "simulated.json").write_text(json.dumps(attempts))
        own = [*wrapped, sys.executable, str(_FAULTS / "simulated_trainer.py"), str(run.path), "--job", job]
        process = subprocess.Popen(
            [sys.executable, str(_FAULTS / "simulated_supervisor.py"), str(run.path), job, *(command or own)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    try:
        yield start
    finally:
        for process in started:
            owner = lock.read_owner(run.lock)
            if owner is not None:
                owner.trainer.send_signal(signal.SIGKILL)
            process.kill()
            process.communicate()
