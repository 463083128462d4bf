"""Writes a LoRA file, opens it again, and checks that it holds what was trained."""

from __future__ import annotations

import errno
import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from loratui.engine.disk_errors import patiently
from loratui.engine.durable import write_file
from loratui.engine.errors import DiskError, UsageError
from loratui.engine.formats.layers import Part
from loratui.engine.formats.metadata import LoraFacts, build_metadata
from loratui.engine.formats.safetensors_file import MOST_LORA_BYTES, read_checked, read_header
from loratui.engine.runs.lora_hashes import hashes_of
from loratui.engine.training.lora_file.layouts import DTYPES, Changes, file_tensors, is_finite
from loratui.engine.training.lora_file.read import changes_in
from loratui.engine.untrusted import read_whole

TOLERANCE = {"fp32": 1e-5, "fp16": 1e-2, "bf16": 3e-2}
"""Relative difference that a number format may make to the norm of one part's change."""


@dataclass(frozen=True)
class Written:
    """A LoRA file that was written and read back."""

    bytes: int
    norms: Mapping[Part, float]
    """Norm of the change of each part, read back from the file."""
    hashes: Mapping[str, str]
    """See `runs.lora_hashes`."""

    @property
    def has_effect(self) -> bool:
        """Whether it changes anything."""
        return any(self.norms.values())


def write_lora_file(path: Path, changes: Changes, facts: LoraFacts, precision: str) -> Written:
    """Writes the changes of an adapter atomically, reads them back, and returns their strength.

    Raises `DiskError`, also if the disk returns other data than was written; `NotFiniteError` if a value is not finite
    or does not fit into `precision`; `UsageError` for a form that the layout cannot hold.
    """
    family = facts.settings.base.family
    tensors = file_tensors(family, changes, facts.layout, DTYPES[precision])
    data = save(tensors, metadata_of(tensors, facts))
    patiently(path, partial(_write, path, data), len(data))
    return Written(len(data), check(path, changes, facts, precision), hashes_of(read_header(path), data))


def _write(path: Path, data: bytes) -> None:
    write_file(path, data)
    if _written(path, len(data)) != data:
        message = f"{path}: the disk returned other data than was written."
        raise DiskError(message, "Check the volume; the checkpoint is good.", number=errno.EIO)


def _written(path: Path, most: int) -> bytes:
    try:
        return read_whole(path, most)
    except OSError:
        return b""


def metadata_of(tensors: Mapping[str, Tensor], facts: LoraFacts) -> dict[str, str]:
    """All metadata of a file, with the hashes by which other programs recognise a LoRA whatever its metadata."""
    table = build_metadata(facts)
    trained = {key: value for key, value in table.items() if key.startswith("ss_")}
    plain = save(dict(tensors), trained)
    model = hashlib.sha256(plain[8 + int.from_bytes(plain[:8], "little") :]).hexdigest()
    legacy = hashlib.sha256(plain[0x100000:0x110000]).hexdigest()[:8]
    return {**table, "sshs_model_hash": model, "sshs_legacy_hash": legacy, "modelspec.hash_sha256": f"0x{model}"}


def check(path: Path, changes: Changes, facts: LoraFacts, precision: str) -> dict[Part, float]:
    """The norm of each part's change, read back from a new file. Raises `DiskError` if it does not hold `changes`."""
    try:
        tensors = load(read_checked(path, MOST_LORA_BYTES)[1])
        found = changes_in(tensors, {}, facts.settings.base.family, changes)
    except (SafetensorError, UsageError) as error:
        raise _differs(path, "it cannot be opened again") from error
    trained = {key: change.norm() for key, change in changes.items()}
    silent = {key for key, norm in trained.items() if norm == 0.0}
    if found.others or changes.keys() - found.changes.keys() - silent:
        raise _differs(path, f"it holds other layers: {(*found.others, *(changes.keys() - found.changes.keys()))[0]}")
    if not all(is_finite(value) for value in tensors.values()):
        raise _differs(path, "it has values that are not finite")
    wanted, norms = _by_part(trained), _by_part({key: change.norm() for key, change in found.changes.items()})
    for part, norm in wanted.items():
        if not math.isclose(norm, norms.get(part, 0.0), rel_tol=TOLERANCE[precision], abs_tol=1e-6):
            raise _differs(path, f"its {part} is {norms.get(part, 0.0):g} strong, and {norm:g} was trained")
    return {part: norms.get(part, 0.0) for part in wanted}


def _by_part(norms: Mapping[tuple[Part, str], float]) -> dict[Part, float]:
    """The norm of the change of each part: root of the summed squares over its layers."""
    squares: dict[Part, float] = {}
    for (part, _), norm in norms.items():
        squares[part] = squares.get(part, 0.0) + norm**2
    return {part: math.sqrt(value) for part, value in squares.items()}


def _differs(path: Path, what: str) -> DiskError:
    return DiskError(f"{path}: the LoRA file is not what was trained: {what}.", "Check the volume; the checkpoint is good.")
