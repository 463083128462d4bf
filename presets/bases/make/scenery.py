"""What surrounds a face in a portrait: the scene behind it and the clothes."""

from __future__ import annotations

import numpy as np

from loratui.presets.bases.make.canvas import Canvas, Points, arc, contrast, points
from loratui.presets.bases.make.people import Colour


def draw_clothing(canvas: Canvas, kind: str, colour: Colour, neck: Colour, *, wide: bool) -> None:
    """Neck, shoulders and one of the clothes; the coordinates' x starts at the neck's middle."""
    shoulder, dark = (0.40 if wide else 0.35), contrast(colour, 0.28)
    canvas.polygon(points((-0.08, 0.6), (0.08, 0.6), (0.09, 0.85), (-0.09, 0.85)), neck)
    half = points((0.1, 0.745), (shoulder - 0.07, 0.8), (shoulder, 0.87), (shoulder + 0.03, 1.3))
    canvas.polygon(np.concatenate([half, half[::-1] * (-1, 1)]), colour)
    if kind == "t-shirt":
        canvas.polygon(arc(0, 0.74, 0.125, 0.095, 0.0, 0.5), neck)
        canvas.line(arc(0, 0.74, 0.125, 0.095, 0.0, 0.5), dark, 0.012)
    elif kind == "sweater":
        canvas.polygon(points((-0.1, 0.705), (0.1, 0.705), (0.12, 0.82), (-0.12, 0.82)), colour)
        for y in (0.72, 0.745, 0.77, 0.795):
            canvas.line(points((-0.1, y), (0.1, y)), dark, 0.008)
    elif kind == "shirt":
        canvas.polygon(points((-0.09, 0.74), (0.09, 0.74), (0, 0.88)), neck)
        flap = points((0.13, 0.715), (0.075, 0.725), (0, 0.875), (0.085, 0.915))
        for side in (-1, 1):
            canvas.polygon(flap * (side, 1), dark)
        canvas.line(points((0, 0.88), (0, 1.2)), dark, 0.012)
    else:
        canvas.ellipse(0, 0.785, 0.205, 0.095, dark)
        canvas.ellipse(0, 0.75, 0.115, 0.075, neck)
        cord = (238, 238, 238) if sum(colour) < 620 else (90, 90, 90)
        for side in (-1, 1):
            canvas.line(points((side * 0.06, 0.87), (side * 0.066, 0.985)), cord, 0.014)


def draw_scene(canvas: Canvas, name: str, rng: np.random.Generator) -> None:
    """A landscape over the whole image; `rng` moves its parts."""
    canvas.place((0.0, 0.0))
    {"beach": _beach, "forest": _forest, "city": _city, "mountains": _mountains}[name](canvas, rng)


def _box(x0: float, y0: float, x1: float, y1: float) -> Points:
    return points((x0, y0), (x1, y0), (x1, y1), (x0, y1))


def _beach(canvas: Canvas, rng: np.random.Generator) -> None:
    canvas.polygon(_box(0, 0, 1, 0.5), (140, 206, 246))
    canvas.polygon(_box(0, 0.5, 1, 0.7), (38, 130, 190))
    canvas.polygon(_box(0, 0.7, 1, 1), (238, 214, 158))
    x = rng.uniform(0.08, 0.18)
    canvas.ellipse(x if rng.random() < 0.5 else 1 - x, 0.11, 0.075, 0.075, (255, 240, 150))


def _forest(canvas: Canvas, rng: np.random.Generator) -> None:
    canvas.polygon(_box(0, 0, 1, 1), (74, 128, 74))
    canvas.polygon(_box(0, 0.8, 1, 1), (66, 92, 46))
    for k in range(6):
        x = (k + rng.uniform(0.3, 0.7)) / 6
        canvas.polygon(_box(x - 0.02, 0.3, x + 0.02, 0.85), (88, 60, 38))
        canvas.polygon(points((x - 0.11, 0.52), (x + 0.11, 0.52), (x, rng.uniform(0.02, 0.1))), (30, 84, 48))


def _city(canvas: Canvas, rng: np.random.Generator) -> None:
    canvas.polygon(_box(0, 0, 1, 1), (26, 30, 66))
    for k in range(6):
        x, top = k / 6, rng.uniform(0.12, 0.4)
        canvas.polygon(_box(x, top, x + 0.15, 1), (52, 56, 92))
        for y in np.arange(top + 0.05, 0.9, 0.1):
            for window in (x + 0.025, x + 0.085):
                if rng.random() < 0.75:
                    canvas.polygon(_box(window, float(y), window + 0.04, float(y) + 0.05), (250, 220, 120))


def _mountains(canvas: Canvas, rng: np.random.Generator) -> None:
    canvas.polygon(_box(0, 0, 1, 1), (176, 214, 240))
    canvas.polygon(_box(0, 0.75, 1, 1), (110, 160, 90))
    for middle in (0.1, 0.45, 0.85):
        x, top = middle + rng.uniform(-0.08, 0.08), rng.uniform(0.12, 0.28)
        snow = top + (0.78 - top) * 0.25
        canvas.polygon(points((x - 0.32, 0.78), (x + 0.32, 0.78), (x, top)), (104, 112, 136))
        canvas.polygon(points((x - 0.08, snow), (x + 0.08, snow), (x, top)), (246, 248, 250))
