"""The tensors of a LoRA file by their names, from the changes of the layers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from loratui.engine import families
from loratui.engine.errors import NotFiniteError, UsageError
from loratui.engine.families.lora import LoraLayout, Original
from loratui.engine.formats import kohya, peft_names
from loratui.engine.formats.layers import Part
from loratui.engine.training.adapters.weight_delta import WeightDelta
from loratui.engine.training.lora_file.fuse import fuse
from loratui.presets.schema import Family

DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}

Changes = Mapping[tuple[Part, str], WeightDelta]
"""Part and module path -> the change of that layer."""


def file_tensors(family: Family, changes: Changes, layout: LoraLayout, dtype: torch.dtype) -> dict[str, Tensor]:
    """The tensors of a file, contiguous and without shared memory; alphas are fp32 scalars.

    Raises `UsageError` for a change that the layout cannot hold, and `NotFiniteError` if a value is not finite or too large for `dtype`.
    """
    named = _peft(family, changes) if layout == "peft" else _kohya(family, changes)
    tensors: dict[str, Tensor] = {}
    for name, value in named:
        if name.endswith(f".{kohya.ALPHA}"):
            tensors[name] = value
            continue
        stored = value.to(dtype).contiguous()
        if not is_finite(stored):
            raise _does_not_fit(name, value, dtype)
        tensors[name] = stored
    return tensors


def is_finite(value: Tensor) -> bool:
    """Whether all values are finite; in one pass, since a NaN or an infinity survives a sum."""
    return bool(torch.isfinite(value.sum(dtype=torch.float64)))


def _does_not_fit(name: str, value: Tensor, dtype: torch.dtype) -> NotFiniteError:
    remedy = "Lower the learning rate; the files saved before are good."
    if not is_finite(value):
        return NotFiniteError(f"The LoRA has values in {name} that are not finite.", remedy)
    form = next(short for short, one in DTYPES.items() if one == dtype)
    return NotFiniteError(
        f"The LoRA has values in {name} that do not fit into {form}.",
        f"Save it with output.precision bf16 or fp32, or train again: {remedy[0].lower()}{remedy[1:]}",
    )


def _kohya(family: Family, changes: Changes) -> Iterator[tuple[str, Tensor]]:
    """kohya's names, with alpha; LyCORIS' for LoHa and LoKr."""
    if any(change.dora for change in changes.values()):
        raise UsageError("A DoRA cannot be written in kohya's layout: the programs that read it compute DoRA in another way.",
                         "Choose the format peft.")  # fmt: skip
    fused: dict[str, tuple[Original, dict[str, WeightDelta]]] = {}
    for (part, path), change in changes.items():
        if change.form != "lora":
            yield from _lycoris(family, part, path, change)
        elif part == "denoiser":
            original = families.family(family).lora.original(path)
            fused.setdefault(original.stem, (original, {}))[1][path] = change
        else:
            yield from _pair(kohya.stem(family, part, path), change)
    for original, members in fused.values():
        yield from _pair(kohya.UNET + kohya.flat(original.stem), fuse(original, members))


def _pair(stem: str, change: WeightDelta) -> Iterator[tuple[str, Tensor]]:
    yield f"{stem}.{kohya.DOWN}", change.tensors["lora_A"]
    yield f"{stem}.{kohya.UP}", change.tensors["lora_B"]
    yield f"{stem}.{kohya.ALPHA}", _alpha(change.scale * change.rank)


def _lycoris(family: Family, part: Part, path: str, change: WeightDelta) -> Iterator[tuple[str, Tensor]]:
    stem = kohya.lycoris_stem(family, part, path)
    whole = {"lokr_w1", "lokr_w2"} <= change.tensors.keys()
    for name, value in change.tensors.items():
        # Readers take scale 1 where both factors are whole, whatever alpha is.
        yield f"{stem}.{name}", value * change.scale if whole and name == "lokr_w1" else value
    yield f"{stem}.{kohya.ALPHA}", _alpha(1.0 if whole else change.scale * change.rank)


def _peft(family: Family, changes: Changes) -> Iterator[tuple[str, Tensor]]:
    """PEFT's names. The scale is multiplied into B: without metadata, which only diffusers reads, every program assumes 1."""
    for (part, path), change in changes.items():
        if change.form != "lora":
            raise UsageError(f"A {change.form} needs LyCORIS' layout, not PEFT's.", "Choose the format kohya or auto.")
        stem = peft_names.stem(family, part, path)
        yield f"{stem}.{peft_names.DOWN}", change.tensors["lora_A"]
        yield f"{stem}.{peft_names.UP}", change.tensors["lora_B"] * change.scale
        if change.dora:
            # transformers finds it by PEFT's own name, diffusers by that of PEFT's files.
            end = peft_names.MAGNITUDE if part == "denoiser" else f"{peft_names.MAGNITUDE}.weight"
            yield f"{stem}.{end}", change.tensors["lora_magnitude_vector"]


def _alpha(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float32)
