"""What an image costs to decode, told from its header and its length before it is decoded, and where that is too much."""

from __future__ import annotations

import re
from io import BufferedReader
from typing import TYPE_CHECKING

from loratui.engine import words
from loratui.engine.limits import IMAGE_FILE_BYTES

if TYPE_CHECKING:
    from PIL.Image import Image

MOST_PIXELS = 128_000_000
"""Of an image that can only be decoded whole."""
MOST_JPEG_PIXELS = 256_000_000
"""Of a JPEG, which is decoded at a half, a quarter or an eighth where it is large: phones make 200 megapixels."""
WHOLE_PIXELS = 32_000_000
"""Above it an image is read at a half, a quarter or an eighth of its size: no training size needs more."""
LONGEST_SIDE = 65_535
LONGEST_SHAPE = 100
"""Longer side of a training image divided by the shorter; what is cut from a strip like that shows nothing."""
MOST_SCANS = 64
"""Passes in which a JPEG may come: progressive ones have about 10, and each is decoded over the whole image."""

_SMALL_BYTES = 1_000_000
"""Up to this length, so many pixels are decoded and no more: flat colour shrinks a thousandfold, and so do bombs."""
_SMALL_PIXELS = {"JPEG": 25_000_000, "WEBP": 12_600_000, "AVIF": 12_600_000, "HEIF": 12_600_000}
"""By what the decoder holds for each pixel; JPEG only if it is progressive."""
_SMALL_PIXELS_ELSE = 16_800_000
_BEYOND = 4
"""Times as many for each byte of a longer file."""

_MARKER = re.compile(rb"\xff+([^\x00\xd0-\xd7\xff])", re.DOTALL)
"""What ends a run of coded pixels in a JPEG: a marker that is neither an escape nor a restart."""
_BEGIN, _SCAN, _END = b"\xff\xd8", 0xDA, 0xD9


def too_large(image: Image, size: int) -> str:
    """Why an opened image from a file of `size` bytes is not decoded; empty if it may be."""
    width, height = image.size
    pixels, kind = width * height, "JPEG" if image.format == "MPO" else image.format or ""
    if size > IMAGE_FILE_BYTES:
        return f"is larger than {words.size(IMAGE_FILE_BYTES)}"
    if not pixels:
        return "has no pixels"
    if max(width, height) > LONGEST_SIDE:
        return f"has {width} × {height} px, more than {LONGEST_SIDE} px along one side"
    most = MOST_JPEG_PIXELS if kind == "JPEG" else MOST_PIXELS
    if pixels > most:
        return f"has {width} × {height} px, more than {most // 1_000_000} megapixels"
    if kind == "JPEG" and not image.info.get("progressive"):
        return ""
    small = _SMALL_PIXELS.get(kind, _SMALL_PIXELS_ELSE)
    if pixels > (small if size <= _SMALL_BYTES else small * _BEYOND * size / _SMALL_BYTES):
        return f"has {width} × {height} px in only {words.size(size)}, as no photo has: save it with fewer than {small // 1_000_000} megapixels"
    return ""


def too_long(width: int, height: int) -> str:
    """Why an image of this shape is not trained on; empty if it may be."""
    if max(width, height) <= LONGEST_SHAPE * min(width, height):
        return ""
    return f"is a strip of {width} × {height} px: its longer side is more than {LONGEST_SHAPE} times the shorter"


def shrinks_by(width: int, height: int) -> int:
    """By what an image is divided as it is read: 1, 2, 4 or 8."""
    return next((by for by in (1, 2, 4) if width * height <= WHOLE_PIXELS * by * by), 8)


def too_many_scans(image: Image, file: BufferedReader) -> str:
    """Why an opened JPEG is not decoded; empty if it may be. Reads the file whole only where it comes in several scans."""
    if image.format not in ("JPEG", "MPO"):
        return ""
    place = file.tell()
    try:
        if not image.info.get("progressive") and _first_scan(file) == getattr(image, "layers", 0):
            return ""
        file.seek(0)
        data = file.read()
    finally:
        file.seek(place)
    scans, at = 0, len(_BEGIN)
    while (found := _MARKER.search(data, at)) and found[1][0] != _END:
        scans += found[1][0] == _SCAN
        if scans > MOST_SCANS:
            return f"is a JPEG in more than {MOST_SCANS} passes, which only keep decoders busy: save it again"
        at = found.end() + int.from_bytes(data[found.end() : found.end() + 2], "big")
    return ""


def _first_scan(file: BufferedReader) -> int:
    """How many channels the first scan holds; 0 if what stands before it is out of order."""
    at = len(_BEGIN)
    while True:
        file.seek(at)
        head = file.read(5)
        if len(head) < 5 or head[0] != 0xFF:
            return 0
        if head[1] == _SCAN:
            return head[4]
        at += 2 + int.from_bytes(head[2:4], "big")
