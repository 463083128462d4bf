"""Starts the process of the queue, detached, where runs wait and none is there."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

from loratui.engine import children, durable
from loratui.engine.disk_errors import disk_error
from loratui.engine.errors import ExitCode, LoratuiError
from loratui.engine.runs import ownership
from loratui.engine.runs.directory import RunDirectory
from loratui.engine.runs.logs import log_tail
from loratui.engine.runs.queue import entries
from loratui.engine.runs.state_file import read_state

_PATIENCE_S = 30.0
_LOOK_EVERY_S = 0.02
_LONGEST_LOG = 1 << 20


def ensure_watched(home: Path) -> bool:
    """Whether a process starts the runs of the queue from now on; False where none waits, or the queue is on hold.

    Raises `UsageError` for a queue that cannot be read, `DiskError`, and `LoratuiError` if the process dies.
    """
    queue = entries.read(home)
    if not queue.entries or queue.on_hold:
        return False
    if entries.is_watched(home):
        return True
    ownership.require_trusted(home)
    process = _start(home)
    deadline = time.monotonic() + _PATIENCE_S
    while not entries.is_watched(home):
        if process.poll() is not None:
            if process.returncode == 0:  # all was done at once, or another process was faster
                return True
            tail = log_tail(home / entries.LOG)
            raise LoratuiError("The process of the queue ended at once.", tail[-1] if tail else "", exit_code=ExitCode.CRASHED)
        if time.monotonic() > deadline:
            process.kill()
            process.wait()
            raise LoratuiError("The process of the queue did not start.", "Try again.", exit_code=ExitCode.CRASHED)
        time.sleep(_LOOK_EVERY_S)
    # Whoever outlives it, such as the app, must reap it.
    threading.Thread(target=process.wait, name="reap queue", daemon=True).start()
    return True


def go_on_after(run: RunDirectory, job: str) -> None:
    """At the end of a run: starts the process of its queue again where runs wait and it is gone, killed or by a restart of the machine.
    Not while the machine shuts down. What goes wrong is printed."""
    home, ending = run.path.parent.parent, read_state(run, job).ending
    shuts_down = ending is not None and ending.by_signal
    if shuts_down or run.path.parent.name != "runs" or not (home / entries.FILE).is_file():
        return
    try:
        ensure_watched(home)
    except (LoratuiError, OSError) as error:
        print(f"The queue does not go on: {error}", file=sys.stderr, flush=True)


def _start(home: Path) -> subprocess.Popen[bytes]:
    log = home / entries.LOG
    try:
        output = durable.open_to_write(log, os.O_WRONLY | os.O_APPEND)
    except OSError as error:
        raise disk_error(error, log) from error
    try:
        if os.fstat(output).st_size > _LONGEST_LOG:
            os.ftruncate(output, 0)
        return children.start(
            children.command("loratui.engine.runs.queue.watch", str(home)),
            stdout=output,
            stderr=output,
            env=children.environment(LORATUI_HOME=str(home)),
            cwd=home,
        )
    finally:
        os.close(output)
