"""How large a LoRA will be, exactly: the base's layers by formula, those that the targets choose, parameters and bytes."""

from __future__ import annotations

import collections
import contextlib
import functools
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loratui.engine import families
from loratui.engine.families.network import Config
from loratui.engine.families.spec import Layer
from loratui.engine.formats import kohya, peft_names
from loratui.engine.formats.layers import Part
from loratui.engine.formats.metadata import usual_layout
from loratui.engine.planning.bases import base_path
from loratui.engine.planning.targets import denoiser_patterns, rank_and_alpha, text_layers_used, text_patterns
from loratui.engine.untrusted import read_json
from loratui.presets.schema import LYCORIS, Adapter, Base, Family, Settings, Targets


@dataclass(frozen=True)
class ClipShape:
    """A CLIP text encoder's size."""

    width: int
    mlp: int
    layers: int


@dataclass(frozen=True)
class LoraSize:
    """Size of a LoRA. `bytes` is the file without its metadata, which add about a kilobyte."""

    modules: int
    parameters: int
    bytes: int


def lora_size(
    family: Family,
    adapter: Adapter,
    *,
    precision: str = "fp16",
    config: Config | None = None,
    text_encoders: Mapping[Part, ClipShape] | None = None,
    clip_skip: int = 1,
) -> LoraSize:
    """Modules, parameters and file size of the adapter, in the names that are usual for the family.

    `config` is that of the base's denoiser, the family's usual one if it is None; `text_encoders` are those that are trained too.
    """
    chosen: list[tuple[Part, Layer]] = [("denoiser", layer) for layer in targeted(family, adapter.targets, config)]
    for part, clip in (text_encoders or {}).items():
        used = text_layers_used(family, part, clip.layers, clip_skip)
        patterns = text_patterns(adapter.targets, used)
        chosen += [(part, layer) for layer in clip_layers(clip) if _matches(layer, patterns)]
    tensors = [(stem_in_file(family, part, layer, adapter), tensor_shapes(layer, adapter)) for part, layer in chosen]
    parameters = sum(math.prod(shape) for _, shapes in tensors for shape in shapes.values())
    width = 4 if precision == "fp32" else 2
    alphas = sum(1 for stem, _ in tensors if _has_alpha(stem))
    return LoraSize(len(chosen), parameters, _header_bytes(tensors, width) + width * parameters + 4 * alphas)


def size_of(settings: Settings) -> LoraSize:
    """Size of a recipe's LoRA, by the shape of its base where that is on this machine."""
    trains_text = settings.training.train_text_encoder
    return _size_of(settings.base, settings.adapter, settings.output.precision, trains_text, base_path(settings.base.model))


@functools.lru_cache(maxsize=16)  # a plan is estimated anew at each key, and the layers of SDXL take 30 ms
def _size_of(base: Base, adapter: Adapter, precision: str, trains_text: bool, path: Path | None) -> LoraSize:
    return lora_size(
        base.family,
        adapter,
        precision=precision,
        config=denoiser_config(base.family, path),
        text_encoders=text_encoders_of(base.family, path) if trains_text else None,
        clip_skip=base.clip_skip,
    )


def targeted(family: Family, targets: Targets, config: Config | None = None) -> list[Layer]:
    """The layers of the denoiser that a target set chooses."""
    patterns = denoiser_patterns(family, targets)
    return [layer for layer in denoiser_layers(family, config) if _matches(layer, patterns)]


def denoiser_layers(family: Family, config: Config | None = None) -> Iterator[Layer]:
    """The denoiser's layers, by its configuration or else the family's usual one."""
    spec = families.family(family)
    yield from spec.layers(config or spec.config(spec.denoiser.name))


def tensor_shapes(layer: Layer, adapter: Adapter) -> dict[str, tuple[int, ...]]:
    """The trainable tensors of one layer's adapter, by name."""
    rank, _ = rank_and_alpha(adapter, layer.name)
    kernel = (layer.kernel, layer.kernel) if layer.kernel else ()
    inputs = layer.inputs * math.prod(kernel)
    if adapter.kind == "loha":
        pair = {"_a": (layer.outputs, rank), "_b": (rank, inputs)}
        return {f"hada_w{n}{end}": shape for n in (1, 2) for end, shape in pair.items()}
    if adapter.kind == "lokr":
        return _lokr_shapes(layer, adapter, rank)
    ones = (1,) * len(kernel)
    shapes: dict[str, tuple[int, ...]] = {"lora_A": (rank, layer.inputs, *kernel), "lora_B": (layer.outputs, rank, *ones)}
    if adapter.dora:
        shapes["lora_magnitude_vector"] = (1, layer.outputs, 1, 1) if kernel else (layer.outputs,)
    return shapes


