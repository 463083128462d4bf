"""What a run's own volume does not take now is kept on another one: a file for each file that could not be written.

A run whose disk is full must still be able to say so, and a person to end it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from loratui.engine import durable
from loratui.engine.disk_errors import at_once
from loratui.engine.errors import LoratuiError
from loratui.engine.machine.volume import volume_of
from loratui.engine.runs.events import Event, decode, last_events
from loratui.engine.untrusted import read_json

_MEMORY = Path("/dev/shm")  # noqa: S108 - the folder in it is this account's alone, or is not used
"""Where a box has one disk for everything, which is full, this takes a few lines until it is booted again."""
_MOST_BYTES = 1 << 22
_NO_DEVICE = -1
_LARGEST_GAP = 2


def keep(path: Path, value: Mapping[str, Any]) -> bool:
    """Keeps a value for the file `path`, in place of what was kept for it before; whether any volume took it."""
    own = _device(path)
    for place in sorted(_places(), key=lambda place: _device(place) == own):
        with contextlib.suppress(LoratuiError), at_once():
            durable.make_directory(place)
            if _is_private(place):
                durable.write_json(place / _name(path), {"for": os.path.realpath(path), **value}, durable=False)
                return True
    return False


def kept(path: Path) -> dict[str, Any] | None:
    """What is kept for the file `path`; None if nothing is."""
    name = _name(path)
    for place in _places():
        if not (place / name).exists() or not _is_private(place):
            continue
        try:
            body = read_json(place / name, _MOST_BYTES, follow=False)
        except OSError:
            continue
        if isinstance(body, dict) and body.get("for") == os.path.realpath(path):
            return body
    return None


def unsaid(log: Path) -> list[tuple[bytes, Event]]:
    """The lines that follow on those of an event log, but that its disk has not taken, with their events."""
    body = kept(log)
    listed = body.get("lines") if body else None
    lines = [line.encode("ascii", "replace") for line in listed if isinstance(line, str)] if isinstance(listed, list) else []
    if not lines:
        return []
    there = last_events(log)
    last = there[-1].seq if there else 0
    found = [(line, event) for line in lines if (event := decode(line)) and event.seq > last]
    # After a torn line one number is passed over. Anything else is of another time: the run went on from another machine.
    return found if found and found[0][1].seq - last <= _LARGEST_GAP else []


def drop(path: Path) -> None:
    """The file `path` has what was kept for it."""
    for place in _places():
        if (place / _name(path)).exists() and _is_private(place):
            durable.remove(place / _name(path))


def _places() -> Iterator[Path]:
    """Folders of this account that are likely to be on other volumes than its runs."""
    state, home = os.environ.get("XDG_STATE_HOME", ""), os.environ.get("HOME", "")
    if state.startswith("/"):
        yield Path(state) / "loratui"
    elif home.startswith("/"):
        yield Path(home) / ".local" / "state" / "loratui"
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if runtime.startswith("/"):
        yield Path(runtime) / "loratui"
    for place in (Path(tempfile.gettempdir()), _MEMORY):
        if place.is_dir():
            yield place / f"loratui-{os.geteuid()}"


def _name(path: Path) -> str:
    return f"{hashlib.sha256(os.fsencode(os.path.realpath(path))).hexdigest()[:32]}.json"


def _is_private(place: Path) -> bool:
    """Whether a folder is this account's, and nobody else can read or write in it: others can make folders in /tmp too."""
    try:
        found = place.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077


def _device(path: Path) -> int:
    found = volume_of(path)
    return found.device if found else _NO_DEVICE
