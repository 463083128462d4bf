"""The real supervisor over a simulated trainer: `simulated_supervisor.py RUN JOB TRAINER...`."""

from __future__ import annotations

import sys
from pathlib import Path

from loratui.engine.errors import LoratuiError
from loratui.engine.runs import lock
from loratui.engine.runs.directory import RunDirectory
from loratui.engine.runs.supervisor import supervise

if __name__ == "__main__":
    run, job, command = RunDirectory(Path(sys.argv[1])), sys.argv[2], sys.argv[3:]
    try:
        held = lock.acquire(run.lock, job=job)
    except LoratuiError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
    sys.exit(supervise(run, job, held, command=command, restart_after_s=0.05, started=lambda: print("ready", flush=True)))
