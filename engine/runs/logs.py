"""What a process prints: into a log whose disk may be full; and the end of it, made fit for an event: no escapes, no endless lines, no secrets."""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from loratui.engine.cleaning import without_escapes
from loratui.engine.durable import write_all
from loratui.engine.secrecy import hidden
from loratui.engine.untrusted import open_regular
from loratui.engine.words import size

_LINES = 20
_LINE_LENGTH = 400
_BYTES = 32_768

_FRAME = re.compile(r'^  File "(?:[^"\n]*/)?([^"/\n]+)", line (\d+) in (\S+)', re.MULTILINE)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class _Forgiving(io.RawIOBase):
    """The file behind a descriptor, which loses what the disk does not take, and says how much that was."""

    def __init__(self, fd: int) -> None:
        super().__init__()
        self._fd, self._lost = fd, 0

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._fd

    def write(self, data: Any) -> int:
        try:
            if self._lost:
                os.write(self._fd, f"[{size(self._lost)} were lost here: the disk did not take them]\n".encode())
                self._lost = 0
            write_all(self._fd, bytes(data))
        except OSError:
            self._lost += len(data)
        return len(data)


def print_whatever_the_disk_does() -> None:
    """From now on, a disk that does not take what this process prints is no error: what is printed is worth less than the run."""
    sys.stdout, sys.stderr = (
        io.TextIOWrapper(_Forgiving(fd), encoding="utf-8", errors="backslashreplace", write_through=True)  # type: ignore[type-var]  # raw is enough
        for fd in (1, 2)
    )


def log_tail(path: Path, start: int = 0, environ: Mapping[str, str] | None = None) -> list[str]:
    """The last lines of a log file from byte `start` on, oldest first: at most 20, cleaned and cut to 400 characters.

    Of a progress bar only its last state is kept. Tokens, and the values of environment variables that are named like
    secrets, are blotted out. An unreadable file has no lines.
    """
    data = _end_of(path, start)
    # Escapes and control bytes go first: what they stand within is put together again when they go.
    lines = [_clean(line) for line in without_escapes(data.decode("utf-8", "replace")).split("\n")]
    shown = [line.rstrip() for line in hidden("\n".join(lines), environ).split("\n")]
    return [line if len(line) <= _LINE_LENGTH else line[: _LINE_LENGTH - 1] + "…" for line in shown if line][-_LINES:]


def where_it_was(path: Path, start: int) -> str:
    """The innermost line of Python of the main thread, by the stacks that faulthandler wrote from byte `start` on; "" without any."""
    stacks = _end_of(path, start).decode("utf-8", "replace")
    found = _FRAME.search(stacks, max(0, stacks.rfind("(most recent call first)")))  # the main thread comes last
    return f"It was in {found[3]} ({found[1]}, line {found[2]})." if found else ""


def _end_of(path: Path, start: int) -> bytes:
    """The last bytes of a file from byte `start` on, without a line that is cut: what is left of a secret in it looks like none."""
    try:
        with open_regular(path, follow=False) as file:
            size = file.seek(0, os.SEEK_END)
            begin = file.seek(max(start, size - _BYTES))
            data = file.read(_BYTES)
    except OSError:
        return b""
    return data if begin <= start else data.partition(b"\n")[2] or data


def _clean(line: str) -> str:
    return _CONTROL.sub("", line.rstrip("\r").rsplit("\r", 1)[-1])
