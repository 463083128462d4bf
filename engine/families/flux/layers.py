"""The layers of FLUX.1's transformer by formula, and those that the target sets choose."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from loratui.engine.families.network import Config
from loratui.engine.families.spec import Layer

_DOUBLE, _SINGLE = r"transformer_blocks\.\d+", r"single_transformer_blocks\.\d+"
_ATTENTION = rf"{_DOUBLE}\.attn\.(to_[qkv]|to_out\.0|add_[qkv]_proj|to_add_out)"
_FEED_FORWARD = rf"{_DOUBLE}\.ff(_context)?\.net\.(0\.proj|2)"
_SINGLE_ATTENTION = rf"{_SINGLE}\.attn\.to_[qkv]"
_SINGLE_FEED_FORWARD = rf"{_SINGLE}\.proj_(mlp|out)"
_MODULATION = (rf"{_DOUBLE}\.norm1(_context)?\.linear", rf"{_SINGLE}\.norm\.linear")
_OUTSIDE = r"(x|context)_embedder|time_text_embed\.\w+_embedder\.linear_[12]|norm_out\.linear|proj_out"
_BLOCKS = (_ATTENTION, _FEED_FORWARD, _SINGLE_ATTENTION, _SINGLE_FEED_FORWARD)

TARGETS: Mapping[str, tuple[str, ...]] = {
    "diffusers": (_ATTENTION, _FEED_FORWARD, _SINGLE_ATTENTION),
    "attention": (_ATTENTION, _SINGLE_ATTENTION),
    "attention+ff": _BLOCKS,
    "sd-scripts": (*_BLOCKS, *_MODULATION),
    "all": (*_BLOCKS, *_MODULATION, _OUTSIDE),
}
"""Modules at full size, in the order diffusers, attention, attention+ff, sd-scripts, all: 342, 266, 418, 494, 504."""

_MOST_BLOCKS = 512


def layers_in(config: Config) -> Iterator[Layer]:
    """Every Linear of FLUX.1's transformer. Raises `ValueError`, `KeyError` or `TypeError` for sizes that no model has."""
    sizes = [config[key] for key in ("num_attention_heads", "attention_head_dim", "in_channels", "joint_attention_dim",
                                     "pooled_projection_dim", "num_layers", "num_single_layers")]  # fmt: skip
    if not all(type(n) is int and 0 <= n <= 65_536 for n in sizes) or max(sizes[-2:]) > _MOST_BLOCKS:
        raise ValueError("no sizes that a model has")
    heads, head, inputs, text, pooled, double, single = sizes
    width, mlp = heads * head, 4 * heads * head
    for at in range(double):
        name = f"transformer_blocks.{at}"
        for part in ("to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out"):
            yield Layer(f"{name}.attn.{part}", width, width)
        for part in ("ff", "ff_context"):
            yield Layer(f"{name}.{part}.net.0.proj", width, mlp)
            yield Layer(f"{name}.{part}.net.2", mlp, width)
        for part in ("norm1", "norm1_context"):
            yield Layer(f"{name}.{part}.linear", width, 6 * width)
    for at in range(single):
        name = f"single_transformer_blocks.{at}"
        for part in ("to_q", "to_k", "to_v"):
            yield Layer(f"{name}.attn.{part}", width, width)
        yield Layer(f"{name}.proj_mlp", width, mlp)
        yield Layer(f"{name}.proj_out", width + mlp, width)
        yield Layer(f"{name}.norm.linear", width, 3 * width)
    yield from (Layer("x_embedder", inputs, width), Layer("context_embedder", text, width))
    for part, narrow in (("timestep", 256), ("guidance", 256), ("text", pooled)):
        yield Layer(f"time_text_embed.{part}_embedder.linear_1", narrow, width)
        yield Layer(f"time_text_embed.{part}_embedder.linear_2", width, width)
    yield from (Layer("norm_out.linear", width, 2 * width), Layer("proj_out", width, inputs))
