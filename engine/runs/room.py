"""What could be deleted on the volume of a run that has no room, with sizes. Nothing here deletes anything."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

from loratui.engine.runs import lock
from loratui.engine.runs.directory import RunDirectory, list_runs
from loratui.engine.runs.records import Deletable

_MOST_S = 2.0
"""A volume that fails may also be slow; what was found by then is told."""
_MOST_TOLD = 5
_FEWEST_BYTES = 1 << 20


def deletable(run: RunDirectory) -> list[Deletable]:
    """What lies beside a run and is not needed for it, the largest first."""
    home, end = run.path.parent.parent, time.monotonic() + _MOST_S
    others = [other for other in list_runs(home) if other.path != run.path and not lock.is_held(other.lock)]
    candidates = [(f"the run {other.name}", other.path, f"loratui rm {other.name}") for other in others]
    candidates.append(("compiled code, made again when needed", home / "compiled", f"rm -r {home / 'compiled'}"))
    found = [Deletable(what, bytes_in(path, end), command) for what, path, command in candidates]
    largest = sorted((one for one in found if one.bytes >= _FEWEST_BYTES), key=lambda one: -one.bytes)
    return largest[:_MOST_TOLD]


def bytes_in(folder: Path, end: float = float("inf")) -> int:
    """Bytes that the files in a folder take on their disk; of a part of them when `end` (of the monotonic clock) is over."""
    total = 0
    for found in _files(folder):
        total += found.st_blocks * 512
        if time.monotonic() > end:
            break
    return total


def _files(folder: Path) -> Iterator[os.stat_result]:
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                found = entry.stat(follow_symlinks=False)
                if entry.is_dir(follow_symlinks=False):
                    yield from _files(Path(entry.path))
                elif entry.is_file(follow_symlinks=False):
                    yield found
    except OSError:
        return  # what cannot be read is not counted
