"""The names of UNet modules in the original code bases (ldm for SD1.5, sgm for SDXL), from those of diffusers."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from loratui.engine.families.lora import Original

_RESNET: Mapping[str, str] = {
    "conv1": "in_layers.2",
    "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1",
    "conv_shortcut": "skip_connection",
}
_OUTSIDE: Mapping[str, str] = {
    "conv_in": "input_blocks.0.0",
    "conv_out": "out.2",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
}
_BLOCK = re.compile(r"(down|up)_blocks\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.+)")
_MIDDLE = re.compile(r"mid_block\.(resnets|attentions)\.(\d+)\.(.+)")

_Place = Callable[[int], int]
"""Up block -> place of its upsampler within the last output block."""


ALL_BUT_DIFFUSERS = frozenset({"comfyui", "automatic1111", "forge", "invokeai"})
"""Programs that do not read a UNet's LoRA in PEFT's layout: ComfyUI drops attention, the others everything."""


def unchanged(module: str) -> Original:
    """A module under its diffusers name."""
    return Original(module, (module,))


def sdxl(module: str) -> str:
    """The sgm path of an SDXL UNet's module; `module` itself where the UNet has no such place."""
    return _original(module, upsampler=lambda _: 2)


def sd15(module: str) -> str:
    """The ldm path of an SD1.5 UNet's module; its first up block has no attention in front of the upsampler."""
    return _original(module, upsampler=lambda block: 1 if block == 0 else 2)


def _original(module: str, upsampler: _Place) -> str:
    if module in _OUTSIDE:
        return _OUTSIDE[module]
    if found := _MIDDLE.fullmatch(module):
        kind, at, rest = found.groups()
        return f"middle_block.{2 * int(at)}.{_RESNET.get(rest, rest)}" if kind == "resnets" else f"middle_block.1.{rest}"
    if not (found := _BLOCK.fullmatch(module)):
        return module
    side, block, kind, at, rest = found[1], int(found[2]), found[3], int(found[4]), found[5]
    if kind == "downsamplers":
        return f"input_blocks.{3 * (block + 1)}.0.op"
    if kind == "upsamplers":
        return f"output_blocks.{3 * block + 2}.{upsampler(block)}.conv"
    # Two layers and a downsampler in each down block, after conv_in; three layers in each up block.
    place = f"input_blocks.{3 * block + at + 1}" if side == "down" else f"output_blocks.{3 * block + at}"
    return f"{place}.0.{_RESNET.get(rest, rest)}" if kind == "resnets" else f"{place}.1.{rest}"
