"""How large a LoRA will be, exactly: the base's layers by formula, those that the targets choose, parameters and bytes."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loratui.engine.formats.kohya import KohyaNames, text_encoder_names, unet_names
from loratui.presets.schema import Adapter, Family


@dataclass(frozen=True)
class Layer:
    """A Linear (kernel 0) or a convolution of kernel × kernel, by its diffusers name."""

    name: str
    inputs: int
    outputs: int
    kernel: int = 0

    def parameters(self, rank: int) -> int:
        """Of a LoRA pair: A is rank × inputs (× kernel²), B is outputs × rank."""
        return rank * (self.inputs * max(1, self.kernel) ** 2 + self.outputs)


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
CLIP_L = (768, 3072, 12)
CLIP_G = (1280, 5120, 32)
"""Width, MLP width and layers of the text encoders."""

TEXT_ENCODERS: Mapping[Family, tuple[tuple[str, tuple[int, int, int]], ...]] = {
    "sd15": (("lora_te_", CLIP_L),),
    "sdxl": (("lora_te1_", CLIP_L), ("lora_te2_", CLIP_G)),
    "flux": (("lora_te1_", CLIP_L),),
}

_ATTENTION = r"attn[12]?\.(to_[qkv]|to_out\.0|add_[qkv]_proj|to_add_out)"
_FEED_FORWARD = r"ff(_context)?\.net\.(0\.proj|2)|single_transformer_blocks\.\d+\.proj_(mlp|out)"
_TRANSFORMER_ENDS = r"attentions\.\d+\.proj_(in|out)"
_FLUX_MODULATION = r"(single_)?transformer_blocks\.\d+\.norm(1|1_context)?\.linear"
_CONVOLUTIONS = r"resnets\.\d+\.(conv1|conv2|conv_shortcut|time_emb_proj)|(down|up)samplers\.0\.conv"

_PATTERNS = {
    "attention": (_ATTENTION,),
    "attention+ff": (_ATTENTION, _FEED_FORWARD),
    "sd-scripts": (_ATTENTION, _FEED_FORWARD, _TRANSFORMER_ENDS, _FLUX_MODULATION),
}
"""Target set -> patterns of the ends of names; `all` takes every Linear, `+conv` adds the convolutions' patterns."""


@dataclass(frozen=True)
class LoraSize:
    """Size of a LoRA. `bytes` is the file without its metadata, which add about a kilobyte."""

    modules: int
    parameters: int
    bytes: int


def lora_size(
    family: Family, adapter: Adapter, *, precision: str = "fp16", shape: UNetShape | None = None, text_encoder: bool = False
) -> LoraSize:
    """Modules, parameters and file size of the adapter; `shape` is the base's own where it differs from the family's.

    Right for `lora` and `locon`. LoHa has two pairs a layer. LoKr depends on a factor and is counted as LoRA, its
    upper bound.
    """
    chosen = [(unet_names(layer.name), layer) for layer in targeted(family, adapter.targets, shape)]
    if text_encoder:
        chosen += [
            (text_encoder_names(layer.name, prefix), layer)
            for prefix, dimensions in TEXT_ENCODERS[family]
            for layer in clip_layers(*dimensions)
        ]
    pairs = 2 if adapter.kind == "loha" else 1
    parameters = pairs * sum(layer.parameters(_rank(layer, adapter)) for _, layer in chosen)
    width = 4 if precision == "fp32" else 2
    header = _header_bytes(chosen, adapter, width)
    return LoraSize(len(chosen), parameters, header + width * (parameters + len(chosen)))


def targeted(family: Family, targets: str, shape: UNetShape | None = None) -> list[Layer]:
    """The layers of the denoiser that a target set chooses."""
    layers = list(flux_layers() if family == "flux" else unet_layers(shape or (SDXL if family == "sdxl" else SD15)))
    name, convolutions = targets.removesuffix("+conv"), targets.endswith("+conv")
    return [x for x in layers if _is_target(x, name) or (convolutions and _matches(x, (_CONVOLUTIONS,)))]


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


def clip_layers(width: int, mlp: int, layers: int) -> Iterator[Layer]:
    """Attention and MLP of a CLIP text encoder, which is what sd-scripts trains of it."""
    for at in range(layers):
        name = f"encoder.layers.{at}"
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            yield Layer(f"{name}.self_attn.{part}", width, width)
        yield from (Layer(f"{name}.mlp.fc1", width, mlp), Layer(f"{name}.mlp.fc2", mlp, width))


def shape_of(base: Path) -> UNetShape | None:
    """The UNet's shape in a diffusers folder; None where there is none to read."""
    try:
        config = json.loads((base / "unet" / "config.json").read_text(encoding="utf-8"))
        return _shape(config)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _shape(config: Mapping[str, Any]) -> UNetShape:
    channels = tuple(int(n) for n in config["block_out_channels"])
    depth = config.get("transformer_layers_per_block", 1)
    depths = tuple(depth) if isinstance(depth, Sequence) else (int(depth),) * len(channels)
    down = tuple(d if "CrossAttn" in kind else 0 for d, kind in zip(depths, config["down_block_types"], strict=True))
    up = tuple(d if "CrossAttn" in kind else 0 for d, kind in zip(depths[::-1], config["up_block_types"], strict=True))
    has_mid = "CrossAttn" in (config.get("mid_block_type") or "")
    return UNetShape(
        channels=channels,
        layers=int(config["layers_per_block"]),
        down_depths=down,
        up_depths=up,
        mid_depth=depths[-1] if has_mid else 0,
        cross_dimension=int(config["cross_attention_dim"]),
        linear_projection=bool(config.get("use_linear_projection", False)),
        added_dimension=int(config.get("projection_class_embeddings_input_dim") or 0),
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


def _is_target(layer: Layer, targets: str) -> bool:
    return layer.kernel == 0 if targets == "all" else _matches(layer, _PATTERNS[targets])


def _matches(layer: Layer, patterns: tuple[str, ...]) -> bool:
    return any(re.search(rf"(^|\.)(?:{pattern})$", layer.name) for pattern in patterns)


def _rank(layer: Layer, adapter: Adapter) -> int:
    """Convolutions larger than 1×1 have a rank of their own."""
    return adapter.conv_rank or adapter.rank if layer.kernel > 1 else adapter.rank


def _header_bytes(chosen: Sequence[tuple[KohyaNames, Layer]], adapter: Adapter, width: int) -> int:
    """Length of the safetensors header with its 8 bytes of length, padded to 8 as the format asks."""
    table: dict[str, Any] = {}
    at = 0
    for names, layer in chosen:
        rank = _rank(layer, adapter)
        down = [rank, layer.inputs, *[layer.kernel] * 2] if layer.kernel else [rank, layer.inputs]
        up = [layer.outputs, rank, 1, 1] if layer.kernel else [layer.outputs, rank]
        shapes: tuple[tuple[str, list[int]], ...] = ((names.alpha, []), (names.down, down), (names.up, up))
        for name, shape in shapes:
            end = at + width * math.prod(shape)
            table[name] = {"dtype": "F16", "shape": shape, "data_offsets": [at, end]}
            at = end
    text = json.dumps(table, separators=(",", ":"))
    return 8 + math.ceil(len(text) / 8) * 8
