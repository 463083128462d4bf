"""Draws a `Portrait` as an image of 128 × 128 px: a large head with large eyes, so that a tiny model can hold every feature."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from loratui.presets.bases.make.canvas import Canvas, Points, arc, blend, contrast, points
from loratui.presets.bases.make.people import CLOTH_COLOURS, EYES, FRAMES, HAIRS, SKINS, WALLS, Colour, Portrait
from loratui.presets.bases.make.scenery import draw_clothing, draw_scene

_EYE_X = 0.094
_BROW_Y = -0.116
_MOUTH_Y = 0.152
_LENS = 0.077
_NECK = (0.5, 0.71)
"""The point about which a head is tilted."""

_FACES = {
    # half width, half height, exponent of the superellipse's lower half, how far the chin narrows
    "oval": (0.194, 0.256, 2.0, 0.24),
    "round": (0.226, 0.234, 2.0, 0.0),
    "square": (0.210, 0.248, 4.2, 0.0),
    "long": (0.170, 0.280, 2.6, 0.05),
}


@dataclass(frozen=True)
class _Head:
    """Measures and colours that several parts of a head share."""

    portrait: Portrait
    width: float
    height: float
    outline: Points
    skin: Colour
    hair: Colour
    shadow: Colour
    strand: Colour


def draw(portrait: Portrait) -> NDArray[np.uint8]:
    """The image of a portrait, shape (128, 128, 3); the same portrait gives the same bytes."""
    canvas = Canvas(WALLS.get(portrait.background, (200, 200, 200)))
    if portrait.background not in WALLS:
        draw_scene(canvas, portrait.background, np.random.default_rng(portrait.seed))
    head = _measure(portrait)
    dx, dy = portrait.shift

    def on_head() -> None:
        angle = math.radians(portrait.tilt_degrees)
        up = 0.265
        at = (_NECK[0] + dx + up * math.sin(angle), _NECK[1] + dy - up * math.cos(angle))
        canvas.place(at, degrees=portrait.tilt_degrees, zoom=portrait.zoom)

    on_head()
    _draw_hair_behind(canvas, head)
    canvas.place((dx * 0.6 + 0.5, dy), zoom=portrait.zoom)
    draw_clothing(canvas, portrait.clothing, CLOTH_COLOURS[portrait.clothing_colour], head.shadow, wide=portrait.sex == "man")
    on_head()
    _draw_face(canvas, head)
    _draw_eyes(canvas, head)
    _draw_nose(canvas, head)
    _draw_mouth_and_beard(canvas, head)
    _draw_hair_in_front(canvas, head)
    _draw_brows(canvas, head)
    _draw_glasses(canvas, head)
    return canvas.finish(slope={"left": 0.2, "right": -0.2, "soft": 0.0}[portrait.light])


def _measure(portrait: Portrait) -> _Head:
    width, height, exponent, narrowing = _FACES[portrait.face]
    width, height = width + 0.006 * portrait.build[0], height + 0.006 * portrait.build[1]
    turn = np.linspace(0, 2 * math.pi, 72, endpoint=False)
    c, s = np.cos(turn), np.sin(turn)
    power = np.where(s > 0, 2 / exponent, 1.0)
    x = width * np.sign(c) * np.abs(c) ** power
    y = height * np.sign(s) * np.abs(s) ** power
    x = x * (1 - narrowing * np.clip(y / height, 0, 1) ** 2)
    skin, hair = SKINS[portrait.skin], HAIRS[portrait.hair]
    return _Head(
        portrait, width, height, np.stack([x, y], 1), skin, hair, blend(skin, (60, 20, 20), 0.28), contrast(hair, 0.25)
    )


def _draw_hair_behind(canvas: Canvas, head: _Head) -> None:
    w, h, style = head.width, head.height, head.portrait.style
    if style in ("long", "bob"):
        crown = arc(0, -0.02, w + 0.055, h + 0.035, 0.5, 1.0)
        low, spread = (0.42, 0.075) if style == "long" else (0.185, 0.082)
        ends = points((w + spread, low - 0.07), (w + 0.02, low), (-w - 0.02, low), (-w - spread, low - 0.07))
        canvas.polygon(np.concatenate([crown, ends]), head.hair)
    elif style == "curly":
        for turn in np.linspace(0.44, 1.06, 13):
            x, y = arc(0, -0.04, w + 0.032, h + 0.005, turn, turn, 1)[0]
            canvas.ellipse(x, y, 0.066, 0.066, head.hair)
    elif style == "bun":
        canvas.ellipse(0, -h - 0.07, 0.088, 0.07, head.hair)
        canvas.line(arc(0, -h - 0.07, 0.075, 0.05, 0.1, 0.4), head.strand, 0.012)


def _draw_face(canvas: Canvas, head: _Head) -> None:
    portrait, w = head.portrait, head.width
    for side in (-1, 1):
        canvas.ellipse(side * (w + 0.004), 0.02, 0.032, 0.052, head.skin)
        canvas.ellipse(side * (w + 0.008), 0.02, 0.015, 0.03, head.shadow)
    canvas.polygon(head.outline, head.skin)
    if portrait.light != "soft":
        dark_side = 1 if portrait.light == "left" else -1
        canvas.shade(head.outline, head.outline * (1.1, 1.15) + (-dark_side * w * 0.5, 0), head.shadow, 0.85)
    for side in (-1, 1):
        canvas.ellipse(side * w * 0.66, 0.115, 0.034, 0.022, blend(head.skin, (230, 90, 90), 0.22))
    if portrait.freckles == "yes":
        colour = blend(head.skin, (104, 40, 8) if sum(head.skin) > 220 else (214, 150, 100), 0.66)
        stretch = w / 0.2
        for side in (-1, 1):
            for x, y in ((0.072, 0.102), (0.1, 0.094), (0.13, 0.1), (0.088, 0.128), (0.117, 0.13), (0.146, 0.118)):
                canvas.ellipse(side * x * stretch, y, 0.0098, 0.0098, colour)
        for x in (-0.03, 0.0, 0.03):
            canvas.ellipse(x, 0.045 + abs(x) * 0.4, 0.009, 0.009, colour)


def _draw_eyes(canvas: Canvas, head: _Head) -> None:
    open_by = {"laughing": 0.029, "surprised": 0.045}.get(head.portrait.mood, 0.037)
    for side in (-1, 1):
        x = side * _EYE_X
        canvas.ellipse(x, 0, 0.052, open_by, (252, 252, 250))
        canvas.ellipse(x, 0, 0.031, min(0.031, open_by), EYES[head.portrait.eyes])
        canvas.ellipse(x, 0, 0.0125, 0.0125, (12, 12, 14))
        canvas.ellipse(x - 0.011, -0.011, 0.0075, 0.0075, (255, 255, 255))
        canvas.line(arc(x, 0, 0.053, open_by + 0.002, 0.52, 0.98, 16), (36, 24, 24), 0.0125)


def _draw_brows(canvas: Canvas, head: _Head) -> None:
    thickness, arch = {"thin": (0.011, 0.004), "thick": (0.029, 0.004), "arched": (0.016, 0.03)}[head.portrait.brows]
    lift = {"surprised": -0.012, "serious": 0.004}.get(head.portrait.mood, 0.0)
    slope = 0.008 if head.portrait.mood == "serious" else 0.0
    colour = blend(head.hair, (40, 28, 24), 0.5)
    for side in (-1, 1):
        inner, outer = (side * (_EYE_X - 0.05), _BROW_Y + slope), (side * (_EYE_X + 0.052), _BROW_Y - slope * 0.5 + arch * 0.5)
        middle = (side * (_EYE_X + 0.008), _BROW_Y - arch)
        canvas.line(points(inner, middle, outer) + np.array([0, lift + arch * 0.3]), colour, thickness)


def _draw_nose(canvas: Canvas, head: _Head) -> None:
    tip = 0.082 + 0.008 * head.portrait.build[2]
    colour = blend(head.skin, (50, 16, 16), 0.55)
    canvas.line(points((-0.01, 0.035), (-0.026, tip - 0.012), (-0.008, tip), (0.022, tip - 0.004)), colour, 0.0095)


def _draw_mouth_and_beard(canvas: Canvas, head: _Head) -> None:
    portrait = head.portrait
    hair = blend(head.hair, (20, 16, 14), 0.2)
    x = np.linspace(-1, 1, 17)
    if portrait.beard == "beard":
        low = head.outline[head.outline[:, 1] > 0.05]
        low = low[np.argsort(-low[:, 0])] * (1.03, 1.07)
        inner = points((-head.width * 0.78, 0.09), (-0.075, 0.108), (0.075, 0.108), (head.width * 0.78, 0.09))
        canvas.polygon(np.concatenate([low, inner]), hair)
    elif portrait.beard == "moustache":
        top, bottom = 0.118 - 0.014 * (1 - x**2), 0.136 - 0.006 * (1 - x**2)
        canvas.polygon(np.concatenate([np.stack([0.085 * x, top], 1), np.stack([0.09 * x[::-1], bottom], 1)]), hair)
    wide = 0.078 + 0.01 * portrait.build[3]
    lips = blend(head.skin, (196, 36, 56), 0.8 if portrait.sex == "woman" else 0.6)
    if portrait.mood == "serious":
        canvas.line(np.stack([wide * 0.72 * x, _MOUTH_Y + 0.006 + 0.004 * x**2], 1), lips, 0.017)
    elif portrait.mood == "smiling":
        canvas.line(np.stack([wide * x, _MOUTH_Y + 0.026 - 0.044 * x**2], 1), lips, 0.017)
    elif portrait.mood == "surprised":
        canvas.ellipse(0, _MOUTH_Y + 0.014, 0.036, 0.044, lips)
        canvas.ellipse(0, _MOUTH_Y + 0.014, 0.023, 0.031, (92, 14, 24))
    else:
        upper = np.stack([wide * 1.1 * x, _MOUTH_Y - 0.012 + 0.004 * x**2], 1)
        lower = np.stack([wide * 1.1 * x[::-1], _MOUTH_Y - 0.008 + 0.072 * (1 - x[::-1] ** 2)], 1)
        canvas.polygon(np.concatenate([upper, lower]), (116, 18, 30))
        teeth = np.concatenate([upper * (0.94, 1) + (0, 0.002), upper[::-1] * (0.84, 1) + (0, 0.024)])
        canvas.polygon(teeth, (252, 252, 250))
        canvas.line(np.concatenate([upper, lower, upper[:1]]), lips, 0.01)


def _draw_hair_in_front(canvas: Canvas, head: _Head) -> None:
    w, h, style = head.width, head.height, head.portrait.style
    if style == "bald":
        return
    if style == "spiky":
        x = np.linspace(-1, 1, 15)
        y = -h * np.sqrt(np.clip(1 - (0.96 * x) ** 2, 0, 1)) - np.where(np.arange(15) % 2 == 0, 0.0, 0.085)
        hairline = points((w - 0.012, -0.07), (w * 0.62, -0.175), (-w * 0.62, -0.175), (-w + 0.012, -0.07))
        canvas.polygon(np.concatenate([np.stack([x * (w + 0.02), y], 1), hairline]), head.hair)
        return
    thick, low = {"short": (0.034, -0.09), "long": (0.045, -0.03), "bob": (0.045, -0.03), "bun": (0.024, -0.08)}.get(
        style, (0.045, -0.06)
    )
    crown = arc(0, low * 0.4, w + thick * 0.75, h + thick + low * 0.4, 0.5, 1.0, 40)
    if head.portrait.fringe == "yes":
        edge = -0.148
        inner = points((w - 0.006, low), (w * 0.9, edge), (-w * 0.9, edge), (-w + 0.006, low))
    else:
        inner = arc(0, low, w - 0.01, h * 0.78 + low, 1.0, 0.5, 40)
    canvas.polygon(np.concatenate([crown, inner]), head.hair)
    if head.portrait.fringe == "yes":
        for k in np.linspace(-0.72, 0.72, 6):
            canvas.line(points((k * w * 0.9, -h * 0.9), (k * w, -0.155)), head.strand, 0.007)
    if style in ("long", "bob"):
        end = 0.34 if style == "long" else 0.16
        for side in (-1, 1):
            lock = points((w + 0.045, -0.08), (w - 0.02, -0.12), (w - 0.014, 0.04), (w + 0.004, end), (w + 0.075, end - 0.02))
            canvas.polygon(lock * (side, 1), head.hair)
            canvas.line(points((side * (w + 0.03), -0.06), (side * (w + 0.034), end - 0.03)), head.strand, 0.007)
    elif style == "curly":
        for turn in np.linspace(0.56, 0.94, 7):
            x, y = arc(0, -0.07, w - 0.008, h - 0.045, turn, turn, 1)[0]
            canvas.ellipse(x, y, 0.04, 0.036, head.hair)
            canvas.line(arc(x, y - 0.012, 0.02, 0.016, 0.5, 1.0, 8), head.strand, 0.007)


def _draw_glasses(canvas: Canvas, head: _Head) -> None:
    portrait = head.portrait
    if portrait.glasses == "none":
        return
    colour = FRAMES[portrait.frame]
    for side in (-1, 1):
        if portrait.glasses == "round":
            lens = arc(side * _EYE_X, 0, _LENS, _LENS, 0.0, 1.03, 42)
        else:
            corners = points((-1.04, -0.8), (1.04, -0.8), (1.04, 0.86), (-1.04, 0.86), (-1.04, -0.8), (1.04, -0.8))
            lens = corners * _LENS + (side * _EYE_X, 0)
        canvas.line(lens, colour, 0.0185)
        canvas.line(points((side * (_EYE_X + _LENS), -0.012), (side * (head.width + 0.012), -0.016)), colour, 0.014)
    canvas.line(points((-_EYE_X + _LENS, -0.012), (_EYE_X - _LENS, -0.012)), colour, 0.016)
