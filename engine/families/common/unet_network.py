"""UNet2DConditionModel as files hold it, and the versions of it that cannot be trained here."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence

from loratui.engine.families.network import Config, Network, Sizes, Tensors, has, read, whole
from loratui.engine.findings import Finding

_ORDINARY = "Choose the ordinary text-to-image version of the same model."

_INPUTS: Mapping[int, tuple[str, str]] = {
    9: ("base_inpainting", "an inpainting model (it also takes a mask)"),
    8: ("base_instruct", "an instruct-pix2pix model (it also takes an image)"),
    7: ("base_upscaler", "an upscaling model"),
    5: ("base_depth", "a depth-to-image model"),
}
"""Channels that a UNet takes -> id, what it is."""


_FIRST = ("input_blocks.0.0.weight", "conv_in.weight")
_outside = read(
    first_channels=(0, _FIRST), inputs=(1, _FIRST), added=(1, ("label_emb.0.0.weight", "add_embedding.linear_1.weight"))
)


def _sizes(tensors: Tensors) -> Sizes:
    cross = [key for key in tensors if key.endswith("attn2.to_k.weight")]
    width = read(width=(-1, cross[0]))(tensors) if cross else {"width": 0}
    return {**_outside(tensors), **width, "layers": len(cross)}


def _config_sizes(config: Config) -> Sizes:
    try:
        channels, layers = config["block_out_channels"], config["layers_per_block"]
        depth = config.get("transformer_layers_per_block", 1)
        depths: Sequence[int] = depth if isinstance(depth, list) else [depth] * len(channels)
        down = sum(n * layers for n, kind in zip(depths, config["down_block_types"], strict=True) if "CrossAttn" in kind)
        up = sum(
            n * (layers + 1) for n, kind in zip(depths[::-1], config["up_block_types"], strict=True) if "CrossAttn" in kind
        )
        return whole(
            first_channels=channels[0],
            width=config["cross_attention_dim"],
            layers=down + up + depths[-1],
            added=config.get("projection_class_embeddings_input_dim") or 0,
        )
    except (KeyError, TypeError, IndexError, ValueError):
        return {}


def _refusals(tensors: Tensors, unet: Sizes) -> Iterator[Finding]:
    other = functools.partial(Finding.of, "base_other_family", remedy="")
    if unet["inputs"] in _INPUTS:
        code, kind = _INPUTS[unet["inputs"]]
        yield Finding.of(code, problem=f"this is {kind}.", remedy=_ORDINARY)
    if unet["inputs"] != 4:
        yield other(problem=f"its UNet takes {unet['inputs']} channels; SD1.5 and SDXL take 4.")
    if unet["width"] == 1024:
        yield other(problem="this is a Stable Diffusion 2 model, which cannot be trained here.")
    if unet["added"] and unet["width"] == 1280:
        yield Finding.of(
            "base_refiner", problem="this is the SDXL refiner, not the base model.", remedy="Choose the SDXL base model."
        )
    if has(tensors, "encoder_hid_proj."):
        yield other(problem="this is a Kolors model, which cannot be trained here.")
    if has(tensors, "time_embed.cond_proj.") or has(tensors, "time_embedding.cond_proj."):
        message = "this is a distilled model for few steps (LCM), which a LoRA would undo."
        yield Finding.of("base_distilled", problem=message, remedy=_ORDINARY)
    if not unet["layers"]:
        yield other(problem="its UNet reads no text.")


UNET = Network(
    name="unet",
    signs=(
        ("original", "input_blocks.0.0.weight"),
        ("diffusers", "down_blocks.0.resnets.0.time_emb_proj.weight"),
    ),
    sizes=_sizes,
    config_sizes=_config_sizes,
    words={
        "first_channels": "channels at its beginning",
        "width": "channels of text",
        "layers": "transformer blocks",
        "added": "added channels",
    },
    title=lambda _: "a UNet",
    exact=True,
    refusals=_refusals,
)
"""`width` is that of its text states, `layers` counts all transformer blocks, `added` is the width of SDXL's pooled text and sizes."""
