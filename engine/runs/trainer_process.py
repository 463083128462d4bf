"""The process of a trainer: forked by its supervisor, in a session of its own, and held at a gate until it may write."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Sequence
from typing import NoReturn

from loratui.engine import children, durable
from loratui.engine.errors import ExitCode
from loratui.engine.runs import fence, lock
from loratui.engine.runs.directory import RunDirectory, compiled_folder

GO = b"g"
"""What opens the gate."""


def fork(run: RunDirectory, held: lock.RunLock, command: Sequence[str], forked: Callable[[int], None]) -> int:
    """Forks the trainer and returns its gate: a descriptor through which `GO` lets it begin; closed without, it dies of SIGTERM.

    `forked` takes its pid before any signal reaches this process.
    """
    gate_read, gate_write = os.pipe()
    try:
        with children.held_back() as outside:
            pid = os.fork()
            if pid == 0:
                os.close(gate_write)
                _become(run, held, command, gate_read, outside)
            forked(pid)
    finally:
        os.close(gate_read)
    return gate_write


def _become(run: RunDirectory, held: lock.RunLock, command: Sequence[str], gate: int, unblocked: set[int]) -> NoReturn:
    """The child's part: waits for the gate, then is the trainer, or dies as SIGTERM would have it."""
    try:
        os.setsid()
        for number in children.ENDING:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, unblocked)
        if os.read(gate, 1) != GO:
            os.kill(os.getpid(), signal.SIGTERM)
        null = os.open(os.devnull, os.O_RDONLY)
        try:
            output = durable.open_to_write(run.trainer_log, os.O_WRONLY | os.O_APPEND)
        except OSError:  # a full disk: what the trainer prints is worth less than the run
            output = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.set_inheritable(held.fd, True)
        own = children.environment(compiled=compiled_folder(run), PYTHONFAULTHANDLER="1", PYTHONUNBUFFERED="1")
        children.become(command, own | fence.to_environment(held.fence))
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.write(2, f"The trainer could not be started: {error}\n".encode())
    finally:
        os._exit(ExitCode.CRASHED)
