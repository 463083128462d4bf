"""The captions that captioners proposed for the images of a folder: one file of lines in loratui's home, to which lines are only added.

Nothing here touches the folder. A line is whole or absent after a kill; a damaged one is passed over, and its image is asked for again.
"""

from __future__ import annotations

import dataclasses
import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from loratui.engine import durable
from loratui.engine.captioning.cleaned import FLAGS, LONGEST, Flag
from loratui.engine.disk_errors import disk_error
from loratui.engine.errors import UsageError
from loratui.engine.limits import LIST_FILE_BYTES
from loratui.engine.untrusted import Unreadable, parse_json, read_small

FORMAT = 1
"""Of a line (`v`)."""
State = Literal["proposed", "accepted", "dismissed"]
_LINE_BYTES = 1 << 18
Key = tuple[str, str, str]
"""Content of the image, captioner, wish."""


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """What a captioner proposed for an image."""

    image: str
    """SHA-256 of the image's file."""
    file: str
    """Its path within the folder, as it was then."""
    captioner: str
    """`asked_as`: its id, and what else its answers depend on."""
    wish: str
    """`Wish.digest`."""
    text: str
    raw: tuple[str, ...]
    """What it answered, for each of the wish's lengths; tags as a list between commas."""
    flags: tuple[Flag, ...] = ()
    variants: tuple[str, ...] = ()
    """Other captions of the image, of other lengths."""
    at: float = 0.0
    """When, in seconds since 1970."""
    state: State = "proposed"

    @property
    def key(self) -> Key:
        """What it is the answer to."""
        return self.image, self.captioner, self.wish

    def to_json(self) -> dict[str, Any]:
        """A line of the file, and a row of `--json`."""
        return {**asdict(self), "flags": [asdict(flag) for flag in self.flags]}


class Proposals:
    """All proposals of a folder; the newest line of each counts."""

    def __init__(self, home: Path, folder: Path) -> None:
        """Reads what is there. Raises `UsageError` for a file that is none of ours."""
        self.path = home / "captions" / f"{hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:16]}.jsonl"
        self._kept: dict[Key, Proposal] = {}
        self.damaged = 0
        """Lines that could not be read."""
        try:
            data = read_small(self.path, LIST_FILE_BYTES, follow=False)
        except FileNotFoundError:
            return
        except Unreadable as error:
            raise UsageError(f"{error}.", "Move it away; the images are asked for again.") from None
        for line in data.splitlines():
            found = _parsed(line)
            if found is None:
                self.damaged += 1
            else:
                self._take(found)

    def __iter__(self) -> Iterator[Proposal]:
        """In the order in which they were changed last."""
        return iter(self._kept.values())

    def of(self, image: str) -> tuple[Proposal, ...]:
        """The proposals for the content of an image, the newest last."""
        return tuple(one for one in self._kept.values() if one.image == image)

    def get(self, image: str, captioner: str, wish: str) -> Proposal | None:
        """What a captioner answered to a wish for an image."""
        return self._kept.get((image, captioner, wish))

    def put(self, proposals: Iterable[Proposal]) -> None:
        """Adds or changes some; they are on the disk on return. Raises `DiskError`."""
        rows = [dataclasses.replace(one, at=one.at or time.time()) for one in proposals]
        if not rows:
            return
        lines = (json.dumps({"v": FORMAT, **one.to_json()}, ensure_ascii=True, allow_nan=False) + "\n" for one in rows)
        durable.make_directory(self.path.parent)
        durable.append_lines(self.path, "".join(lines).encode("ascii"))
        for one in rows:
            self._take(one)

    def mark(self, proposals: Iterable[Proposal], state: State) -> None:
        """Says what became of some. Raises `DiskError`."""
        self.put(dataclasses.replace(one, state=state, at=time.time()) for one in proposals if one.state != state)

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Within the block no other process asks for captions of this folder. Raises `UsageError` if one does."""
        durable.make_directory(self.path.parent)
        path = self.path.with_suffix(".lock")
        try:
            fd = durable.open_to_write(path, os.O_RDWR)
        except OSError as error:
            raise disk_error(error, path) from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError:
            raise UsageError("Captions of this folder are being written already.", "Wait for them, or stop that.") from None
        finally:
            os.close(fd)

    def _take(self, one: Proposal) -> None:
        self._kept.pop(one.key, None)
        self._kept[one.key] = one


def asked_as(captioner: str, options: Mapping[str, Any]) -> str:
    """A captioner with what its answers depend on; where a server is does not count: `endpoint model=llava`."""
    more = (f"{name}={options[name]}" for name in sorted(options) if name not in ("url", "timeout_s", "tries", "memory"))
    return " ".join((captioner, *more))


def _parsed(line: bytes) -> Proposal | None:
    """The proposal in a line; None for any other."""
    try:
        row = parse_json(line, most=_LINE_BYTES)
        flags = tuple(Flag(str(flag["id"]), _texts(flag["words"])) for flag in row["flags"] if flag["id"] in FLAGS)
        one = Proposal(
            **{name: str(row[name])[:LONGEST] for name in ("image", "file", "captioner", "wish", "text")},
            raw=_texts(row["raw"]),
            flags=flags,
            variants=_texts(row["variants"]),
            at=float(row["at"]),
            state=row["state"],
        )
    except (Unreadable, KeyError, TypeError, ValueError):
        return None
    return one if row.get("v") == FORMAT and one.state in get_args(State) else None


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise TypeError
    return tuple(str(text)[:LONGEST] for text in value)
