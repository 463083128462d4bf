"""How large a LoRA will be, exactly: the base's layers by formula, those that the targets choose, parameters and bytes."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loratui.engine.formats import kohya, peft_names
from loratui.engine.formats.layers import Part
from loratui.engine.planning.targets import denoiser_patterns, rank_and_alpha, text_layers_used, text_patterns
from loratui.engine.untrusted import read_json
from loratui.presets.schema import Adapter, Family, Targets


@dataclass(frozen=True)
class Layer:
    """A Linear (kernel 0) or a convolution of kernel × kernel, by its diffusers name."""

    name: str
    inputs: int
    outputs: int
    kernel: int = 0


@dataclass(frozen=True)
class UNetShape:
    """What of a UNet2DConditionModel's configuration decides its layers' sizes."""

    channels: tuple[int, ...]
    layers: int
    down_depths: tuple[int, ...]
    """Transformer blocks per attention of each down block; 0: no attention."""
    up_depths: tuple[int, ...]
    mid_depth: int
    cross_dimension: int
    linear_projection: bool = False
    added_dimension: int = 0
    """Input of SDXL's `add_embedding`; 0: none."""


SD15 = UNetShape((320, 640, 1280, 1280), 2, (1, 1, 1, 0), (0, 1, 1, 1), 1, 768)
SDXL = UNetShape((320, 640, 1280), 2, (0, 2, 10), (10, 2, 0), 10, 2048, linear_projection=True, added_dimension=2816)

FLUX_WIDTH, FLUX_DOUBLE, FLUX_SINGLE = 3072, 19, 38


@dataclass(frozen=True)
class ClipShape:
    """A CLIP text encoder's size."""

    width: int
    mlp: int
    layers: int


CLIP_L, CLIP_G = ClipShape(768, 3072, 12), ClipShape(1280, 5120, 32)

TEXT_ENCODERS: Mapping[Family, Mapping[Part, ClipShape]] = {
    "sd15": {"text_encoder": CLIP_L},
    "sdxl": {"text_encoder": CLIP_L, "text_encoder_2": CLIP_G},
    "flux": {"text_encoder": CLIP_L},
}
"""The text encoders that a LoRA may train."""


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
    shape: UNetShape | None = None,
    text_encoders: Mapping[Part, ClipShape] | None = None,
    clip_skip: int = 1,
) -> LoraSize:
    """Modules, parameters and file size of the adapter, in the names that are usual for the family.

    `shape` is the base's own where it differs from the family's; `text_encoders` are those that are trained too.
    """
    chosen: list[tuple[Part, Layer]] = [("denoiser", layer) for layer in targeted(family, adapter.targets, shape)]
    for part, clip in (text_encoders or {}).items():
        used = text_layers_used(family, part, clip.layers, clip_skip)
        patterns = text_patterns(adapter.targets, used)
        chosen += [(part, layer) for layer in clip_layers(clip) if _matches(layer, patterns)]
    tensors = [(stem_in_file(family, part, layer, adapter), tensor_shapes(layer, adapter)) for part, layer in chosen]
    parameters = sum(math.prod(shape) for _, shapes in tensors for shape in shapes.values())
    width = 4 if precision == "fp32" else 2
    alphas = sum(1 for stem, _ in tensors if _has_alpha(stem))
    return LoraSize(len(chosen), parameters, _header_bytes(tensors, width) + width * parameters + 4 * alphas)


def targeted(family: Family, targets: Targets, shape: UNetShape | None = None) -> list[Layer]:
    """The layers of the denoiser that a target set chooses."""
    layers = flux_layers() if family == "flux" else unet_layers(shape or (SDXL if family == "sdxl" else SD15))
    patterns = denoiser_patterns(family, targets)
    return [layer for layer in layers if _matches(layer, patterns)]


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
    """The beginning of a layer's names in a file of the usual layout (see `formats.metadata.default_layout`)."""
    if adapter.dora or (family == "flux" and adapter.kind in ("lora", "locon")):
        return peft_names.stem(family, part, layer.name)
    if family == "flux" and part == "denoiser":
        return f"lycoris_{layer.name.replace('.', '_')}"
    return kohya.stem(family, part, layer.name)