def _lokr_shapes(layer: Layer, adapter: Adapter, rank: int) -> dict[str, tuple[int, ...]]:
    """w1 (a, b) and w2 (c, d), where outputs = a·c and inputs = b·d, each whole unless the rank makes two smaller ones of it."""
    (a, c), (b, d) = factors(layer.outputs, adapter.factor), factors(layer.inputs, adapter.factor)
    kernel = (layer.kernel, layer.kernel) if layer.kernel else ()
    shapes: dict[str, tuple[int, ...]] = {}
    if adapter.decompose_both and rank < max(a, b) / 2:
        shapes |= {"lokr_w1_a": (a, rank), "lokr_w1_b": (rank, b)}
    else:
        shapes["lokr_w1"] = (a, b)
    if rank < max(c, d) / 2:
        shapes |= {"lokr_w2_a": (c, rank), "lokr_w2_b": (rank, d * math.prod(kernel))}
    else:
        shapes["lokr_w2"] = (c, d, *kernel)
    return shapes


def factors(size: int, wanted: int) -> tuple[int, int]:
    """Two factors of `size`, the smaller one first: `wanted` where it divides `size`, else the largest that is not larger;
    for −1 the pair that is nearest to a square."""
    if wanted > 0 and size % wanted == 0:
        return wanted, size // wanted
    limit = size if wanted == -1 else wanted
    small = max((n for n in range(1, math.isqrt(size) + 1) if size % n == 0 and n <= max(1, limit)), default=1)
    return small, size // small


def stem_in_file(family: Family, part: Part, layer: Layer, adapter: Adapter) -> str:
    """The beginning of a layer's names in a file of the usual layout (see `formats.metadata.usual_layout`)."""
    if usual_layout(family, adapter) == "peft":
        return peft_names.stem(family, part, layer.name)
    return (kohya.lycoris_stem if adapter.kind in LYCORIS else kohya.stem)(family, part, layer.name)


def clip_layers(shape: ClipShape) -> Iterator[Layer]:
    """Attention and MLP of a CLIP text encoder, which is what sd-scripts trains of it."""
    width, mlp = shape.width, shape.mlp
    for at in range(shape.layers):
        name = f"encoder.layers.{at}"
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            yield Layer(f"{name}.self_attn.{part}", width, width)
        yield from (Layer(f"{name}.mlp.fc1", width, mlp), Layer(f"{name}.mlp.fc2", mlp, width))


def denoiser_config(family: Family, base: Path | None) -> Config | None:
    """The denoiser's configuration in a diffusers folder; None where there is none from which its layers are told."""
    if base is None:
        return None
    spec = families.family(family)
    try:
        config: Config = read_json(base / spec.denoiser.name / "config.json")
        collections.deque(spec.layers(config), maxlen=0)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return config


def text_encoders_of(family: Family, base: Path | None) -> dict[Part, ClipShape]:
    """The sizes of the text encoders that a LoRA may train: of a diffusers folder where it tells them, else the family's."""
    spec = families.family(family)
    shapes: dict[Part, ClipShape] = {}
    for encoder in spec.trainable_text:
        shapes[encoder.name] = _clip_shape(spec.config(encoder.name))
        if base is not None:
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                shapes[encoder.name] = _clip_shape(read_json(base / encoder.name / "config.json"))
    return shapes


_WIDEST = 65_536


def _clip_shape(config: Config) -> ClipShape:
    """Raises `ValueError`, `KeyError` or `TypeError` for no sizes that a model has: layers would be counted without end."""
    width, mlp, layers = config["hidden_size"], config["intermediate_size"], config["num_hidden_layers"]
    if not all(type(n) is int and 0 <= n <= most for n, most in ((width, _WIDEST), (mlp, _WIDEST), (layers, 512))):
        raise ValueError("no size that a model has")
    return ClipShape(width, mlp, layers)


def _matches(layer: Layer, patterns: tuple[str, ...]) -> bool:
    return any(re.fullmatch(pattern, layer.name) for pattern in patterns)


def _has_alpha(stem: str) -> bool:
    """PEFT's names, which have dots, know no alpha."""
    return "." not in stem


def _header_bytes(tensors: Sequence[tuple[str, Mapping[str, tuple[int, ...]]]], width: int) -> int:
    """Length of the safetensors header with its 8 bytes of length, padded to 8 as the format asks."""
    ends = {"lora_A": (kohya.DOWN, peft_names.DOWN), "lora_B": (kohya.UP, peft_names.UP)}
    table: dict[str, Any] = {}
    at = 0
    for stem, shapes in tensors:
        named = {ends.get(name, (name, name))[not _has_alpha(stem)]: shape for name, shape in shapes.items()}
        for name, shape in ({**named, kohya.ALPHA: ()} if _has_alpha(stem) else named).items():
            end = at + (4 if name == kohya.ALPHA else width) * math.prod(shape)
            table[f"{stem}.{name}"] = {"dtype": "F16", "shape": list(shape), "data_offsets": [at, end]}
            at = end
    text = json.dumps(table, separators=(",", ":"))
    return 8 + math.ceil(len(text) / 8) * 8
