"""Finds the parts of a base model in a table of tensors, by their keys, shapes and number formats alone."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from loratui.engine import families
from loratui.engine.families.network import Names, Network, Sizes
from loratui.engine.formats.safetensors_file import TensorInfo

Tensors = Mapping[str, TensorInfo]

DTYPES: Mapping[str, str] = {
    "F64": "fp64", "F32": "fp32", "F16": "fp16", "BF16": "bf16", "F8_E4M3": "fp8_e4m3", "F8_E5M2": "fp8_e5m2",
}  # fmt: skip
"""Number formats of weights that can be trained on, by their safetensors names."""

SCALE_SUFFIXES = (".scale_weight", ".weight_scale")
"""Ends of the keys that hold the scale of an fp8 weight (ComfyUI's older and newer convention)."""

_TOP_LEVELS = (
    "model.diffusion_model.", "model_ema.", "first_stage_model.", "cond_stage_model.", "conditioner.", "text_encoders.", "vae.",
)  # fmt: skip
"""Beginnings of keys that cannot belong to a part without a prefix."""


@dataclass(frozen=True)
class FoundPart:
    """One part inside a file."""

    network: Network
    prefix: str
    names: Names
    tensors: Tensors
    """By their keys without the prefix."""
    dtype: str
    """As `DTYPES` has it; the safetensors name of any other format."""
    fp8: Literal["", "plain", "scaled"]
    scale_suffix: str
    bytes: int
    sizes: Sizes


_OTHERS = ("model_ema.", "control_model.", "vision_model.")
"""Levels below which tensors have the same names as a part's, and are something else."""


_MOST_PARTS = 32
"""Looked at in one file; a checkpoint has four, and each costs a look at all tensors."""


def find_parts(tensors: Tensors) -> tuple[FoundPart, ...]:
    """Every part in the file, denoisers first."""
    return tuple(_describe(tensors, *place) for place in itertools.islice(_places(tensors), _MOST_PARTS))


def has_no_prefix(key: str) -> bool:
    """Whether a key can belong to a part without a prefix."""
    return not key.startswith(_TOP_LEVELS)


def _places(tensors: Tensors) -> Iterator[tuple[Network, str, Names]]:
    """Network, prefix and naming of each part; copies such as EMA weights are passed over."""
    seen: set[tuple[str, str]] = set()
    for network, (names, end) in [(one, sign) for one in families.networks() for sign in one.signs]:
        for key in tensors:
            if not key.endswith(end):
                continue
            prefix = key[: -len(end)]
            copy = (prefix and not prefix.endswith(".")) or any(other in prefix for other in _OTHERS)
            if copy or (network.name, prefix) in seen or not network.is_at(tensors, prefix):
                continue
            seen.add((network.name, prefix))
            yield network, prefix, names


def _describe(tensors: Tensors, network: Network, prefix: str, names: Names) -> FoundPart:
    if prefix:
        own = {key[len(prefix) :]: info for key, info in tensors.items() if key.startswith(prefix)}
    else:
        own = {key: info for key, info in tensors.items() if has_no_prefix(key)}
    stored: Counter[str] = Counter()
    for info in own.values():
        stored[info.dtype] += info.end - info.begin
    dtype = stored.most_common(1)[0][0]
    fp8, suffix = _eight_bits(tensors, own, stored)
    total = sum(stored.values())
    return FoundPart(network, prefix, names, own, DTYPES.get(dtype, dtype), fp8, suffix, total, network.sizes(own))


def _eight_bits(tensors: Tensors, own: Tensors, stored: Counter[str]) -> tuple[Literal["", "plain", "scaled"], str]:
    """Whether fp8 weights are plain or scaled, and where the scales stand."""
    if not any(dtype.startswith("F8_") for key, dtype in ((k, i.dtype) for k, i in own.items()) if key != "scaled_fp8"):
        return "", ""
    suffix = next((s for s in SCALE_SUFFIXES if any(key.endswith(s) for key in own)), "")
    if suffix:
        return "scaled", suffix
    marked = "scaled_fp8" in own or "scaled_fp8" in tensors
    return ("scaled", SCALE_SUFFIXES[0]) if marked and stored else ("plain", "")
