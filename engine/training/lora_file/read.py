"""A LoRA file of any maker, read as the changes of the layers that are asked for."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from loratui.engine.errors import UsageError
from loratui.engine.formats.layers import Part
from loratui.engine.formats.lora_keys import Place, sort_keys
from loratui.engine.formats.safetensors_file import read_header
from loratui.engine.training.adapters.change import TENSORS, LayerChange
from loratui.engine.training.lora_file.fuse import unfuse
from loratui.presets.schema import Family

ADAPTER_METADATA = "lora_adapter_metadata"
"""Where diffusers keeps alpha and its like, as JSON."""


@dataclass(frozen=True)
class FoundLora:
    """What of a file belongs to the layers asked for."""

    changes: Mapping[tuple[Part, str], LayerChange]
    others: tuple[str, ...]
    """Names of tensors that belong to other layers, or are nothing that is known here."""


def read_lora(path: Path, family: Family, layers: Iterable[tuple[Part, str]]) -> FoundLora:
    """The changes that a LoRA file makes to `layers`, in fp32.

    Raises `UsageError` if the file is damaged, or is not a safetensors file.
    """
    header = read_header(path)
    try:
        tensors = load(path.read_bytes())
    except (OSError, SafetensorError, ValueError) as error:
        raise UsageError(f"{path}: the LoRA file cannot be read.") from error
    return changes_in(tensors, header.metadata, family, layers)


def changes_in(
    tensors: Mapping[str, Tensor], metadata: Mapping[str, str], family: Family, layers: Iterable[tuple[Part, str]]
) -> FoundLora:
    """As `read_lora`, from a file's tensors and metadata.

    The scale is alpha / rank; without an alpha it is what diffusers' own metadata say, and else 1.
    """
    wanted = set(layers)
    sorted_keys = sort_keys(tensors, family, wanted)
    scales = _diffusers_scales(metadata)
    changes: dict[tuple[Part, str], LayerChange] = {}
    others = list(sorted_keys.others)
    for place, names in sorted_keys.layers.items():
        change = _change(place, {what: tensors[name] for what, name in names.items()}, scales)
        try:
            parts = {} if change is None else {place.path: change} if place.fused is None else unfuse(place.fused, change)
        except (KeyError, ValueError):  # a LoHa or LoKr of a fused layer cannot be taken apart
            parts = {}
        kept = {(place.part, path): one for path, one in parts.items() if (place.part, path) in wanted}
        changes |= kept
        if not kept:
            others += names.values()
    return FoundLora(changes, tuple(others))


def _change(place: Place, given: Mapping[str, Tensor], scales: Callable[[Place], float | None]) -> LayerChange | None:
    """The change that a layer's tensors make; None if some of them are missing."""
    values = {what: value.float() for what, value in given.items() if what != "alpha"}
    names = set(values)
    complete = (
        {"lora_A", "lora_B"} <= names
        or set(TENSORS["loha"]) <= names
        or all({f"lokr_w{n}"} <= names or {f"lokr_w{n}_a", f"lokr_w{n}_b"} <= names for n in (1, 2))
    )
    if not complete:
        return None
    change = LayerChange(values, 1.0)
    if change.form == "lora":
        values = {name: values[name] for name in TENSORS["lora"] if name in values}
    if change.form == "lokr" and {"lokr_w1", "lokr_w2"} <= names:
        return LayerChange(values, 1.0)  # as LyCORIS and ComfyUI read it, whatever alpha says
    if "alpha" in given:
        scale: float | None = float(given["alpha"].reshape(-1)[0]) / change.rank
    else:
        scale = scales(place)
    return LayerChange(values, 1.0 if scale is None else scale)


def _diffusers_scales(metadata: Mapping[str, str]) -> Callable[[Place], float | None]:
    """Looks up the scale of a layer in the metadata that diffusers writes; None where they say nothing."""
    try:
        table: Any = json.loads(metadata.get(ADAPTER_METADATA, "{}"))
    except ValueError:
        table = {}

    def scale(place: Place) -> float | None:
        prefixes = ("transformer", "unet") if place.part == "denoiser" else (place.part,)
        for prefix in prefixes:
            try:
                rank = _for(place.path, table.get(f"{prefix}.rank_pattern"), table[f"{prefix}.r"])
                alpha = _for(place.path, table.get(f"{prefix}.alpha_pattern"), table[f"{prefix}.lora_alpha"])
                return float(alpha) / (math.sqrt(rank) if table.get(f"{prefix}.use_rslora") else float(rank))
            except (KeyError, TypeError, ValueError, AttributeError, ZeroDivisionError):
                continue
        return None

    return scale


def _for(path: str, pattern: Any, default: Any) -> Any:
    """A value for one module: PEFT's patterns are regular expressions over the end of its path."""
    for key, value in (pattern or {}).items():
        if path == key or path.endswith(f".{key}") or re.fullmatch(rf"(.*\.)?({key.lstrip('^')})", path):
            return value
    return default
