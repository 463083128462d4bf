"""A LoRA file from any program, read as the changes of the wanted layers."""

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

from loratui.engine import families
from loratui.engine.errors import UsageError
from loratui.engine.formats.layers import Part
from loratui.engine.formats.lora_keys import UNREAD, Place, sort_keys
from loratui.engine.formats.peft_names import PEFT_CONFIG, PEFT_FILE
from loratui.engine.formats.safetensors_file import MOST_LORA_BYTES, read_checked
from loratui.engine.limits import SMALL_FILE_BYTES
from loratui.engine.training.adapters.weight_delta import TENSORS, WeightDelta
from loratui.engine.training.lora_file.fuse import unfuse
from loratui.engine.untrusted import Unreadable, finite, parse_json, read_json
from loratui.presets.schema import Family

ADAPTER_METADATA = "lora_adapter_metadata"
"""Key of the metadata in which diffusers keeps alpha and the like, as JSON."""


@dataclass(frozen=True)
class FoundLora:
    """The content of a file for the wanted layers."""

    changes: Mapping[tuple[Part, str], WeightDelta]
    others: tuple[str, ...]
    """Names of tensors of other layers, or of an unknown kind."""
    unread: Mapping[tuple[Part, str], tuple[str, ...]]
    """Wanted layers with tensors that make no known kind of change -> the names of these tensors."""


def read_lora(path: Path, family: Family, layers: Iterable[tuple[Part, str]]) -> FoundLora:
    """The changes that a LoRA file makes to `layers`, in fp32. Raises `UsageError` if it is not a sound safetensors file."""
    header, data = read_checked(path, MOST_LORA_BYTES)
    try:
        tensors = load(data)
    except (SafetensorError, ValueError) as error:
        raise UsageError(f"{path}: the LoRA file cannot be read: {error}") from error
    return changes_in(tensors, header.metadata or _beside(path), family, layers)


def _beside(path: Path) -> dict[str, str]:
    """The alphas in the separate file of PEFT, where the LoRA's file is PEFT's, in the form of diffusers' metadata."""
    if not path.name.startswith(PEFT_FILE):
        return {}
    try:
        table = read_json(path.with_name(PEFT_CONFIG))
    except Unreadable:
        return {}
    if not isinstance(table, dict):
        return {}
    kept = {name: table[name] for name in ("r", "lora_alpha", "rank_pattern", "alpha_pattern", "use_rslora") if name in table}
    parts = families.weight_parts()
    return {ADAPTER_METADATA: json.dumps({f"{part}.{name}": value for part in parts for name, value in kept.items()})}


def changes_in(
    tensors: Mapping[str, Tensor], metadata: Mapping[str, str], family: Family, layers: Iterable[tuple[Part, str]]
) -> FoundLora:
    """As `read_lora`, from tensors and metadata. The scale is alpha / rank, else that of diffusers' metadata, else 1."""
    wanted = set(layers)
    sorted_keys = sort_keys(tensors, family, wanted)
    scales = _diffusers_scales(metadata, family)
    changes: dict[tuple[Part, str], WeightDelta] = {}
    others = list(sorted_keys.others)
    unread: dict[tuple[Part, str], tuple[str, ...]] = {}
    for place, names in sorted_keys.layers.items():
        change = _change(place, {what: tensors[name] for what, name in names.items()}, scales)
        try:
            parts = None if change is None else {place.path: change} if place.fused is None else unfuse(place.fused, change)
        except (KeyError, ValueError):  # a LoHa or LoKr of a fused layer cannot be taken apart
            parts = None
        if parts is None:
            members = [place.path] if place.fused is None else place.fused.members
            unread |= {(place.part, path): tuple(names.values()) for path in members if (place.part, path) in wanted}
        meant = {(place.part, path): one for path, one in (parts or {}).items() if (place.part, path) in wanted}
        kept = {layer: one for layer, one in meant.items() if layer not in changes}
        changes |= kept
        if not kept or len(kept) < len(meant):  # a layer with two names in a file is taken once, and reported
            others += names.values()
    return FoundLora(changes, tuple(others), {layer: names for layer, names in unread.items() if layer not in changes})


