"""The chunks of a PNG: whether they are all there, and a view of the file with those alone that say how it looks.

Programs keep whole work flows in a PNG's texts, of any length; Pillow refuses what is above a limit. And what tells an
image's orientation may stand behind its pixels, where Pillow sees it only after decoding.
"""

from __future__ import annotations

import io
import os
import zlib
from bisect import bisect_right
from collections.abc import Set
from dataclasses import dataclass
from io import BufferedReader
from itertools import accumulate

_SIGNATURE_BYTES = 8
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_ORIENTING = (b"XML:com.adobe.xmp", b"Raw profile type exif")
"""Keywords of texts that Pillow looks into for the orientation."""
_LONGEST_KEYWORD = 80
_SHORT_TEXT = 4096
"""Up to this length a plain text before the pixels is left where it is."""
_LONGEST_TEXT = 1 << 20
"""Of a text or profile, packed or unpacked: Pillow refuses more."""
_LONGEST_PROFILE = 8 << 20
_LEAST_BOMB = 1000
"""A shorter packed profile stays below `_LONGEST_TEXT`: deflate shrinks to a thousandth at best."""


@dataclass(frozen=True)
class Layout:
    """What a walk over the chunks found."""

    complete: bool
    """Whether the file ends with a whole chunk of pixels or behind it."""
    pieces: tuple[tuple[int, int], ...] = ()
    """Begin and end in the file of what Pillow shall see, in that order; empty if it shall see the file as it is."""
    profile: bytes = b""
    """A colour profile that is too long for Pillow, and is left out of the pieces."""


def layout(file: BufferedReader, size: int) -> Layout:
    """Walks the chunks of a PNG of `size` bytes: 4 bytes of length, 4 of type, the data, a checksum of 4."""
    kept: list[tuple[int, int]] = []
    pixels: list[tuple[int, int]] = []
    told: set[bytes] = set()
    """What counts once: a profile, and each keyword of a text."""
    changed = complete = False
    profile = b""
    descriptor, at = file.fileno(), _SIGNATURE_BYTES
    while at + 12 <= size:
        head = os.pread(descriptor, 8, at)
        length, kind = int.from_bytes(head[:4], "big"), head[4:]
        begin, at = at, at + 12 + length
        if kind == b"IEND":
            complete = True
            pixels.append((begin, at))
            break
        if kind in _TEXTS and (pixels or kind != b"tEXt" or length > _SHORT_TEXT):
            changed = True
            keyword = _orienting(descriptor, begin + 8, kind, length, told)
            if keyword:
                told.add(keyword)
                kept.append((begin, at))
        elif kind == b"iCCP":
            long = _long_profile(descriptor, begin + 8, length) if kind not in told else b""
            if long or kind in told:
                changed = True
                profile = profile or (long if len(long) <= _LONGEST_PROFILE else b"")
            else:
                (pixels or kept).append((begin, at))
            told.add(kind)
        elif kind == b"eXIf" and pixels:
            changed = True
            kept.append((begin, at))
        elif kind in (b"IDAT", b"fcTL", b"fdAT") or pixels:
            pixels.append((begin, at))
        else:
            kept.append((begin, at))
    # Where nothing but the mark of the end is missing, decoding tells whether all pixels are there.
    complete = complete or (bool(pixels) and at <= size)
    return Layout(complete, ((0, _SIGNATURE_BYTES), *_joined([*kept, *pixels])) if changed else (), profile)


class Pieces(io.RawIOBase):
    """Some pieces of a file, one after the other, as a file of its own. Reading moves the file below."""

    def __init__(self, file: BufferedReader, pieces: tuple[tuple[int, int], ...]) -> None:
        self._file, self._pieces = file, pieces
        self._ends = list(accumulate(end - begin for begin, end in pieces))
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Moves to a place within the pieces."""
        start = (0, self._at, self._ends[-1])[whence]
        self._at = max(0, start + offset)
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # typeshed's own name for it is private
        """Up to the end of the present piece."""
        piece = bisect_right(self._ends, self._at)
        if piece == len(self._pieces):
            return 0
        end = self._pieces[piece][1]
        left = self._ends[piece] - self._at
        self._file.seek(end - left)
        data = self._file.read(min(left, len(buffer)))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def _orienting(descriptor: int, at: int, kind: bytes, length: int, told: Set[bytes]) -> bytes:
    """The keyword of a text that may tell the orientation, and that Pillow can read; empty for any other, and for a second."""
    keyword = os.pread(descriptor, min(length, _LONGEST_KEYWORD), at).partition(b"\0")[0]
    if keyword not in _ORIENTING or keyword in told or length > _LONGEST_TEXT:
        return b""
    rest = os.pread(descriptor, length, at)[len(keyword) + 1 :]
    if kind == b"zTXt":
        fits = _fits(rest[1:])
    else:
        fits = kind == b"tEXt" or rest[:1] == b"\0" or _fits(rest[2:].split(b"\0", 2)[-1])
    return keyword if fits else b""


def _fits(packed: bytes) -> bool:
    unpacker = zlib.decompressobj()
    try:
        unpacker.decompress(packed, _LONGEST_TEXT)
    except zlib.error:
        return False
    return not unpacker.unconsumed_tail


def _long_profile(descriptor: int, at: int, length: int) -> bytes:
    """A profile that is longer than Pillow takes, or its beginning if it is far longer; empty for any other."""
    if length <= _LEAST_BOMB:
        return b""
    packed = os.pread(descriptor, min(length, _LONGEST_PROFILE), at).partition(b"\0")[2][1:]
    unpacker = zlib.decompressobj()
    try:
        profile = unpacker.decompress(packed, _LONGEST_PROFILE + 1)
    except zlib.error:
        return b""
    return profile if len(profile) >= _LONGEST_TEXT else b""


def _joined(pieces: list[tuple[int, int]]) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for begin, end in pieces:
        if joined and joined[-1][1] == begin:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((begin, end))
    return joined
