"""The names of FLUX.1's modules in Black Forest Labs' code, where one Linear holds several of diffusers'."""

from __future__ import annotations

import re
from collections.abc import Mapping

from loratui.engine.families.lora import Original

_DOUBLE: Mapping[str, tuple[str, ...]] = {
    "img_attn.qkv": ("attn.to_q", "attn.to_k", "attn.to_v"),
    "txt_attn.qkv": ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
    "img_attn.proj": ("attn.to_out.0",),
    "txt_attn.proj": ("attn.to_add_out",),
    "img_mlp.0": ("ff.net.0.proj",),
    "img_mlp.2": ("ff.net.2",),
    "txt_mlp.0": ("ff_context.net.0.proj",),
    "txt_mlp.2": ("ff_context.net.2",),
    "img_mod.lin": ("norm1.linear",),
    "txt_mod.lin": ("norm1_context.linear",),
}
_SINGLE: Mapping[str, tuple[str, ...]] = {
    "linear1": ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"),
    "linear2": ("proj_out",),
    "modulation.lin": ("norm.linear",),
}
_OUTSIDE: Mapping[str, str] = {
    "x_embedder": "img_in",
    "context_embedder": "txt_in",
    "time_text_embed.timestep_embedder.linear_1": "time_in.in_layer",
    "time_text_embed.timestep_embedder.linear_2": "time_in.out_layer",
    "time_text_embed.text_embedder.linear_1": "vector_in.in_layer",
    "time_text_embed.text_embedder.linear_2": "vector_in.out_layer",
    "time_text_embed.guidance_embedder.linear_1": "guidance_in.in_layer",
    "time_text_embed.guidance_embedder.linear_2": "guidance_in.out_layer",
    "proj_out": "final_layer.linear",
    "norm_out.linear": "final_layer.adaLN_modulation.1",
}
_HEIGHTS: Mapping[str, int] = {"proj_mlp": 4}
"""Rows in widths of the model, where it is not 1."""

_BLOCK = re.compile(r"(single_)?transformer_blocks\.(\d+)\.(.+)")


def original(module: str) -> Original:
    """The original Linear that holds a diffusers module. Raises `ValueError` for a module that FLUX.1 does not have."""
    if module in _OUTSIDE:
        return Original(_OUTSIDE[module], (module,), halves_swapped=module == "norm_out.linear")
    found = _BLOCK.fullmatch(module)
    for stem, members in (_SINGLE if found and found[1] else _DOUBLE).items():
        if found and found[3] in members:
            block = f"{'single' if found[1] else 'double'}_blocks.{found[2]}"
            beginning = module.removesuffix(found[3])
            heights = tuple(_HEIGHTS.get(member, 1) for member in members)
            return Original(f"{block}.{stem}", tuple(beginning + member for member in members), heights)
    raise ValueError(f"{module}: FLUX.1 has no such module")


_XLABS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "transformer_blocks": ("double_blocks", ("qkv_lora1", "qkv_lora2", "proj_lora1", "proj_lora2")),
    "single_transformer_blocks": ("single_blocks", ("qkv", "proj")),
}
_XLABS_MEMBERS: Mapping[str, tuple[str, ...]] = {
    "qkv_lora1": _DOUBLE["img_attn.qkv"],
    "qkv_lora2": _DOUBLE["txt_attn.qkv"],
    "proj_lora1": _DOUBLE["img_attn.proj"],
    "proj_lora2": _DOUBLE["txt_attn.proj"],
    "qkv": _SINGLE["linear1"][:3],
    "proj": _SINGLE["linear2"],
}
"""What XLabs' trainer calls its LoRAs, without the level `processor` -> the modules of diffusers."""


def originals(module: str) -> tuple[Original, ...]:
    """Every Linear that may hold a module's LoRA: in Black Forest Labs' code and in XLabs' trainer. Raises as `original`."""
    first = original(module)
    found = _BLOCK.fullmatch(module)
    if found is None:
        return (first,)
    beginning = module.removesuffix(found[3])
    block, kinds = _XLABS[beginning.split(".")[0]]
    others = (
        Original(f"{block}.{found[2]}.{kind}", tuple(beginning + member for member in members), (1,) * len(members))
        for kind in kinds
        if found[3] in (members := _XLABS_MEMBERS[kind])
    )
    return (first, *others)
