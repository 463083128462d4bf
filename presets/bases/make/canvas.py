"""Drawing with curves in shares of the image's side, at four times the size, reduced at the end."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from loratui.presets.bases.make.people import Colour

SIDE_PX = 128
_OVERSAMPLING = 4

Points = NDArray[np.float64]
"""Shape (n, 2): x to the right, y downwards."""


def blend(a: Colour, b: Colour, share: float) -> Colour:
    """Colour `a` with `share` (0 to 1) of colour `b`."""
    x, y, z = (round(p * (1 - share) + q * share) for p, q in zip(a, b, strict=True))
    return x, y, z


def contrast(colour: Colour, share: float) -> Colour:
    """A shade that shows on `colour`: darker, or lighter where it is nearly black."""
    return blend(colour, (0, 0, 0), share) if sum(colour) > 150 else blend(colour, (255, 255, 255), share * 0.6)


def arc(cx: float, cy: float, rx: float, ry: float, start: float = 0.0, stop: float = 1.0, n: int = 32) -> Points:
    """Points of an ellipse from `start` to `stop`, in turns; 0 is to the right, 0.25 down, 0.5 left, 0.75 up."""
    t = np.linspace(start, stop, n) * 2 * math.pi
    return np.stack([cx + rx * np.cos(t), cy + ry * np.sin(t)], 1)


def points(*xy: tuple[float, float]) -> Points:
    """Points from coordinate pairs."""
    return np.asarray(xy, dtype=np.float64)


class Canvas:
    """A square image. Each shape is placed by turning it about the origin, moving it, and zooming about the image's middle."""

    def __init__(self, background: Colour) -> None:
        self._side = SIDE_PX * _OVERSAMPLING
        self.image = Image.new("RGB", (self._side, self._side), background)
        self._draw = ImageDraw.Draw(self.image)
        self._cos, self._sin, self._at, self._zoom = 1.0, 0.0, (0.0, 0.0), 1.0

    def place(self, at: tuple[float, float], *, degrees: float = 0.0, zoom: float = 1.0) -> None:
        """Let the coordinates of the shapes to come start at `at`, turned by `degrees` clockwise."""
        self._cos, self._sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        self._at, self._zoom = at, zoom

    def polygon(self, shape: Points, colour: Colour) -> None:
        """A filled polygon."""
        self._draw.polygon(self._pixels(shape), fill=colour)

    def ellipse(self, cx: float, cy: float, rx: float, ry: float, colour: Colour) -> None:
        """A filled ellipse."""
        self.polygon(arc(cx, cy, rx, ry), colour)

    def line(self, shape: Points, colour: Colour, width: float) -> None:
        """A line with round ends; `width` as a share of the side."""
        pixels = self._pixels(shape)
        width_px = max(1, round(width * self._side * self._zoom))
        self._draw.line(pixels, fill=colour, width=width_px, joint="curve")
        r = width_px / 2
        for x, y in (pixels[0], pixels[-1]):
            self._draw.ellipse((x - r, y - r, x + r, y + r), fill=colour)

    def shade(self, shape: Points, lit: Points, colour: Colour, share: float) -> None:
        """Mix `colour` into the part of `shape` that lies outside `lit`, with a soft edge."""
        inside = Image.new("L", self.image.size, 0)
        ImageDraw.Draw(inside).polygon(self._pixels(shape), fill=round(255 * share))
        small = (self._side // 8, self._side // 8)
        outside = Image.new("L", small, 255)
        ImageDraw.Draw(outside).polygon([(x / 8, y / 8) for x, y in self._pixels(lit)], fill=0)
        outside = outside.filter(ImageFilter.GaussianBlur(1.5)).resize(self.image.size, Image.Resampling.BILINEAR)
        inside.paste(0, mask=outside.point([255 - v for v in range(256)]))
        self.image.paste(colour, mask=inside)

    def finish(self, *, slope: float = 0.0) -> NDArray[np.uint8]:
        """The image, shape (128, 128, 3); `slope` darkens it towards the right by that share, and brightens the left."""
        small: NDArray[Any] = np.asarray(self.image.reduce(_OVERSAMPLING), dtype=np.float32)
        if slope:
            small = small * (1 - slope * np.linspace(-1, 1, SIDE_PX, dtype=np.float32))[None, :, None]
        image: NDArray[np.uint8] = np.clip(small, 0, 255).astype(np.uint8)
        return image

    def _pixels(self, shape: Points) -> list[tuple[float, float]]:
        x = shape[:, 0] * self._cos - shape[:, 1] * self._sin + self._at[0]
        y = shape[:, 0] * self._sin + shape[:, 1] * self._cos + self._at[1]
        x, y = ((v - 0.5) * self._zoom + 0.5 for v in (x, y))
        return list(zip((x * self._side).tolist(), (y * self._side).tolist(), strict=True))
