"""Starts the supervisor of a run, detached, and returns once it has the lock."""

from __future__ import annotations

import os
import selectors
import subprocess
import threading
import time

from loratui.engine import children, durable
from loratui.engine.disk_errors import disk_error
from loratui.engine.errors import ExitCode, LoratuiError, UsageError
from loratui.engine.runs import contents, lock, ownership
from loratui.engine.runs.directory import RunDirectory
from loratui.engine.runs.lineage import is_imported
from loratui.engine.runs.logs import log_tail
from loratui.engine.runs.state_file import read_state
from loratui.engine.runs.verdict import is_foreign

_PATIENCE_S = 30.0
"""A cold Python on a network volume takes seconds."""


def launch(run: RunDirectory, job: str = "train", actions: str = "") -> None:
    """Starts `job` (`train` or `validate`) for a run in a process of its own that outlives this one and its terminal; with `actions`
    (`left`, `now` or `again`) only what was chosen for the end of the run.

    Returns when the lock is held. Raises `UsageError` if the run is alive already, `DiskError` if its volume cannot take what it still
    writes, and `LoratuiError` with the supervisor's last words if it dies.
    """
    if lock.is_held(run.lock):
        # Taking a held lock fails with the owner's name; if it was let go just now, there is nothing to refuse.
        lock.acquire(run.lock, to_delete=True).release()
    ownership.require_trusted(run.path.parent)
    ownership.require_own(run.path)
    contents.require_sound(run.path)
    if job == "train" and is_imported(run):
        raise UsageError(
            f"{run.name} was imported; there is nothing to train.",
            f"To train on from it: loratui continue {run.name} --weights",
        )
    if job == "train" and not actions:
        from loratui.engine.runs.room import require_room  # not at the start of the app: it knows what a recipe takes

        require_room(run)
    if is_foreign(run, read_state(run)):
        message = f"The events.jsonl of {run.name} is the log of another run."
        raise UsageError(message, "Put this run's log back, or move that one away, then try again.")
    durable.make_directory(run.log)
    read_end, write_end = os.pipe()
    try:
        process = _start(run, job, actions, write_end)
    finally:
        os.close(write_end)
    try:
        answer = _read_answer(read_end, time.monotonic() + _PATIENCE_S)
    finally:
        os.close(read_end)
    if answer == "ok":
        # Whoever outlives the supervisor, such as the app, must reap it.
        threading.Thread(target=process.wait, name="reap supervisor", daemon=True).start()
        return
    raise _failure(run, answer, process)


def _start(run: RunDirectory, job: str, actions: str, ready: int) -> subprocess.Popen[bytes]:
    module, where = "loratui.engine.runs.supervisor", str(run.path)
    try:
        output = durable.open_to_write(run.supervisor_log, os.O_WRONLY | os.O_APPEND)
    except OSError as error:
        raise disk_error(error, run.supervisor_log) from error
    try:
        with children.held_back():  # a box that is taken back now stops a supervisor that can answer, and has the lock
            return children.start(
                children.command(
                    module, where, "--job", job, "--ready-fd", str(ready), *(["--actions", actions] if actions else [])
                ),
                stdout=output,
                stderr=output,
                pass_fds=[ready],
                cwd=run.path,
            )
    except OSError as error:
        raise UsageError(
            f"The supervisor could not be started: {error}.", "Check that Python and loratui are intact."
        ) from error
    finally:
        os.close(output)


def _read_answer(fd: int, deadline: float) -> str:
    """What the supervisor says until it closes its end; "" if it died silently, "timeout" if it says nothing."""
    parts: list[bytes] = []
    with selectors.DefaultSelector() as selector:
        selector.register(fd, selectors.EVENT_READ)
        while True:
            if not selector.select(max(0.0, deadline - time.monotonic())):
                return "timeout"
            part = os.read(fd, 65_536)
            if not part:
                return b"".join(parts).decode("utf-8", "surrogateescape")
            parts.append(part)


def _failure(run: RunDirectory, answer: str, process: subprocess.Popen[bytes]) -> LoratuiError:
    if answer == "timeout":
        process.kill()
        process.wait()
        message = f"The supervisor of {run.name} did not start within {_PATIENCE_S:.0f} s."
        return LoratuiError(message, "Try again.", exit_code=ExitCode.CRASHED)
    code = process.wait()
    number, _, words = answer.partition(" ")
    if number.isdecimal() and words:
        return LoratuiError(words, exit_code=ExitCode(int(number)) if int(number) in set(ExitCode) else None)
    tail = log_tail(run.supervisor_log)
    message = f"The supervisor of {run.name} ended at once ({code})."
    return LoratuiError(message, tail[-1] if tail else "", exit_code=ExitCode.CRASHED)
