"""Which names of LoRA layers ComfyUI knows, written anew from what its key mapping was seen to accept."""

from __future__ import annotations

from collections.abc import Iterator

from loratui.engine.families.common import unet_names
from loratui.engine.families.flux import names as flux_names
from loratui.engine.formats.layers import Part
from loratui.engine.planning.lora_size import ClipShape, clip_layers, denoiser_layers, text_encoders_of
from loratui.presets.schema import Family


def every_layer(family: Family) -> list[str]:
    """Every Linear and convolution of the full-size denoiser, by diffusers' name."""
    ends = [] if family == "flux" else ["conv_in", "conv_out"]
    return [*ends, *(layer.name for layer in denoiser_layers(family))]


def accepted(family: Family) -> set[str]:
    """The beginnings of names, in front of `.lora_A.weight`, `.hada_w1_a` and their like, that it does not drop."""
    return {*_denoiser(family), *(stem for part, clip in text_encoders_of(family, None).items() for stem in _text(part, clip))}


def _denoiser(family: Family) -> Iterator[str]:
    for path in every_layer(family):
        flat = path.replace(".", "_")
        yield f"lycoris_{flat}"
        if family == "flux":
            original = flux_names.original(path).stem
            yield from (f"transformer.{path}", f"lora_transformer_{flat}")
        else:
            original = (unet_names.sdxl if family == "sdxl" else unet_names.sd15)(path)
            yield f"lora_unet_{flat}"
            # Its table for diffusers' names is of the time when attention had processors with layers of their own.
            old = path.replace(".to_", ".processor.to_")
            yield f"unet.{old.removesuffix('.0') if old.endswith('to_out.0') else old}"
        yield from (f"lora_unet_{original.replace('.', '_')}", f"diffusion_model.{original}")


def _text(part: Part, clip: ClipShape) -> Iterator[str]:
    for layer in clip_layers(clip):
        path = f"text_model.{layer.name}"
        yield f"{part}.{path}"
        flat = path.replace(".", "_")
        yield from [f"lora_te2_{flat}"] if part == "text_encoder_2" else [f"lora_te_{flat}", f"lora_te1_{flat}"]
