"""Notices that the app was killed in this terminal, which then keeps its modes: the next start says how to reset it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from loratui.engine import durable
from loratui.engine.errors import LoratuiError
from loratui.engine.untrusted import read_text

HINT = "loratui was killed in this terminal; its runs continued. If the terminal looks wrong, type: reset"

_FOLDER = "open"


@contextmanager
def watched(home: Path, session: int | None = None) -> Iterator[bool]:
    """Yields whether an app of this login session was killed, and keeps its own mark until the `with` ends.

    `session` is the id of the POSIX session (default: this process's). A new terminal has another session, so a reused
    pseudo-terminal number raises no false alarm. False where home cannot be written.
    """
    known = os.getsid(0) if session is None else session
    mark = home / _FOLDER / f"{known}"
    try:
        before = _process_in(mark)
        _forget_gone(mark.parent)
        durable.make_directory(mark.parent)
        durable.write_file(mark, f"{os.getpid()}\n".encode("ascii"), durable=False)
    except (LoratuiError, OSError):
        yield False
        return
    try:
        yield before is not None and not _lives(before)
    finally:
        # Of two apps in one session, the last to write owns the mark.
        if _process_in(mark) == os.getpid():
            mark.unlink(missing_ok=True)


def _forget_gone(folder: Path) -> None:
    for mark in folder.glob("*") if folder.is_dir() else ():
        if mark.name.isdecimal() and not _lives(int(mark.name)):
            mark.unlink(missing_ok=True)


def _process_in(mark: Path) -> int | None:
    try:
        words = read_text(mark, 64).strip()
    except (OSError, ValueError):
        return None
    return int(words) if words.isdecimal() else None


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return process > 0
