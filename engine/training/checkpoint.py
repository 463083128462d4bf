"""Checkpoints: everything a run needs to resume exactly, written whole or not at all, never trusted without their sums."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from loratui.engine.disk_errors import patiently
from loratui.engine.durable import building, failpoint, make_directory, remove_tree, sweep_leftovers, write_file, write_json
from loratui.engine.errors import DiskError, UsageError
from loratui.engine.runs.checkpoint_files import (
    ADAPTER,
    FORMAT,
    MANIFEST,
    OPTIMIZER,
    SHIPPED,
    STATE,
    BadCheckpointError,
    manifest_of,
)
from loratui.engine.runs.directory import RunDirectory
from loratui.engine.training.data import TrainProgress
from loratui.engine.training.snapshot import Packed
from loratui.engine.untrusted import open_regular, parse_json, read_whole


@dataclass(frozen=True)
class Checkpoint:
    """The state between two optimizer steps."""

    position: TrainProgress
    adapter: Mapping[str, Tensor]
    shipped: Mapping[str, Tensor]
    """The weights that leave the run, where they differ from the trained ones; else empty."""
    optimizer: Mapping[str, Tensor]
    optimizer_plain: str
    """JSON of the optimizer's state other than tensors."""
    identity: Mapping[str, Any]
    """What must be the same to resume: see `training.identity`."""
    epoch_loss: tuple[float, int]
    """Sum of the losses of the unfinished epoch's image-steps, and their number."""
    scaling: Mapping[str, Any] = field(default_factory=dict)
    """State of `LossScaling`; empty where the loss is not scaled."""


def save_checkpoint(run: RunDirectory, checkpoint: Checkpoint) -> tuple[Path, int]:
    """Writes a checkpoint, reads it back, and returns its folder and its bytes.

    On return it is on the disk, names included. An unreadable folder of the same step is replaced.
    Raises `DiskError`, also if the disk returns other data than was written.
    """
    final = run.checkpoint(checkpoint.position.step)
    state = {
        "format": FORMAT,
        "position": asdict(checkpoint.position),
        "optimizer": parse_json(checkpoint.optimizer_plain, not_finite=True),
        "identity": dict(checkpoint.identity),
        "epoch_loss": [checkpoint.epoch_loss[0].hex(), checkpoint.epoch_loss[1]],
        "scaling": dict(checkpoint.scaling),
    }
    files = {
        ADAPTER: _packed(checkpoint.adapter),
        OPTIMIZER: _packed(checkpoint.optimizer),
        STATE: memoryview(json.dumps(state, indent=1).encode()),
    }
    if checkpoint.shipped:
        files[SHIPPED] = _packed(checkpoint.shipped)
    size = sum(map(len, files.values()))
    return final, patiently(final, partial(_build, final, files), size)


def _build(final: Path, files: Mapping[str, memoryview]) -> int:
    """Makes the folder of a checkpoint of its files, where there is no good one, and returns their bytes. Raises `DiskError`."""
    if final.exists():
        try:
            verify(final)
        except BadCheckpointError:
            remove_tree(final)
        else:
            return sum(file.stat().st_size for file in final.iterdir())
    make_directory(final.parent)
    with building(final) as folder:
        for name, data in files.items():
            failpoint(f"checkpoint.{name}")
            write_file(folder / name, data, durable=False)
        rows: dict[str, Any] = {name: {"bytes": len(data), "sha256": _sum(data)} for name, data in files.items()}
        failpoint("checkpoint.manifest")
        write_json(folder / MANIFEST, {"format": FORMAT, "files": rows}, durable=False)
    if not all(_holds(final / name, row["bytes"], row["sha256"]) for name, row in rows.items()):
        raise DiskError(f"{final}: the disk returned other data than was written.", "Check the volume.", number=errno.EIO)
    return sum(map(len, files.values()))


def verify(folder: Path) -> dict[str, bytes]:
    """The files of a checkpoint, each equal to its sum in the manifest. Raises `BadCheckpointError`."""
    rows = manifest_of(folder)
    try:
        files = {name: read_whole(folder / name, row["bytes"], follow=False) for name, row in rows.items()}
        for name, data in files.items():
            if len(data) != rows[name]["bytes"] or _sum(data) != rows[name]["sha256"]:
                raise BadCheckpointError(f"{folder.name}/{name} is damaged")
    except (OSError, KeyError, TypeError) as error:
        raise BadCheckpointError(f"{folder.name} is not complete") from error
    return files


def load_checkpoint(folder: Path) -> Checkpoint:
    """The checkpoint in a folder. Raises `BadCheckpointError`."""
    files = verify(folder)
    try:
        state = parse_json(files[STATE], not_finite=True)
        total, count = state["epoch_loss"]
        checkpoint = Checkpoint(
            position=TrainProgress(**state["position"]),
            adapter=load(files[ADAPTER]),
            shipped=load(files[SHIPPED]) if SHIPPED in files else {},
            optimizer=load(files[OPTIMIZER]),
            optimizer_plain=json.dumps(state["optimizer"]),
            identity=state["identity"],
            epoch_loss=(float.fromhex(total), int(count)),
            scaling=dict(state.get("scaling", {})),
        )
    except (ValueError, KeyError, TypeError, SafetensorError) as error:
        raise BadCheckpointError(f"{folder.name} cannot be read") from error
    if folder.name != f"step-{checkpoint.position.step:06d}":
        raise BadCheckpointError(f"{folder.name} holds step {checkpoint.position.step}")
    return checkpoint


def newest_good(run: RunDirectory, on_bad: Callable[[str], None]) -> Checkpoint | None:
    """The newest checkpoint that is whole; bad ones are reported to `on_bad` and kept.

    None if the run has none. Raises `UsageError` if all are bad, since a restart would overwrite what can perhaps be saved.
    """
    steps = run.checkpoint_steps()
    for step in reversed(steps):
        try:
            return load_checkpoint(run.checkpoint(step))
        except BadCheckpointError as error:
            on_bad(str(error))
    if steps:
        raise UsageError(
            f"Every checkpoint in {run.checkpoints} is damaged.",
            "The LoRA files in output/ are untouched. Start a new run: loratui train RUN/recipe.toml",
        )
    return None


def prune(run: RunDirectory, keep: int) -> None:
    """Deletes all but the newest `keep` checkpoints, and a crash's leftovers. Folders without a manifest do not count and stay."""
    sweep_leftovers(run.checkpoints)
    good = [path for path in map(run.checkpoint, run.checkpoint_steps()) if (path / MANIFEST).is_file()]
    for path in good[:-keep]:
        remove_tree(path)


def _packed(tensors: Mapping[str, Tensor]) -> memoryview:
    """The file of these tensors."""
    return (tensors if isinstance(tensors, Packed) else Packed(tensors)).data


def _sum(data: bytes | memoryview) -> str:
    return hashlib.sha256(data).hexdigest()


def _holds(path: Path, length: int, digest: str) -> bool:
    """Whether a file has this length and sum. It is read in pieces, so the training beside it is not held up."""
    try:
        with open_regular(path, follow=False) as file:
            return os.fstat(file.fileno()).st_size == length and hashlib.file_digest(file, "sha256").hexdigest() == digest
    except OSError:
        return False
