"""The end of what a process printed, made fit for an event: no escapes, no endless lines, no secrets."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from loratui.engine.cleaning import without_escapes
from loratui.engine.secrecy import hidden
from loratui.engine.untrusted import open_regular

_LINES = 20
_LINE_LENGTH = 400
_BYTES = 32_768

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def log_tail(path: Path, start: int = 0, environ: Mapping[str, str] | None = None) -> list[str]:
    """The last lines of a log file from byte `start` on, oldest first: at most 20, cleaned and cut to 400 characters.

    Of a progress bar only its last state is kept. Tokens, and the values of environment variables that are named like
    secrets, are blotted out. An unreadable file has no lines.
    """
    try:
        with open_regular(path, follow=False) as file:
            size = file.seek(0, os.SEEK_END)
            begin = file.seek(max(start, size - _BYTES))
            data = file.read(_BYTES)
    except OSError:
        return []
    if begin > start:  # the first line is cut, and what is left of a secret in it looks like none
        data = data.partition(b"\n")[2] or data
    # Escapes and control bytes go first: what they stand within is put together again when they go.
    lines = [_clean(line) for line in without_escapes(data.decode("utf-8", "replace")).split("\n")]
    shown = [line.rstrip() for line in hidden("\n".join(lines), environ).split("\n")]
    return [line if len(line) <= _LINE_LENGTH else line[: _LINE_LENGTH - 1] + "…" for line in shown if line][-_LINES:]


def _clean(line: str) -> str:
    return _CONTROL.sub("", line.rstrip("\r").rsplit("\r", 1)[-1])
