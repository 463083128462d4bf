"""How the supervisor starts what was chosen for the end of its run."""

from __future__ import annotations

import os
import subprocess

from loratui.engine import children, durable
from loratui.engine.runs import fence
from loratui.engine.runs.directory import RunDirectory
from loratui.engine.runs.lock import RunLock


def start(run: RunDirectory, held: RunLock, which: str = "left") -> subprocess.Popen[bytes] | None:
    """Starts the process that carries out the actions, which holds the lock too; None if nothing is to be done.

    Raises `OSError` where no process can be started.
    """
    from loratui.engine.runs.state_file import read_state
    from loratui.engine.runs.when_finished.carry_out import left  # not at the start of a supervisor, which must be quick

    if not left(run, read_state(run), "again" if which == "again" else "now" if which == "now" else "left"):
        return None
    words = children.command("loratui.engine.runs.when_finished", str(run.path), "--which", which)
    try:
        output = durable.open_to_write(run.supervisor_log, os.O_WRONLY | os.O_APPEND)
    except OSError:  # a disk that takes nothing must not keep a pod running
        output = subprocess.DEVNULL
    try:
        env = {**children.environment(), **fence.to_environment(held.fence)}
        return children.start(words, stdout=output, stderr=output, env=env, pass_fds=[held.fd], cwd=run.path)
    finally:
        if output >= 0:
            os.close(output)
