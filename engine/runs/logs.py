"""The end of what a process printed, made fit for an event: no escapes, no endless lines, no secrets."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from loratui.engine.secrecy import hidden
from loratui.engine.untrusted import open_regular

_LINES = 20
_LINE_LENGTH = 400
_BYTES = 32_768

_ESCAPE = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)?|[@-Z\\-_])")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def log_tail(path: Path, start: int = 0, environ: Mapping[str, str] | None = None) -> list[str]:
    """The last lines of a log file from byte `start` on, oldest first: at most 20, cleaned and cut to 400 characters.

    Of a progress bar only its last state is kept. Tokens, and the values of environment variables that are named like
    secrets, are blotted out. An unreadable file has no lines.
    """
    try:
        with open_regular(path, follow=False) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(start, size - _BYTES))
            data = file.read(_BYTES)
    except OSError:
        return []
    text = hidden(data.decode("utf-8", "replace"), environ)
    lines = [_clean(line) for line in text.split("\n")]
    return [line for line in lines if line][-_LINES:]


def _clean(line: str) -> str:
    shown = _ESCAPE.sub("", line).rstrip("\r").rsplit("\r", 1)[-1]
    shown = _CONTROL.sub("", shown).rstrip()
    return shown if len(shown) <= _LINE_LENGTH else shown[: _LINE_LENGTH - 1] + "…"
