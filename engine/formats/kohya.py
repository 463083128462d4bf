"""The names of LoRA tensors in kohya's layout, which ComfyUI, Automatic1111, Forge, InvokeAI and diffusers all read."""

from __future__ import annotations

from loratui.engine import families
from loratui.engine.families.spec import PartSpec
from loratui.engine.formats.layers import Part
from loratui.presets.schema import Family

DOWN, UP, ALPHA = "lora_down.weight", "lora_up.weight", "alpha"
"""Ends of the names of A, of shape (rank, in) or (rank, in, k, k), of B, of shape (out, rank) or (out, rank, 1, 1), and of a scalar.
The effect is scaled by alpha / rank, where rank is A's first dimension."""

UNET = "lora_unet_"
"""Prefix of the denoiser, transformers too."""


def stem(family: Family, part: Part, module: str) -> str:
    """The beginning of the names of a module given by its diffusers or transformers path.

    Where the makers' code fuses several of diffusers' modules, it is that of the whole (`LoraSpec.original`).
    """
    spec = families.family(family)
    if part == "denoiser":
        return UNET + flat(spec.lora.original(module).stem)
    encoder = spec.part(part)
    return encoder.lora_prefix + flat(with_level(encoder, module))


def lycoris_stem(family: Family, part: Part, module: str) -> str:
    """The same for LoHa and LoKr, whose modules cannot be fused."""
    prefix = families.family(family).lora.lycoris_prefix
    return prefix + flat(module) if prefix and part == "denoiser" else stem(family, part, module)


def flat(path: str) -> str:
    """A path as names have it in which dots stand for something else."""
    return path.replace(".", "_")


def with_level(encoder: PartSpec, module: str) -> str:
    """A text encoder's module with the level that files have."""
    return module if module.startswith(encoder.lora_level) else encoder.lora_level + module
