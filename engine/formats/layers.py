"""What a LoRA is put on, in words that need no torch: the parts of a base and the layers of each."""

from __future__ import annotations

Part = str
"""`denoiser`, or the name of a text encoder's part."""


def part_of(name: str) -> Part:
    """The part of a tensor named `<part>.<module path>.<tensor>`. Raises `ValueError` for another name."""
    part, dot, _ = name.partition(".")
    if dot and (part == "denoiser" or part.startswith("text_encoder")):
        return part
    raise ValueError(f"{name}: this name begins with no part of a base")
