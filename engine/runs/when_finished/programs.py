"""Runs another program for an action: without a shell, with its output in the log without secrets, and never longer than is allowed."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from loratui.engine import children, durable
from loratui.engine.cleaning import clean
from loratui.engine.machine.addresses import blotted
from loratui.engine.planning.ending_rules import program
from loratui.engine.runs import fence
from loratui.engine.runs.when_finished.stopping import Stopping

_LOOK_EVERY_S = 0.1
_LEAVES_S = 5.0
"""How long a program that was asked to end may take before it is killed."""
_KEPT_LINES = 2000
_LINE_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Ran:
    """How a program ended."""

    code: int | None
    """Its exit code, negative for a signal; None where it was stopped or took too long."""
    lines: tuple[str, ...]
    """What it printed last, without secrets."""
    why: str = ""
    """Why it could not be run, was stopped, or is not waited for any more."""

    @property
    def last_line(self) -> str:
        """The last that it said."""
        return next((line for line in reversed(self.lines) if line), "")

    @property
    def problem(self) -> str:
        """What went wrong, in words; empty for exit code 0."""
        if self.why or self.code == 0:
            return self.why
        ended = f"ended with exit code {self.code}" if (self.code or 0) > 0 else f"was ended by signal {-(self.code or 0)}"
        return f"{ended}: {self.last_line}" if self.last_line else f"{ended}."


def run(
    words: Sequence[str], stopping: Stopping, log: Path, *, longest_s: float, cwd: Path, more: Mapping[str, str] | None = None
) -> Ran:
    """Runs a program to its end, with `more` in its environment and without the right to write the run. What it prints goes to `log`."""
    found = program(words[0])
    if found is None:
        return Ran(None, (), f"{words[0]} is not on this machine.")
    own = {name: value for name, value in os.environ.items() if name != fence.VARIABLE}
    try:
        process = children.start(
            [found, *words[1:]],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**children.environment(own), **(more or {})},
            cwd=cwd,
        )
    except (OSError, ValueError) as error:
        return Ran(None, (), f"{words[0]} cannot be run: {error}")
    lines: deque[str] = deque(maxlen=_KEPT_LINES)
    reader = threading.Thread(target=_read, args=(process, lines, log), name="read a program", daemon=True)
    reader.start()
    end, why = time.monotonic() + longest_s, ""
    while process.poll() is None and not why:
        if stopping.why:
            why = "stopped"
        elif time.monotonic() >= end:
            why = f"took longer than {longest_s:.0f} s."
        else:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_LOOK_EVERY_S)
    if why:
        _end(process)
    reader.join(_LEAVES_S)  # a grandchild may hold the pipe
    return Ran(None if why else process.returncode, tuple(lines), why)


def _read(process: subprocess.Popen[bytes], lines: deque[str], log: Path) -> None:
    assert process.stdout is not None
    fd = -1
    with contextlib.suppress(OSError):
        fd = durable.open_to_write(log, os.O_WRONLY | os.O_APPEND)
    while data := process.stdout.readline(_LINE_BYTES):
        line = clean(blotted(data.decode("utf-8", "replace").rstrip("\r\n")))
        lines.append(line)
        if fd >= 0:
            with contextlib.suppress(OSError):  # a full disk costs the line, not the action
                durable.write_all(fd, line.encode("utf-8", "replace") + b"\n")
    if fd >= 0:
        os.close(fd)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends a program and what it started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_LEAVES_S)
            return
