"""Which names of LoRA layers ComfyUI knows, written anew from what its key mapping was seen to accept."""

from __future__ import annotations

from collections.abc import Iterator

from loratui.engine.formats import flux_names, sgm_names
from loratui.engine.formats.layers import Part
from loratui.engine.planning.lora_size import SD15, SDXL, TEXT_ENCODERS, clip_layers, flux_layers, unet_layers
from loratui.presets.schema import Family


def every_layer(family: Family) -> list[str]:
    """Every Linear and convolution of the full-size denoiser, by diffusers' name."""
    if family == "flux":
        return [layer.name for layer in flux_layers()]
    shape = SDXL if family == "sdxl" else SD15
    return ["conv_in", "conv_out", *(layer.name for layer in unet_layers(shape))]


def accepted(family: Family) -> set[str]:
    """The beginnings of names, in front of `.lora_A.weight`, `.hada_w1_a` and their like, that it does not drop."""
    return {*_denoiser(family), *(stem for part, clip in TEXT_ENCODERS[family].items() for stem in _text(part, clip.layers))}


def _denoiser(family: Family) -> Iterator[str]:
    for path in every_layer(family):
        flat = path.replace(".", "_")
        yield f"lycoris_{flat}"
        if family == "flux":
            original = flux_names.original(path).stem
            yield from (f"transformer.{path}", f"lora_transformer_{flat}")
        else:
            original = (sgm_names.sdxl if family == "sdxl" else sgm_names.sd15)(path)
            yield f"lora_unet_{flat}"
            # Its table for diffusers' names is of the time when attention had processors with layers of their own.
            old = path.replace(".to_", ".processor.to_")
            yield f"unet.{old.removesuffix('.0') if old.endswith('to_out.0') else old}"
        yield from (f"lora_unet_{original.replace('.', '_')}", f"diffusion_model.{original}")


def _text(part: Part, layers: int) -> Iterator[str]:
    clip = next(shape for parts in TEXT_ENCODERS.values() for shape in parts.values() if shape.layers == layers)
    for layer in clip_layers(clip):
        path = f"text_model.{layer.name}"
        yield f"{part}.{path}"
        flat = path.replace(".", "_")
        yield from [f"lora_te2_{flat}"] if part == "text_encoder_2" else [f"lora_te_{flat}", f"lora_te1_{flat}"]
