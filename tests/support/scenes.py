"""Made images that look like something: each seed another one."""

from __future__ import annotations

import numpy as np
from PIL import Image


def scene(seed: int, side: int = 96) -> Image.Image:
    """A made image: smooth colours, some shapes, a little grain."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(40, 216, (5, 5, 3), dtype=np.uint8)).resize((side, side), Image.Resampling.BICUBIC)
    pixels = np.asarray(coarse).astype(np.int16)
    for _ in range(4):
        x, y, wide = rng.integers(0, side - 20, 3) % (side - 20)
        pixels[y : y + 18, x : x + 6 + wide % 14] = rng.integers(30, 226, 3)
    return Image.fromarray(np.clip(pixels + rng.integers(-6, 7, pixels.shape), 1, 254).astype(np.uint8))
