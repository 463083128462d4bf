"""The kohya names of LoRA tensors, which ComfyUI, Automatic1111, Forge, InvokeAI and diffusers all read for SD1.5."""

from __future__ import annotations

from dataclasses import dataclass

UNET = "lora_unet_"
TEXT_ENCODER = "lora_te_"
"""Prefix of SD1.5's single text encoder; SDXL's two are `lora_te1_` and `lora_te2_`."""

DOWN, UP, ALPHA = "lora_down.weight", "lora_up.weight", "alpha"


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


def unet_names(module: str) -> KohyaNames:
    """Names for a UNet module given by its diffusers path, as SD1.5 uses it."""
    return KohyaNames(UNET + module.replace(".", "_"))


def text_encoder_names(module: str, prefix: str = TEXT_ENCODER) -> KohyaNames:
    """Names for a CLIP module.

    Other programs look for `text_model` in the name and drop tensors without it, but CLIPTextModel has no such level
    since transformers 5.6; it is added where it is missing.
    """
    path = module if module.startswith("text_model.") else f"text_model.{module}"
    return KohyaNames(prefix + path.replace(".", "_"))
