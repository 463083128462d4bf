"""How an image in few colours differs from the original for the eye, at the size of a thumbnail in a terminal."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

_TO_CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_TO_OKLAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)
PIXEL_DEGREES = 0.15
"""Half a cell of 9 × 18 px on a usual screen, from 90 cm; from nearer patterns show more."""
_SEEN = (((0.9, 0.028), (0.1, 0.133)), ((0.6, 0.039), (0.4, 0.494)), ((0.57, 0.054), (0.43, 0.386)))
"""Lightness, red-green, yellow-blue: shares and widths (degrees) of what the eye takes together (S-CIELAB, Zhang and Wandell 1997)."""


@dataclass(frozen=True)
class Difference:
    """All in hundredths of OKLab; its lightness goes from 0 to 100."""

    seen: float
    """Mean difference of what the eye sees."""
    grain: float
    """Mean step of lightness between neighbours that is not in the original: what makes a chequered pattern."""


def difference(original: Image.Image, drawn: Image.Image) -> Difference:
    """Compares two RGB images of one size."""
    apart = _oklab(original) - _oklab(drawn)
    seen = np.stack(
        [
            sum(share * _blurred(apart[..., channel], degrees / PIXEL_DEGREES) for share, degrees in _SEEN[channel])
            for channel in range(3)
        ],
        -1,
    )
    light = apart[..., 0]
    grain = (np.abs(np.diff(light, axis=0)).mean() + np.abs(np.diff(light, axis=1)).mean()) / 2
    return Difference(100 * float(np.sqrt((seen**2).sum(-1)).mean()), 100 * float(grain))


def _oklab(image: Image.Image) -> np.ndarray:
    level = np.asarray(image, dtype=float) / 255
    light = np.where(level <= 0.04045, level / 12.92, ((level + 0.055) / 1.055) ** 2.4)
    lab: np.ndarray = np.cbrt(light @ _TO_CONES.T) @ _TO_OKLAB.T
    return lab


def _blurred(channel: np.ndarray, width: float) -> np.ndarray:
    if width < 0.25:
        return channel
    reach = int(3 * width + 1)
    weights = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * width**2))
    weights /= weights.sum()
    padded = np.pad(channel, reach, "edge")
    rows = np.apply_along_axis(lambda line: np.convolve(line, weights, "valid"), 0, padded)
    return np.apply_along_axis(lambda line: np.convolve(line, weights, "valid"), 1, rows)
