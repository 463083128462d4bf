"""Pictures and folders for tests of the data set, drawn by formula: sharp, varied, and each fault by itself."""

from __future__ import annotations

import math
import random
from pathlib import Path

from PIL import Image, ImageDraw

from loratui.engine.dataset.facts import Box, Face

PLACES = ("in a park", "on a beach", "in a kitchen", "at a lake", "in a street", "on a roof", "in a barn", "at night")
CLOTHES = ("red coat", "blue shirt", "green dress", "grey suit", "white blouse", "black jumper", "yellow scarf", "brown hat")


def drawn(seed: int, size: tuple[int, int] = (128, 128)) -> Image.Image:
    """A sharp, busy picture; no two seeds look alike."""
    picks = random.Random(seed)
    image = Image.new("RGB", size, tuple(picks.randrange(40, 216) for _ in range(3)))
    draw = ImageDraw.Draw(image)
    width, height = size
    for _ in range(40):
        x, y = picks.randrange(-width // 8, width), picks.randrange(-height // 8, height)
        w, h = picks.randrange(4, width // 2), picks.randrange(4, height // 2)
        colour = tuple(picks.randrange(256) for _ in range(3))
        (draw.rectangle if picks.random() < 0.5 else draw.ellipse)((x, y, x + w, y + h), fill=colour)
    return image


def photo_like(seed: int, size: tuple[int, int] = (512, 384)) -> Image.Image:
    """Soft light with sharp edges and a little grain, as a camera sees."""
    width, height = size
    glow = Image.radial_gradient("L").resize(size)
    picture = Image.blend(drawn(seed, size), Image.merge("RGB", (glow, glow, glow)), 0.25)
    grain = Image.effect_noise((width, height), 6).convert("L")
    return Image.blend(picture, Image.merge("RGB", (grain, grain, grain)), 0.05)


def caption(at: int, trigger: str = "anafox", class_word: str = "woman") -> str:
    """A caption as a careful person writes it; no two of the first 64 are the same."""
    clothes, place = CLOTHES[at % len(CLOTHES)], PLACES[(at // len(CLOTHES) + at) % len(PLACES)]
    return f"a photo of {trigger} {class_word}, wearing a {clothes}, {place}, {'smiling' if at % 3 else 'serious'}"


def clean_set(folder: Path, count: int = 12, size: tuple[int, int] = (128, 128)) -> Path:
    """A folder of captioned pictures with nothing wrong."""
    folder.mkdir(parents=True, exist_ok=True)
    for at in range(count):
        drawn(at, size).save(folder / f"{at:02d}.png")
        (folder / f"{at:02d}.txt").write_text(caption(at), encoding="utf-8")
    return folder


def wide_grey(size: tuple[int, int] = (64, 64)) -> Image.Image:
    """A ramp of 16-bit greys."""
    width, height = size
    image = Image.new("I;16", size)
    image.putdata([math.floor(65535 * (at % width) / (width - 1)) for at in range(width * height)])
    return image


class StandInFaceDetector:
    """Stands in for a real face detector in tests: every pure magenta rectangle counts as a face."""

    def detect(self, picture: Image.Image) -> list[Face]:
        """One face around each connected run of magenta columns."""
        width, height = picture.size
        pixels = picture.load()
        assert pixels is not None
        columns = [any(pixels[x, y] == (255, 0, 255) for y in range(height)) for x in range(width)]
        faces: list[Face] = []
        start = None
        for x, found in enumerate([*columns, False]):
            if found and start is None:
                start = x
            elif not found and start is not None:
                rows = [y for y in range(height) if pixels[start, y] == (255, 0, 255)]
                faces.append(Face(Box(start / width, rows[0] / height, x / width, (rows[-1] + 1) / height), 0.9))
                start = None
        return faces
