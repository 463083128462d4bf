"""Images and folders for tests of the dataset, drawn by formula: sharp, varied, and each fault by itself."""

from __future__ import annotations

import math
import random
import struct
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from loratui.engine.dataset.facts import Box, Face

PLACES = ("in a park", "on a beach", "in a kitchen", "at a lake", "in a street", "on a roof", "in a barn", "at night")
CLOTHES = ("red coat", "blue shirt", "green dress", "grey suit", "white blouse", "black jumper", "yellow scarf", "brown hat")


def drawn(seed: int, size: tuple[int, int] = (128, 128)) -> Image.Image:
    """A sharp, busy image; no two seeds look alike."""
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


def noise(seed: int, size: tuple[int, int], sigma: float) -> Image.Image:
    """Grey noise about the middle. PIL's own draws on from what the process has drawn before, so tests would depend on their order."""
    values = np.random.default_rng(seed).normal(128, sigma, size[::-1])
    return Image.fromarray(values.clip(0, 255).astype(np.uint8))


def photo_like(seed: int, size: tuple[int, int] = (512, 384)) -> Image.Image:
    """Soft light with sharp edges and a little grain, as a camera sees."""
    glow = Image.radial_gradient("L").resize(size)
    image = Image.blend(drawn(seed, size), Image.merge("RGB", (glow, glow, glow)), 0.25)
    grain = noise(seed, size, 6)
    return Image.blend(image, Image.merge("RGB", (grain, grain, grain)), 0.05)


def caption(at: int, trigger: str = "anafox", class_word: str = "woman") -> str:
    """A caption as a careful person writes it; no two of the first 64 are the same."""
    clothes, place = CLOTHES[at % len(CLOTHES)], PLACES[(at // len(CLOTHES) + at) % len(PLACES)]
    return f"a photo of {trigger} {class_word}, wearing a {clothes}, {place}, {'smiling' if at % 3 else 'serious'}"


def clean_set(folder: Path, count: int = 12, size: tuple[int, int] = (128, 128)) -> Path:
    """A folder of captioned images with nothing wrong."""
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

    def detect(self, image: Image.Image) -> list[Face]:
        """One face around each connected run of magenta columns."""
        width, height = image.size
        pixels = image.load()
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


def display_p3() -> bytes:
    """An ICC profile with the primaries of Display P3, as phones embed it, and a gamma of 2.2."""

    def numbers(*values: float) -> bytes:
        return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(value * 65536) for value in values))

    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(2.2 * 256)) + b"\0\0"
    white = (0.9642, 1.0, 0.8249)
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", 3) + b"P3\0" + bytes(79),
        b"cprt": b"text\0\0\0\0none\0\0\0\0",
        b"wtpt": numbers(*white),
        b"rXYZ": numbers(0.51512, 0.24120, -0.00105),
        b"gXYZ": numbers(0.29198, 0.69225, 0.04189),
        b"bXYZ": numbers(0.15710, 0.06657, 0.78407),
        **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve),
    }
    table, data, start = b"", b"", 128 + 4 + 12 * len(tags)
    for name, body in tags.items():
        body += bytes(-len(body) % 4)
        table += struct.pack(">4sII", name, start + len(data), len(body))
        data += body
    size = start + len(data)
    head = struct.pack(">I4sI4s4s4s12x4s", size, b"lcms", 0x02100000, b"mntr", b"RGB ", b"XYZ ", b"acsp")
    head = head.ljust(68, b"\0") + struct.pack(">3i", *(round(value * 65536) for value in white))
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + data