def unet_layers(shape: UNetShape) -> Iterator[Layer]:
    """Every Linear and convolution of a UNet2DConditionModel but `conv_in` and `conv_out`, in no special order."""
    channels, time = shape.channels, 4 * shape.channels[0]
    yield Layer("time_embedding.linear_1", channels[0], time)
    yield Layer("time_embedding.linear_2", time, time)
    if shape.added_dimension:
        yield Layer("add_embedding.linear_1", shape.added_dimension, time)
        yield Layer("add_embedding.linear_2", time, time)

    last = len(channels) - 1
    for at, (out, depth) in enumerate(zip(channels, shape.down_depths, strict=True)):
        before = channels[max(0, at - 1)]
        name = f"down_blocks.{at}"
        for layer in range(shape.layers):
            yield from _resnet(f"{name}.resnets.{layer}", before if layer == 0 else out, out, time)
            yield from _transformer(f"{name}.attentions.{layer}", out, depth, shape)
        if at < last:
            yield Layer(f"{name}.downsamplers.0.conv", out, out, 3)

    for layer in range(2):
        yield from _resnet(f"mid_block.resnets.{layer}", channels[-1], channels[-1], time)
    yield from _transformer("mid_block.attentions.0", channels[-1], shape.mid_depth, shape)

    turned = channels[::-1]
    for at, (out, depth) in enumerate(zip(turned, shape.up_depths, strict=True)):
        before, skipped = turned[max(0, at - 1)], turned[min(at + 1, last)]
        name = f"up_blocks.{at}"
        for layer in range(shape.layers + 1):
            skip = skipped if layer == shape.layers else out
            yield from _resnet(f"{name}.resnets.{layer}", (before if layer == 0 else out) + skip, out, time)
            yield from _transformer(f"{name}.attentions.{layer}", out, depth, shape)
        if at < last:
            yield Layer(f"{name}.upsamplers.0.conv", out, out, 3)


def flux_layers() -> Iterator[Layer]:
    """Every Linear of FLUX.1's transformer."""
    width, mlp = FLUX_WIDTH, 4 * FLUX_WIDTH
    for at in range(FLUX_DOUBLE):
        name = f"transformer_blocks.{at}"
        for part in ("to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out"):
            yield Layer(f"{name}.attn.{part}", width, width)
        for part in ("ff", "ff_context"):
            yield Layer(f"{name}.{part}.net.0.proj", width, mlp)
            yield Layer(f"{name}.{part}.net.2", mlp, width)
        for part in ("norm1", "norm1_context"):
            yield Layer(f"{name}.{part}.linear", width, 6 * width)
    for at in range(FLUX_SINGLE):
        name = f"single_transformer_blocks.{at}"
        for part in ("to_q", "to_k", "to_v"):
            yield Layer(f"{name}.attn.{part}", width, width)
        yield Layer(f"{name}.proj_mlp", width, mlp)
        yield Layer(f"{name}.proj_out", width + mlp, width)
        yield Layer(f"{name}.norm.linear", width, 3 * width)
    yield from (Layer("x_embedder", 64, width), Layer("context_embedder", 4096, width))
    for part, inputs in (("timestep", 256), ("guidance", 256), ("text", 768)):
        yield Layer(f"time_text_embed.{part}_embedder.linear_1", inputs, width)
        yield Layer(f"time_text_embed.{part}_embedder.linear_2", width, width)
    yield from (Layer("norm_out.linear", width, 2 * width), Layer("proj_out", width, 64))


def clip_layers(shape: ClipShape) -> Iterator[Layer]:
    """Attention and MLP of a CLIP text encoder, which is what sd-scripts trains of it."""
    width, mlp = shape.width, shape.mlp
    for at in range(shape.layers):
        name = f"encoder.layers.{at}"
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            yield Layer(f"{name}.self_attn.{part}", width, width)
        yield from (Layer(f"{name}.mlp.fc1", width, mlp), Layer(f"{name}.mlp.fc2", mlp, width))


