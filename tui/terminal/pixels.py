"""Images as escape sequences for terminals with pixels: kitty's protocol, iTerm2's, and sixel. Loads Pillow on use."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

_KITTY_CHUNK = 4096
_RUN = re.compile(rb"(.)\1{3,}", re.DOTALL)
_SIXEL_COLOURS = 255


def kitty(image: Image.Image, columns: int, rows: int) -> Iterator[bytes]:
    """Escape sequences that draw an image at the cursor over so many cells, without asking for an answer.

    https://sw.kovidgoyal.net/kitty/graphics-protocol/
    """
    data = base64.standard_b64encode(_encoded(image, "PNG"))
    control = f"a=T,f=100,q=2,c={columns},r={rows},C=1"
    for start in range(0, len(data), _KITTY_CHUNK):
        more = 1 if start + _KITTY_CHUNK < len(data) else 0
        keys = f"{control},m={more}" if start == 0 else f"m={more},q=2"
        yield b"\x1b_G" + keys.encode() + b";" + data[start : start + _KITTY_CHUNK] + b"\x1b\\"


KITTY_FORGET = b"\x1b_Ga=d,d=A,q=2\x1b\\"
"""Deletes every image of this screen, and its data."""


def iterm(image: Image.Image, columns: int, rows: int) -> Iterator[bytes]:
    """The escape sequence of iTerm2, WezTerm and others. https://iterm2.com/documentation-images.html"""
    data = _encoded(image, "JPEG")
    keys = f"inline=1;size={len(data)};width={columns};height={rows};preserveAspectRatio=1"
    yield b"\x1b]1337;File=" + keys.encode() + b":" + base64.standard_b64encode(data) + b"\x07"


def sixel(image: Image.Image) -> Iterator[bytes]:
    """A sixel image of up to 255 colours, pixel for pixel; each band of six rows names only its own colours.

    VT330/VT340 Programmer Reference Manual, chapter 14.
    """
    from PIL import Image as images

    few = image.convert("RGB").quantize(_SIXEL_COLOURS, dither=images.Dither.FLOYDSTEINBERG)
    width, height = few.size
    palette = few.getpalette() or []
    yield b'\x1bP0;1q"1;1;%d;%d' % (width, height)
    pixels = few.tobytes()
    for index in sorted(set(pixels)):
        r, g, b = (round(channel * 100 / 255) for channel in palette[3 * index : 3 * index + 3])
        yield b"#%d;2;%d;%d;%d" % (index, r, g, b)
    for top in range(0, height, 6):
        yield _band(pixels[top * width : (top + 6) * width], width)
    yield b"\x1b\\"


def through_tmux(sequence: bytes) -> bytes:
    """A sequence that tmux passes to the terminal around it (its option `allow-passthrough`)."""
    return b"\x1bPtmux;" + sequence.replace(b"\x1b", b"\x1b\x1b") + b"\x1b\\"


def fitted(image: Image.Image, width: int, height: int) -> Image.Image:
    """The image fitted into so many pixels; small images grow up to four times."""
    from PIL import Image

    scale = min(width / image.width, height / image.height, 4.0)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    return image.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)


def _band(pixels: bytes, width: int) -> bytes:
    """Up to six rows of indices as one line of sixels for each colour."""
    columns = {index: bytearray(b"?" * width) for index in dict.fromkeys(pixels)}
    for y in range(len(pixels) // width):
        bit = 1 << y
        for x, index in enumerate(pixels[y * width : (y + 1) * width]):
            columns[index][x] += bit
    parts = [b"#%d" % index + _RUN.sub(_repeated, bytes(line).rstrip(b"?")) for index, line in columns.items()]
    return b"$".join(parts) + b"-"


def _repeated(match: re.Match[bytes]) -> bytes:
    return b"!%d%s" % (len(match.group()), match.group(1))


def _encoded(image: Image.Image, format: str) -> bytes:
    out = io.BytesIO()
    image.save(out, format, **({"quality": 88} if format == "JPEG" else {"compress_level": 6}))
    return out.getvalue()
