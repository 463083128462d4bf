"""The room on the volume of a run: what it still needs there, and what could be deleted. Nothing here deletes anything."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Iterator
from pathlib import Path

from loratui.engine.dataset.ledger import read_ledger
from loratui.engine.errors import DiskError
from loratui.engine.findings import Finding
from loratui.engine.machine import hub_cache
from loratui.engine.machine.volume import volume_of
from loratui.engine.planning.disk import beside_checkpoint_bytes, cache_bytes, checkpoint_bytes
from loratui.engine.planning.lora_size import size_of
from loratui.engine.planning.recipe import read_recipe
from loratui.engine.runs import lock
from loratui.engine.runs.directory import RunDirectory, list_runs
from loratui.engine.runs.records import Deletable, in_words
from loratui.engine.words import size

_MOST_S = 2.0
"""A volume that fails may also be slow; what was found by then is told."""
_MOST_TOLD = 5
_FEWEST_BYTES = 1 << 20


def deletable(run: RunDirectory) -> list[Deletable]:
    """What lies beside a run and is not needed for it, the largest first."""
    home, end = run.path.parent.parent, time.monotonic() + _MOST_S
    others = [other for other in list_runs(home) if other.path != run.path and not lock.is_held(other.lock)]
    candidates = [(f"the run {other.name}", other.path, f"loratui rm {other.name}") for other in others]
    candidates += [(what, path, f"rm -r {shlex.quote(str(path))}") for what, path in _other_things(run, home)]
    found = [Deletable(what, bytes_in(path, end), command) for what, path, command in candidates]
    largest = sorted((one for one in found if one.bytes >= _FEWEST_BYTES), key=lambda one: -one.bytes)
    return largest[:_MOST_TOLD]


def _other_things(run: RunDirectory, home: Path) -> Iterator[tuple[str, Path]]:
    """What is made or downloaded again when it is needed, on the run's own volume."""
    own, base = volume_of(run.path), _base(run)
    yield "compiled code, made again when needed", home / "compiled"
    yield "exported copies of its LoRA files", run.path / "export"
    for repo, snapshot in hub_cache.snapshots():
        there = volume_of(snapshot)
        if own and there and own.device == there.device and repo not in base and snapshot.parent.parent.name not in base:
            yield f"the download of {repo}", snapshot.parent.parent


def _base(run: RunDirectory) -> str:
    try:
        return read_recipe(run.effective).settings.base.model
    except (OSError, ValueError):
        return ""


def require_room(run: RunDirectory) -> None:
    """Raises `DiskError` where the run's volume cannot take what the run still writes."""
    volume, needed = volume_of(run.path), still_needed(run)
    if volume is not None and volume.lacks(needed):
        others = in_words(deletable(run))
        found = Finding.of("disk_full.resume", run=run.name, free=size(volume.free), needed=size(needed), deletable=others)
        if volume.read_only:
            found = Finding.of("output_not_writable", folder=str(run.path))
        raise DiskError(found.message, found.remedy.strip())


def still_needed(run: RunDirectory) -> int:
    """Bytes that a run needs to go on: (keep + 1) checkpoints, a LoRA file, samples and caches, without what is there already; 0 where
    its settings cannot be read, which its trainer reports."""
    try:
        settings = read_recipe(run.effective).settings
        images = read_ledger(run.dataset).images
    except (OSError, ValueError):
        return 0
    lora = size_of(settings)
    checkpoint = checkpoint_bytes(settings, lora)
    all_of_them = (settings.output.keep_checkpoints + 1) * checkpoint - bytes_in(run.checkpoints)
    captions = sum(len(image.lines) or 1 for image in images)
    caches = max(0, cache_bytes(settings, len(images), captions) - bytes_in(run.cache))
    return max(checkpoint, all_of_them) + beside_checkpoint_bytes(settings, lora) + caches


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
