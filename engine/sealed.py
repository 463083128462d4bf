"""The small JSON files of a run with a checksum and the run's own id: one that was damaged, or comes from another run, is not used.

Files of earlier versions have neither and are read as they are.
"""

from __future__ import annotations

import errno
import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from loratui.engine import durable
from loratui.engine.durable import MARKER
from loratui.engine.limits import SMALL_FILE_BYTES, TINY_FILE_BYTES
from loratui.engine.untrusted import Unreadable, parse_json, read_whole

CRC, RUN = "crc", "run_id"


def write(path: Path, value: Mapping[str, Any], run: Path, *, lasting: bool = True) -> None:
    """Writes `value` as JSON with its checksum and the id of the run in the folder `run`. Raises `DiskError`, `UsageError`."""
    durable.write_json(path, sealed(value, run), durable=lasting)


def read(path: Path, run: Path, most: int = SMALL_FILE_BYTES) -> dict[str, Any]:
    """The table in a file that `write` wrote, without what it added. Raises `Unreadable`, `Gone` where there is no file."""
    return opened(read_whole(path, most, follow=False), run, path)


def sealed(value: Mapping[str, Any], run: Path) -> dict[str, Any]:
    """`value` with its checksum and the id of the run."""
    own = id_of(run)
    told = {**value, RUN: own} if own else dict(value)
    return {**told, CRC: checksum(told)}


def opened(data: bytes, run: Path, path: Path) -> dict[str, Any]:
    """As `read`, of the bytes of a file."""
    try:
        body = checked(data)
    except Unreadable as error:
        raise Unreadable(error.errno, error.strerror, str(path)) from None
    theirs, own = body.pop(RUN, ""), id_of(run)
    if theirs and own and theirs != own:
        raise Unreadable(errno.EINVAL, "belongs to another run", str(path))
    return body


def checked(data: bytes) -> dict[str, Any]:
    """The table in the bytes of such a file, whosever it is. Raises `Unreadable`."""
    body = parse_json(data)
    if not isinstance(body, dict):
        raise Unreadable(errno.EINVAL, "is not a table")
    crc = body.pop(CRC, None)
    if crc is not None and crc != checksum(body):
        raise Unreadable(errno.EINVAL, "is damaged: its checksum differs")
    return body


def checksum(value: Mapping[str, Any]) -> str:
    """CRC-32 of a value in one fixed spelling, 8 hexadecimal digits."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return f"{zlib.crc32(text.encode('ascii')):08x}"


def id_of(run: Path) -> str:
    """The id that a run got when it was made; "" for runs of earlier versions, and where its marker is damaged."""
    own = marker_of(run).get("id", "")
    return own if isinstance(own, str) else ""


def marker_of(run: Path) -> dict[str, Any]:
    """What the marker of a run says; nothing where it is damaged or missing."""
    try:
        return checked(read_whole(run / MARKER, TINY_FILE_BYTES, follow=False))
    except OSError:
        return {}
