"""What a LoRA is put on, in words that need no torch: the parts of a base and the layers of each."""

from __future__ import annotations

from typing import Literal

Part = Literal["denoiser", "text_encoder", "text_encoder_2"]
"""UNet or transformer; CLIP-L; CLIP-G (SDXL)."""

PARTS: tuple[Part, ...] = ("denoiser", "text_encoder", "text_encoder_2")


TEXT_PARTS = PARTS[1:]


def part_of(name: str) -> Part:
    """The part of a tensor named `<part>.<module path>.<tensor>`. Raises `ValueError` for another name."""
    for part in PARTS:
        if name.startswith(f"{part}."):
            return part
    raise ValueError(f"{name}: this name begins with no part of a base")
