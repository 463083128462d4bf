"""What was read of images, kept by their hashes in the run's validation folder, so that each is read once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from loratui.engine import sealed
from loratui.engine.limits import LIST_FILE_BYTES

FORMAT = 1
"""Of `validation/readings.json`."""
_SAVE_AFTER = 50
"""Readings after which they are saved, so that a stopped job loses little."""
T = TypeVar("T")


class Readings:
    """A file of readings, each by its reader (with its version) and the SHA-256 of the image. A damaged file is an empty one."""

    def __init__(self, path: Path | None) -> None:
        """None: they are kept as long as this object is."""
        self._path = path
        self._kept = _read(path) if path else {}
        self._used: dict[str, dict[str, Any]] = {}
        self._new = 0
        self.made = 0
        """How many were read now."""

    def get(self, reader: str, image: str, parse: Callable[[Any], T]) -> T | None:
        """What was read, if it was, and can be parsed."""
        try:
            value = self._kept[reader][image]
            found = parse(value)
        except (KeyError, TypeError, ValueError, OverflowError):
            return None
        self._used.setdefault(reader, {})[image] = value
        return found

    def put(self, reader: str, image: str, value: Any) -> None:
        """Keeps what was read; `value` is plain."""
        self._used.setdefault(reader, {})[image] = value
        self._kept.setdefault(reader, {})[image] = value
        self._new += 1
        self.made += 1
        if self._new >= _SAVE_AFTER:
            self.keep()

    def keep(self) -> None:
        """Writes all that is known so far, for a job that ends before it is done."""
        if self._new:
            self._write(self._kept)

    def save(self) -> None:
        """Writes what was used, and forgets the rest: readings of images that are gone, and of earlier readers."""
        if self._new or self._used != self._kept:
            self._write(self._used)

    def _write(self, readings: dict[str, dict[str, Any]]) -> None:
        if self._path is None:
            return
        sealed.write(self._path, {"format": FORMAT, "readings": readings}, self._path.parent.parent, lasting=False)
        self._new = 0


def _read(path: Path) -> dict[str, dict[str, Any]]:
    try:
        table = sealed.read(path, path.parent.parent, LIST_FILE_BYTES)
        readings = table["readings"] if table["format"] == FORMAT else {}
    except (OSError, KeyError):
        return {}
    if not isinstance(readings, dict) or not all(isinstance(rows, dict) for rows in readings.values()):
        return {}
    return readings
