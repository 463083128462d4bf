"""Which LoRA files InvokeAI takes, written anew from what its own loaders were seen to do."""

from __future__ import annotations

import re
from collections.abc import Iterable

from loratui.presets.schema import Family

_NAME = re.compile(r"(.+)\.((?:lora_[AB]|lora_up|lora_down)\.weight|lora_magnitude_vector|(?:hada|lokr)_\w+|alpha)")
_FLUX_PEFT = re.compile(
    r"transformer\.(?:(?:single_)?transformer_blocks\..+|x_embedder|context_embedder|proj_out"
    r"|time_text_embed\.(?:timestep|text)_embedder\.linear_[12])"
)
"""Layers of FLUX that it knows by the names of diffusers; any other stops the file."""
_FLUX_KOHYA = re.compile(
    r"lora_unet_(?:double|single)_blocks_\d+_(?:(?:img|txt)_(?:attn|mlp|mod)_\w+|linear[12]|modulation_lin)"
    r"|lora_te1_text_model_encoder_layers_\d+_(?:mlp|self_attn)_\w+"
)
"""The same in kohya's names. It knows those of the final layer too, but leaves that out."""
_TEXT_WIDTH = re.compile(r"lora_unet_.+_attn2_to_[kv]|lora_te\d?_.+_self_attn_\w+")
"""Layers that tell it how wide the text states are, and by that which model the file is for."""
_DEEP = re.compile(r"lora_unet_.+_transformer_blocks_(?:[2-9]|\d\d)_.+")
"""Layers that only SDXL has, by which it knows files of SDXL without a width."""


def takes(family: Family, names: Iterable[str]) -> bool:
    """Whether it finds out the model of a file of these tensors, and uses all of them."""
    layers: dict[str, set[str]] = {}
    for name in names:
        found = _NAME.fullmatch(name)
        if found is None:
            return False
        layers.setdefault(found[1], set()).add(found[2])
    if family == "flux":
        if all(_FLUX_PEFT.fullmatch(stem) for stem in layers):
            return {tensor for tensors in layers.values() for tensor in tensors} == {"lora_A.weight", "lora_B.weight"}
        plain = {"lora_down.weight", "lora_up.weight", "alpha"}
        return all(_FLUX_KOHYA.fullmatch(stem) and tensors <= plain for stem, tensors in layers.items())
    if not all(stem.startswith("lora_") for stem in layers):
        return False
    widths = any(_TEXT_WIDTH.fullmatch(stem) and _tells_width(tensors) for stem, tensors in layers.items())
    return widths or (family == "sdxl" and any(map(_DEEP.fullmatch, layers)))


def _tells_width(tensors: set[str]) -> bool:
    """LoKr's width is that of its two factors, which it reads only where both are stored whole."""
    return bool(tensors & {"lora_down.weight", "hada_w1_b"}) or tensors >= {"lokr_w1", "lokr_w2"}
