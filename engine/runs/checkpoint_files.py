"""Which checkpoints of a run can be resumed from, told without torch: by their manifests, and by their sums where that is worth the time."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from loratui.engine.runs.directory import RunDirectory
from loratui.engine.untrusted import open_regular, parse_json, read_json, read_small

FORMAT = 1
ADAPTER, OPTIMIZER, STATE, MANIFEST = "adapter.safetensors", "optimizer.safetensors", "state.json", "MANIFEST.json"
SHIPPED = "average.safetensors"


class BadCheckpointError(ValueError):
    """A checkpoint that cannot be used, with the reason."""


@dataclass(frozen=True, slots=True)
class CheckpointsFound:
    """The checkpoints of a run, as far as they were looked at."""

    step: int | None = None
    """Of the newest that can be resumed from; None if there is none."""
    damaged: tuple[int, ...] = ()
    """Steps of newer ones that cannot."""
    sure: bool = True
    """Whether the sums were compared, not only the sizes."""

    @property
    def all_damaged(self) -> bool:
        """Whether there are checkpoints and none can be used: then no trainer starts, so that nothing is overwritten."""
        return bool(self.damaged) and self.step is None


def look(run: RunDirectory, *, sums: bool) -> CheckpointsFound:
    """Looks from the newest on until one can be resumed from. Without `sums` it reads the manifests alone, and says that it is not sure."""
    damaged: list[int] = []
    for step in reversed(run.checkpoint_steps()):
        if not problem(run.checkpoint(step), sums=sums):
            return CheckpointsFound(step, tuple(damaged), sums)
        damaged.append(step)
    return CheckpointsFound(None, tuple(damaged))


def problem(folder: Path, *, sums: bool) -> str:
    """Why a checkpoint cannot be used; empty if it can, or if only its `sums` would show that it cannot."""
    try:
        rows = manifest_of(folder)
        for name, row in rows.items():
            found = (folder / name).lstat()
            if found.st_size != row["bytes"] or not (sums or _is_file(folder / name)):
                return f"{folder.name}/{name} is damaged"
            if sums and _sum(folder / name, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_size) != row["sha256"]:
                return f"{folder.name}/{name} is damaged"
    except BadCheckpointError as error:
        return str(error)
    except (OSError, KeyError, TypeError):
        return f"{folder.name} is not complete"
    return ""


def manifest_of(folder: Path) -> Mapping[str, Any]:
    """File -> its `bytes` and `sha256`, of the files that a checkpoint must have. Raises `BadCheckpointError`."""
    try:
        manifest = read_json(folder / MANIFEST, follow=False, unique=True)
        if manifest["format"] > FORMAT:
            raise BadCheckpointError(f"{folder.name} was written by a newer loratui")
        files: Mapping[str, Any] = manifest["files"]
        if set(files) - {SHIPPED} != {ADAPTER, OPTIMIZER, STATE}:
            raise BadCheckpointError(f"{folder.name} does not have the files of a checkpoint")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, BadCheckpointError):
            raise
        raise BadCheckpointError(f"{folder.name} is not complete") from error
    return files


def identity_in(folder: Path) -> Mapping[str, Any]:
    """What the run was when a checkpoint was written (see `training.identity`), from its verified state. Raises `BadCheckpointError`."""
    data = b""
    try:
        row = manifest_of(folder)[STATE]
        data = read_small(folder / STATE, follow=False)
        identity = parse_json(data, not_finite=True)["identity"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadCheckpointError(f"{folder.name} cannot be read") from error
    if hashlib.sha256(data).hexdigest() != row["sha256"] or not isinstance(identity, dict):
        raise BadCheckpointError(f"{folder.name}/{STATE} is damaged")
    return identity


def _is_file(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


@lru_cache(maxsize=256)
def _sum(path: Path, *_as_it_was: int) -> str:
    """The SHA-256 of a file; made again when its times, its inode or its size differ."""
    with open_regular(path, follow=False) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