def shape_of(base: Path) -> UNetShape | None:
    """The UNet's shape in a diffusers folder; None where there is none to read."""
    try:
        config = read_json(base / "unet" / "config.json")
        return _shape(config)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def text_encoders_of(family: Family, base: Path | None) -> dict[Part, ClipShape]:
    """The sizes of the text encoders that a LoRA may train: of a diffusers folder where it tells them, else the family's."""
    shapes: dict[Part, ClipShape] = {}
    for part, usual in TEXT_ENCODERS[family].items():
        try:
            config = read_json((base or Path()) / part / "config.json")
            sizes = (config["hidden_size"], config["intermediate_size"], config["num_hidden_layers"])
            shapes[part] = ClipShape(*(_count(n, most) for n, most in zip(sizes, (_WIDEST, _WIDEST, 512), strict=True)))
        except (OSError, ValueError, KeyError, TypeError):
            shapes[part] = usual
    return shapes


_MOST_BLOCKS = 16
_WIDEST = 65_536


def _count(value: object, most: int = _WIDEST) -> int:
    """A size out of a configuration: of a larger one, layers would be counted without end. Raises `ValueError` for what is none."""
    if type(value) is not int or not 0 <= value <= most:
        raise ValueError("no size that a model has")
    return value


def _shape(config: Mapping[str, Any]) -> UNetShape:
    channels = tuple(_count(n) for n in config["block_out_channels"][:_MOST_BLOCKS])
    depth = config.get("transformer_layers_per_block", 1)
    depths = tuple(_count(n, 64) for n in (depth if isinstance(depth, list) else [depth] * len(channels)))
    down = tuple(d if "CrossAttn" in kind else 0 for d, kind in zip(depths, config["down_block_types"], strict=True))
    up = tuple(d if "CrossAttn" in kind else 0 for d, kind in zip(depths[::-1], config["up_block_types"], strict=True))
    has_mid = "CrossAttn" in (config.get("mid_block_type") or "")
    return UNetShape(
        channels=channels,
        layers=_count(config["layers_per_block"], 16),
        down_depths=down,
        up_depths=up,
        mid_depth=depths[-1] if has_mid else 0,
        cross_dimension=_count(config["cross_attention_dim"]),
        linear_projection=bool(config.get("use_linear_projection", False)),
        added_dimension=_count(config.get("projection_class_embeddings_input_dim") or 0),
    )


def _resnet(name: str, inputs: int, outputs: int, time: int) -> Iterator[Layer]:
    yield Layer(f"{name}.conv1", inputs, outputs, 3)
    yield Layer(f"{name}.time_emb_proj", time, outputs)
    yield Layer(f"{name}.conv2", outputs, outputs, 3)
    if inputs != outputs:
        yield Layer(f"{name}.conv_shortcut", inputs, outputs, 1)


def _transformer(name: str, width: int, depth: int, shape: UNetShape) -> Iterator[Layer]:
    if depth == 0:
        return
    kernel = 0 if shape.linear_projection else 1
    yield Layer(f"{name}.proj_in", width, width, kernel)
    for at in range(depth):
        block = f"{name}.transformer_blocks.{at}"
        for attention, keys in (("attn1", width), ("attn2", shape.cross_dimension)):
            yield Layer(f"{block}.{attention}.to_q", width, width)
            yield Layer(f"{block}.{attention}.to_k", keys, width)
            yield Layer(f"{block}.{attention}.to_v", keys, width)
            yield Layer(f"{block}.{attention}.to_out.0", width, width)
        yield Layer(f"{block}.ff.net.0.proj", width, 8 * width)  # GEGLU: value and gate, 4 × width each
        yield Layer(f"{block}.ff.net.2", 4 * width, width)
    yield Layer(f"{name}.proj_out", width, width, kernel)


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