def _change(place: Place, given: Mapping[str, Tensor], scales: Callable[[Place], float | None]) -> WeightDelta | None:
    """The change that a layer's tensors make; None if some are missing, do not fit together, or are of an unknown kind."""
    values = {what: value.float() for what, value in given.items() if what != "alpha"}
    if UNREAD & values.keys() or not _go_together(values):
        return None
    change = WeightDelta(values, 1.0)
    if change.form == "lora":
        values = {name: values[name] for name in TENSORS["lora"] if name in values}
    if change.form == "lokr" and {"lokr_w1", "lokr_w2"} <= values.keys():
        return WeightDelta(values, 1.0)  # as LyCORIS and ComfyUI read it, whatever alpha says
    if "alpha" not in given:
        try:
            scale = scales(place)
        except ValueError:
            return None
        return WeightDelta(values, 1.0 if scale is None else scale)
    if not given["alpha"].numel():
        return None
    return WeightDelta(values, float(given["alpha"].reshape(-1)[0]) / change.rank)


def _go_together(values: Mapping[str, Tensor]) -> bool:
    """Whether all tensors of one form exist and can be multiplied."""
    names = values.keys()
    if {"lora_A", "lora_B"} <= names:
        return _is_product(values["lora_B"], values["lora_A"])
    if set(TENSORS["loha"]) <= names:
        first, second = ((values[f"hada_w{n}_a"], values[f"hada_w{n}_b"]) for n in (1, 2))
        ends = [(up.shape[:1], down.shape[1:]) for up, down in (first, second)]
        return _is_product(*first) and _is_product(*second) and ends[0] == ends[1]
    return all(
        values[f"lokr_w{n}"].dim() >= 2
        if f"lokr_w{n}" in names
        else {f"lokr_w{n}_a", f"lokr_w{n}_b"} <= names and _is_product(values[f"lokr_w{n}_a"], values[f"lokr_w{n}_b"])
        for n in (1, 2)
    )


def _is_product(up: Tensor, down: Tensor) -> bool:
    """Whether up (out, rank, …) and down (rank, in, …) have the same rank, and at least 1."""
    return min(up.dim(), down.dim()) >= 2 and up.shape[1] == down.shape[0] > 0


def _diffusers_scales(metadata: Mapping[str, str], family: Family) -> Callable[[Place], float | None]:
    """Looks up the scale of a layer in diffusers' metadata; None where they have none. It raises `ValueError` where they cannot
    be understood: with a wrong scale it would be another LoRA."""
    try:
        table: Any = parse_json(metadata.get(ADAPTER_METADATA, "{}"), most=SMALL_FILE_BYTES)
    except Unreadable:
        table = {}
    denoiser = families.family(family).denoiser.name

    def scale(place: Place) -> float | None:
        # diffusers' name of the component, which can differ from the prefix of its tensors.
        prefix = denoiser if place.part == "denoiser" else place.part
        if not isinstance(table, dict) or f"{prefix}.r" not in table or f"{prefix}.lora_alpha" not in table:
            return None
        rank = finite(_for(place.path, table.get(f"{prefix}.rank_pattern"), table[f"{prefix}.r"]))
        alpha = finite(_for(place.path, table.get(f"{prefix}.alpha_pattern"), table[f"{prefix}.lora_alpha"]))
        if rank is None or alpha is None or rank <= 0:
            raise ValueError(f"no rank and alpha for {place.path}")
        return alpha / (math.sqrt(rank) if table.get(f"{prefix}.use_rslora") else rank)

    return scale


_PLAIN = re.compile(r"\^?(?:[\w-]|\\?\.)+\$?")
"""A path, perhaps with a regular expression's marks for its ends and dots."""


def _for(path: str, pattern: object, default: object) -> object:
    """A value for one module. PEFT's patterns are regular expressions for the end of its path. Raises `ValueError` for one
    that is more than a path, since a file could contain one that runs forever."""
    for key, value in pattern.items() if isinstance(pattern, dict) else ():
        if not _PLAIN.fullmatch(key):
            raise ValueError(f"the pattern {key[:60]!r} is more than a path")
        wanted = key.removeprefix("^").removesuffix("$").replace("\\.", ".")
        if path == wanted or (path.endswith(f".{wanted}") and not key.startswith("^")):
            return value
    return default
