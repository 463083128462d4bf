"""Makes docs/training.png: the training screen of a real run, cell by cell, as a terminal draws it.

python docs/make_screenshot.py RUN docs/training.png [--size 120x36] [--screen training] [--font FILE.ttf]
"""

from __future__ import annotations

import argparse
import asyncio
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

os.environ["TEXTUAL_COLOR_SYSTEM"] = "truecolor"

from rich.cells import cell_len
from rich.style import Style
from textual.strip import Strip

from loratui.engine.runs.directory import loratui_home, open_run
from loratui.tui.app import LoratuiApp

FONT = "/usr/share/fonts/truetype/dejavu/DejaVuSansMono.ttf"
FONT_SIZE = 15
MARGIN = 12
_BLOCKS = {"▀": (0.0, 0.5), **{block: (1 - eighths / 8, 1.0) for eighths, block in enumerate("▁▂▃▄▅▆▇█", 1)}}
"""Upper and lower edge of characters that are drawn as boxes, since fonts leave gaps between them."""


async def strips(run: str, screen: str, width: int, height: int) -> list[Strip]:
    """What stands on the screen, line by line."""
    home = loratui_home()
    app = LoratuiApp(home, screen, open_run(home, run))
    async with app.run_test(size=(width, height)) as pilot:
        await pilot.pause(3.0)
        return list(app.screen._compositor.render_strips())


def draw(lines: Sequence[Strip], font_file: str) -> Image.Image:
    """The lines as an image."""
    font = ImageFont.truetype(font_file, FONT_SIZE)
    bold = ImageFont.truetype(font_file.replace(".ttf", "-Bold.ttf"), FONT_SIZE)
    ascent, descent = font.getmetrics()
    wide, high = round(font.getlength("M")), ascent + descent
    columns = max(line.cell_length for line in lines)
    ground = (0x12, 0x12, 0x12)
    image = Image.new("RGB", (columns * wide + 2 * MARGIN, len(lines) * high + 2 * MARGIN), ground)
    canvas = ImageDraw.Draw(image)
    for y, line in enumerate(lines):
        top = MARGIN + y * high
        for x, character, style in cells(line):
            left = MARGIN + x * wide
            front, back = colours(style, ground)
            canvas.rectangle((left, top, left + wide - 1, top + high - 1), fill=back)
            if character in _BLOCKS:
                upper, lower = _BLOCKS[character]
                edges = top + round(upper * high), top + round(lower * high) - 1
                canvas.rectangle((left, edges[0], left + wide - 1, edges[1]), fill=front)
            elif 0x2800 < ord(character) <= 0x28FF:
                draw_braille(canvas, ord(character) - 0x2800, (left, top, wide, high), front)
            elif character.strip():
                canvas.text((left, top), character, font=bold if style and style.bold else font, fill=front)
    return image


def draw_braille(canvas: ImageDraw.ImageDraw, bits: int, box: tuple[int, int, int, int], colour: tuple[int, int, int]) -> None:
    """The dots of a braille character, which few fonts have."""
    left, top, wide, high = box
    for row, pair in enumerate(((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))):
        for column, bit in enumerate(pair):
            if bits & bit:
                x, y = left + (column + 0.5) * wide / 2, top + (row + 0.5) * high / 4
                canvas.ellipse((x - 1.3, y - 1.3, x + 1.3, y + 1.3), fill=colour)


def cells(line: Strip) -> Iterator[tuple[int, str, Style | None]]:
    """Column, character and style of each character of a line."""
    x = 0
    for text, style, _ in line:
        for character in text:
            yield x, character, style
            x += cell_len(character)


def colours(style: Style | None, ground: tuple[int, int, int]) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """Text colour and ground of a style."""
    front = tuple(style.color.get_truecolor()) if style and style.color else (0xD7, 0xD7, 0xD7)
    back = tuple(style.bgcolor.get_truecolor()) if style and style.bgcolor else ground
    if style and style.reverse:
        front, back = back, front
    # Pillow gives pixels as any value.
    return front, back  # type: ignore[return-value]


def main() -> None:
    """Writes the image."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run")
    parser.add_argument("out", type=Path)
    parser.add_argument("--size", default="120x36")
    parser.add_argument("--screen", default="training")
    parser.add_argument("--font", default=FONT)
    args = parser.parse_args()
    width, height = map(int, args.size.split("x"))
    lines = asyncio.run(strips(args.run, args.screen, width, height))
    draw(lines, args.font).quantize(128).save(args.out, optimize=True)


if __name__ == "__main__":
    main()
