"""The layers of a UNet2DConditionModel by formula, and those that the target sets select."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping

from loratui.engine.families.network import Config
from loratui.engine.families.spec import Layer

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


UNET_ORDER = ("down_blocks", "mid_block", "up_blocks")
"""diffusers lists the middle last."""

UNET_FEWEST_LAYERS = {"layers_per_block": 1, "transformer_layers_per_block": 1}
"""What leaves a UNet one block of each kind."""
UNET_BLOCKS = ("ResnetBlock2D", "BasicTransformerBlock")
"""What a UNet's activations can be computed again of, one block at a time: diffusers does it so, too."""

CONVOLUTIONS = _anywhere(_CONVOLUTIONS)[0]
"""What `+conv` adds."""


_MOST_BLOCKS = 16
_WIDEST = 65_536


def layers_in(config: Config) -> Iterator[Layer]:
    """Every Linear and convolution of a UNet2DConditionModel but `conv_in` and `conv_out`. Raises as `FamilySpec.layers`."""
    channels = tuple(_count(n) for n in config["block_out_channels"][:_MOST_BLOCKS])
    depth = config.get("transformer_layers_per_block", 1)
    depths = tuple(_count(n, 64) for n in (depth if isinstance(depth, list) else [depth] * len(channels)))
    # Transformer blocks per attention of each block; 0: it has no attention.
    down = tuple(d if "CrossAttn" in kind else 0 for d, kind in zip(depths, config["down_block_types"], strict=True))
    up = tuple(d if "CrossAttn" in kind else 0 for d, kind in zip(depths[::-1], config["up_block_types"], strict=True))
    mid = depths[-1] if "CrossAttn" in (config.get("mid_block_type") or "") else 0
    layers, text = _count(config["layers_per_block"], 16), _count(config["cross_attention_dim"])
    linear = bool(config.get("use_linear_projection", False))
    added = _count(config.get("projection_class_embeddings_input_dim") or 0)
    transformer = functools.partial(_transformer, text=text, kernel=0 if linear else 1)

    time = 4 * channels[0]
    yield Layer("time_embedding.linear_1", channels[0], time)
    yield Layer("time_embedding.linear_2", time, time)
    if added:  # SDXL's
        yield Layer("add_embedding.linear_1", added, time)
        yield Layer("add_embedding.linear_2", time, time)

    last = len(channels) - 1
    for at, (out, depth) in enumerate(zip(channels, down, strict=True)):
        before = channels[max(0, at - 1)]
        name = f"down_blocks.{at}"
        for layer in range(layers):
            yield from _resnet(f"{name}.resnets.{layer}", before if layer == 0 else out, out, time)
            yield from transformer(f"{name}.attentions.{layer}", out, depth)
        if at < last:
            yield Layer(f"{name}.downsamplers.0.conv", out, out, 3)

    for layer in range(2):
        yield from _resnet(f"mid_block.resnets.{layer}", channels[-1], channels[-1], time)
    yield from transformer("mid_block.attentions.0", channels[-1], mid)

    turned = channels[::-1]
    for at, (out, depth) in enumerate(zip(turned, up, strict=True)):
        before, skipped = turned[max(0, at - 1)], turned[min(at + 1, last)]
        name = f"up_blocks.{at}"
        for layer in range(layers + 1):
            skip = skipped if layer == layers else out
            yield from _resnet(f"{name}.resnets.{layer}", (before if layer == 0 else out) + skip, out, time)
            yield from transformer(f"{name}.attentions.{layer}", out, depth)
        if at < last:
            yield Layer(f"{name}.upsamplers.0.conv", out, out, 3)


def _count(value: object, most: int = _WIDEST) -> int:
    """A size from a configuration, limited, since a huge one would yield layers without end. Raises `ValueError` for another value."""
    if type(value) is not int or not 0 <= value <= most:
        raise ValueError("no size that a model has")
    return value


def _resnet(name: str, inputs: int, outputs: int, time: int) -> Iterator[Layer]:
    yield Layer(f"{name}.conv1", inputs, outputs, 3)
    yield Layer(f"{name}.time_emb_proj", time, outputs)
    yield Layer(f"{name}.conv2", outputs, outputs, 3)
    if inputs != outputs:
        yield Layer(f"{name}.conv_shortcut", inputs, outputs, 1)


def _transformer(name: str, width: int, depth: int, *, text: int, kernel: int) -> Iterator[Layer]:
    if depth == 0:
        return
    yield Layer(f"{name}.proj_in", width, width, kernel)
    for at in range(depth):
        block = f"{name}.transformer_blocks.{at}"
        for attention, keys in (("attn1", width), ("attn2", text)):
            yield Layer(f"{block}.{attention}.to_q", width, width)
            yield Layer(f"{block}.{attention}.to_k", keys, width)
            yield Layer(f"{block}.{attention}.to_v", keys, width)
            yield Layer(f"{block}.{attention}.to_out.0", width, width)
        yield Layer(f"{block}.ff.net.0.proj", width, 8 * width)  # GEGLU: value and gate, 4 × width each
        yield Layer(f"{block}.ff.net.2", 4 * width, width)
    yield Layer(f"{name}.proj_out", width, width, kernel)
