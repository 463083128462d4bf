"""Perceptual hashes by which a copy of a photo is found, also a part of it, mirrored, or saved again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from loratui.engine.dataset.measure import perceptual_hash
from loratui.engine.proof.pixels import grey
from loratui.engine.proof.protocol import Part

if TYPE_CHECKING:
    from PIL.Image import Image

VERSION = 2
BITS = 64
SCALES = (1.0, 0.9, 0.8, 0.7)
"""Sides of the parts that are looked at, as shares of the largest part that has the wanted shape."""
_PLACES = (0.5, 0.0, 1.0)
"""Where a part lies, the middle first."""
_LARGEST_PX = 256
"""Side up to which a photo is looked at."""


def parts_of(image: Image, shape: float) -> tuple[Part, ...]:
    """Parts of a photo that have a width of `shape` times their height, each also mirrored: the largest in the middle first."""
    from PIL import Image as pillow

    image = image.copy()
    image.thumbnail((_LARGEST_PX, _LARGEST_PX), reducing_gap=2.0)
    found: dict[int, Part] = {}
    for box in _boxes(*image.size, shape):
        part = grey(image, box)
        small = image.resize((8, 8), pillow.Resampling.BOX, box=box)
        mirrored = small.transpose(pillow.Transpose.FLIP_LEFT_RIGHT)
        for hashed, thumbnail in ((perceptual_hash(part), small), (perceptual_hash(part[:, ::-1]), mirrored)):
            found.setdefault(hashed, Part(hashed, thumbnail.tobytes()))
    return tuple(found.values())


def agreement(own: Sequence[int], parts: Sequence[int]) -> NDArray[np.float64]:
    """Images × parts: the share of bits in which two hashes agree: 0.5 by chance, 1 for a copy."""
    ones, others = np.array(own, dtype=np.uint64), np.array(parts, dtype=np.uint64)
    shares: NDArray[np.float64] = 1.0 - np.bitwise_count(ones[:, None] ^ others[None, :]).astype(np.float64) / BITS
    return shares


def _boxes(width: int, height: int, shape: float) -> Iterator[tuple[float, float, float, float]]:
    full = (min(width, height * shape), min(height, width / shape))
    for scale in SCALES:
        wide, high = full[0] * scale, full[1] * scale
        lefts = dict.fromkeys(round((width - wide) * place, 3) for place in _PLACES)
        tops = dict.fromkeys(round((height - high) * place, 3) for place in _PLACES)
        for top in tops:
            for left in lefts:
                yield left, top, min(width, left + wide), min(height, top + high)
