"""The names of LoRA tensors in kohya's layout, which ComfyUI, Automatic1111, Forge, InvokeAI and diffusers all read."""

from __future__ import annotations

from dataclasses import dataclass

from loratui.engine.formats import flux_names, sgm_names
from loratui.engine.formats.layers import Part
from loratui.presets.schema import Family

DOWN, UP, ALPHA = "lora_down.weight", "lora_up.weight", "alpha"

UNET = "lora_unet_"
"""Prefix of the denoiser, FLUX's transformer too."""

TEXT_ENCODERS: dict[Family, dict[Part, str]] = {
    "sd15": {"text_encoder": "lora_te_"},
    "sdxl": {"text_encoder": "lora_te1_", "text_encoder_2": "lora_te2_"},
    "flux": {"text_encoder": "lora_te1_"},
}
"""Prefix of each text encoder that a LoRA may train."""


@dataclass(frozen=True)
class KohyaNames:
    """The three tensor names of one LoRA module."""

    stem: str

    @property
    def down(self) -> str:
        """A, of shape (rank, in) or (rank, in, k, k)."""
        return f"{self.stem}.{DOWN}"

    @property
    def up(self) -> str:
        """B, of shape (out, rank) or (out, rank, 1, 1)."""
        return f"{self.stem}.{UP}"

    @property
    def alpha(self) -> str:
        """Scalar; the effect is scaled by alpha / rank, where rank is A's first dimension."""
        return f"{self.stem}.{ALPHA}"


def stem(family: Family, part: Part, module: str) -> str:
    """The beginning of the names of a module given by its diffusers or transformers path.

    SDXL's UNet has the names of the sgm code base; FLUX's transformer those of Black Forest Labs, in which one module
    may stand for several of diffusers' (see `flux_names`).
    """
    if part != "denoiser":
        return TEXT_ENCODERS[family][part] + with_text_model(module).replace(".", "_")
    if family == "flux":
        return UNET + flux_names.original(module).stem.replace(".", "_")
    return UNET + (sgm_names.sdxl(module) if family == "sdxl" else module).replace(".", "_")


def with_text_model(module: str) -> str:
    """A CLIP module's path with the level `text_model`.

    Other programs look for it and drop tensors without it, but CLIPTextModel has no such level since transformers 5.6.
    """
    return module if module.startswith("text_model.") else f"text_model.{module}"
