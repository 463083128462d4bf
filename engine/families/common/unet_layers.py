"""The layers of a UNet2DConditionModel by formula, and those that the target sets choose."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from loratui.engine.families.spec import Config, Layer

_ATTENTION = r"attn[12]\.to_(q|k|v|out\.0)"
_FEED_FORWARD = r"ff\.net\.(0\.proj|2)"
_TRANSFORMER_ENDS = r"attentions\.\d+\.proj_(in|out)"
"""Around the transformer blocks: 1×1 convolutions in SD1.5, Linears in SDXL."""
_OTHER_LINEARS = r"time_emb_proj|(time|add)_embedding\.linear_[12]"
_CONVOLUTIONS = r"resnets\.\d+\.(conv1|conv2|conv_shortcut|time_emb_proj)|(down|up)samplers\.0\.conv"


def _anywhere(*patterns: str) -> tuple[str, ...]:
    """Patterns of whole paths that end as these do."""
    return tuple(rf"(?:.*\.)?(?:{pattern})" for pattern in patterns)


def target_sets(*, linear_projection: bool) -> Mapping[str, tuple[str, ...]]:
    """Target set -> patterns. `all` means every Linear, so it has the transformers' ends where they are Linears."""
    ends = (_TRANSFORMER_ENDS,) if linear_projection else ()
    return {
        "diffusers": _anywhere(_ATTENTION),
        "attention": _anywhere(_ATTENTION),
        "attention+ff": _anywhere(_ATTENTION, _FEED_FORWARD),
        "sd-scripts": _anywhere(_ATTENTION, _FEED_FORWARD, _TRANSFORMER_ENDS),
        "all": _anywhere(_ATTENTION, _FEED_FORWARD, *ends, _OTHER_LINEARS),
    }


CONVOLUTIONS = _anywhere(_CONVOLUTIONS)[0]
"""What `+conv` adds."""


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


_MOST_BLOCKS = 16
_WIDEST = 65_536


def layers_in(config: Config) -> Iterator[Layer]:
    """As `unet_layers`, of a UNet's configuration. Raises `ValueError`, `KeyError` or `TypeError` for sizes that no model has."""
    return unet_layers(shape_in(config))


def shape_in(config: Config) -> UNetShape:
    """The shape in a configuration; raises as `layers_in`."""
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


def _count(value: object, most: int = _WIDEST) -> int:
    """A size out of a configuration: of a larger one, layers would be counted without end. Raises `ValueError` for what is none."""
    if type(value) is not int or not 0 <= value <= most:
        raise ValueError("no size that a model has")
    return value


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
