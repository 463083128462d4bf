"""What is read from the pixels of one image: its fine detail, colour, clipping, a small copy and a hash."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from loratui.engine.dataset.measure import WIDEST_AREA, perceptual_hash

if TYPE_CHECKING:
    from PIL.Image import Image

VERSION = 1
"""Of what is read; another one is read again."""
SMALL = 16
"""Side of the small copy, px."""
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)
"""ITU-R BT.601."""


@dataclass(frozen=True, slots=True)
class Pixels:
    """Of one image."""

    sharpness: float
    """Standard deviation of the brightness less its mean over 3 × 3 px, levels of 255."""
    saturation: float
    """Mean difference between the strongest and the weakest colour of a pixel, 0 to 1."""
    clipped: float
    """Share of the pixels in which a colour is at 0 or 255."""
    hash: int
    """64-bit perceptual hash."""
    small: bytes
    """16 × 16 pixels of RGB, row by row."""

    def to_json(self) -> list[Any]:
        """Plain values."""
        return [self.sharpness, self.saturation, self.clipped, f"{self.hash:016x}", self.small.hex()]

    @classmethod
    def from_json(cls, values: Sequence[Any]) -> Pixels:
        """What `to_json` gave. Raises `ValueError` or `TypeError` for anything else."""
        sharpness, saturation, clipped, hashed, small = values
        figures = [float(figure) for figure in (sharpness, saturation, clipped)]
        if not all(0 <= figure <= 255 for figure in figures) or len(bytes.fromhex(small)) != 3 * SMALL**2:
            raise ValueError("these are no figures of pixels")
        return cls(figures[0], figures[1], figures[2], int(hashed, 16) & (1 << 64) - 1, bytes.fromhex(small))


def read_pixels(image: Image) -> Pixels:
    """The figures of an upright RGB image of any size; measured at no more than one megapixel."""
    from PIL import Image as pillow

    if image.width * image.height > WIDEST_AREA:
        scale = (WIDEST_AREA / (image.width * image.height)) ** 0.5
        image = image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))), reducing_gap=2.0)
    colours = np.asarray(image, dtype=np.uint8)
    least, most = colours.min(axis=2), colours.max(axis=2)
    small = image.resize((SMALL, SMALL), pillow.Resampling.BOX)
    return Pixels(
        sharpness=round(_detail(colours @ _LUMA), 4),
        saturation=round(float((most - least).mean()) / 255, 5),
        clipped=round(float(((least == 0) | (most == 255)).mean()), 5),
        hash=perceptual_hash(grey(image)),
        small=small.tobytes(),
    )


def thumbnail(small: bytes) -> bytes:
    """8 × 8 pixels of RGB from the small copy."""
    halved = np.frombuffer(small, np.uint8).reshape(8, 2, 8, 2, 3).mean(axis=(1, 3))
    return bytes(halved.round().astype(np.uint8).tobytes())


def grey(image: Image, box: tuple[float, float, float, float] | None = None) -> NDArray[np.float32]:
    """The brightness of an image, or of a part of it, at 32 × 32."""
    from PIL import Image as pillow

    tiny = image.resize((32, 32), pillow.Resampling.BOX, box=box)
    return np.asarray(tiny, dtype=np.float32) @ _LUMA


def _detail(luma: NDArray[np.float32]) -> float:
    if min(luma.shape) < 3:
        return 0.0
    height, width = luma.shape
    mean = sum(luma[y : height - 2 + y, x : width - 2 + x] for y in range(3) for x in range(3)) / 9
    return float(np.std(luma[1:-1, 1:-1] - mean))
