"""The real supervisor over a simulated trainer: `simulated_supervisor.py RUN JOB TRAINER...`.

With SIGNAL_AT_START in the environment it gets that signal just before it starts the first trainer. With STALLED_AFTER_S, a step may take
that long at least before it is stalled, and a trainer that does not answer is killed after a second. KILLS_FOR_MEMORY names a file with
the kernel's count; ANOTHER_BOOT says that the machine was booted meanwhile.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from loratui.engine.errors import LoratuiError
from loratui.engine.machine import cgroup
from loratui.engine.runs import ages, lock, stalls, watchdog
from loratui.engine.runs.directory import RunDirectory
from loratui.engine.runs.supervisor import supervise


def started() -> None:
    """Says so, and lets the signal come."""
    print("ready", flush=True)
    if number := os.environ.get("SIGNAL_AT_START"):
        os.kill(os.getpid(), int(number))


if __name__ == "__main__":
    run, job, command = RunDirectory(Path(sys.argv[1])), sys.argv[2], sys.argv[3:]
    try:
        held = lock.acquire(run.lock, job=job)
    except LoratuiError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
    if os.environ.get("ANOTHER_BOOT"):
        ages.clock_name = lambda: "another boot"
    if counted := os.environ.get("KILLS_FOR_MEMORY"):
        cgroup.oom_kills = lambda *_: int(Path(counted).read_text())
    if least := os.environ.get("STALLED_AFTER_S"):
        stalls.LEAST_S, watchdog.GRACE_S = float(least), 1.0
    sys.exit(supervise(run, job, held, command=command, restart_after_s=0.05, look_every_s=0.1, started=started))
