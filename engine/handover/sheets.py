"""Images made small for a page, and contact sheets of a table as PNG."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from typing import TYPE_CHECKING

from loratui.engine.handover.grids import Grid

if TYPE_CHECKING:
    from PIL.Image import Image

SIDE_PX = 384
"""Longest side of an image on the page and on a sheet."""
MOST_SHEET_PX = 60_000_000
"""Of a sheet: a larger table gets smaller images."""
_QUALITY = 82
_GAP, _LINE = 8, 20
_PAPER, _INK, _FAINT, _MARK = (255, 255, 255), (20, 20, 20), (110, 110, 110), (10, 130, 70)


def small(image: Image, side: int = SIDE_PX) -> Image:
    """The image with at most so long a side."""
    from PIL import Image as Pillow

    if max(image.size) <= side:
        return image
    scale = side / max(image.size)
    return image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))), Pillow.Resampling.LANCZOS)


def data_address(image: Image) -> str:
    """The image within an address, as WebP, which every browser of the last years shows."""
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=_QUALITY)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def contact_sheet(grid: Grid, images: Mapping[str, Image]) -> bytes:
    """A table of images with its words, as PNG without metadata; `images` by their paths. Missing ones are empty fields."""
    from PIL import Image as Pillow
    from PIL import ImageDraw, ImageFont

    columns, rows = len(grid.columns), len(grid.rows)
    widest, highest = (max((image.size[axis] for image in images.values()), default=64) for axis in (0, 1))
    scale = min(1.0, (MOST_SHEET_PX / max(1, columns * rows * widest * highest)) ** 0.5)
    wide, high = max(120, round(widest * scale)), max(1, round(highest * scale))
    font, heading = ImageFont.load_default(13), ImageFont.load_default(17)
    size = (_GAP + columns * (wide + _GAP), 2 * _GAP + 2 * _LINE + rows * (high + 2 * _LINE + _GAP))
    sheet = Pillow.new("RGB", size, _PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((_GAP, _GAP), _fitted(grid.title, heading, size[0] - 2 * _GAP), _INK, heading)
    for at, words in enumerate(grid.columns):
        draw.text((_GAP + at * (wide + _GAP), _GAP + _LINE + 4), _fitted(words, font, wide), _INK, font)
    for down, row in enumerate(grid.rows):
        top = _GAP + 2 * _LINE + _GAP + down * (high + 2 * _LINE + _GAP)
        draw.text((_GAP, top), _fitted(row.title, font, size[0] - 2 * _GAP), _FAINT, font)
        for at, cell in enumerate(row.cells):
            left = _GAP + at * (wide + _GAP)
            if cell is None or (image := images.get(cell.path)) is None:
                draw.rectangle((left, top + _LINE, left + wide, top + _LINE + high), outline=(220, 220, 220))
                continue
            sheet.paste(small(image, max(wide, high)) if scale < 1 else image, (left, top + _LINE))
            if cell.best:
                draw.rectangle((left - 3, top + _LINE - 3, left + wide + 2, top + _LINE + high + 2), outline=_MARK, width=3)
            draw.text((left, top + _LINE + high + 2), _fitted(cell.below, font, wide), _FAINT, font)
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG", optimize=False, compress_level=6)
    return buffer.getvalue()


def _fitted(words: str, font: object, wide: int) -> str:
    """As many of the words as fit, with an ellipsis where there are more."""
    from PIL.ImageFont import FreeTypeFont, ImageFont

    assert isinstance(font, (FreeTypeFont, ImageFont))
    words = words.splitlines()[0] if words else ""
    if font.getlength(words) <= wide:
        return words
    while words and font.getlength(words + "...") > wide:
        words = words[:-1]
    return words + "..."
