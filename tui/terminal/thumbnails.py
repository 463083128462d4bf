"""Images as half blocks: decoded small in a worker, and cached."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

from loratui.engine.dataset.decoding import ImageError
from loratui.engine.dataset.display import DISPLAY, Room, Shown
from loratui.tui.terminal import palette

_CACHED = 200
_GROUND = (128, 128, 128)
"""What shows through transparency."""

_decoding = threading.Lock()
"""One image at a time: several decoders slow the screen, and finish no sooner on two cores."""

_cache: OrderedDict[tuple[str, int, int, int, int, bool, float], Thumbnail] = OrderedDict()


class ThumbnailError(ValueError):
    """Why a file cannot be shown; with the file's name before it, the text is a sentence."""


@dataclass(frozen=True, slots=True)
class Thumbnail(Shown):
    """A small image of even height; one cell shows two pixels, one above the other."""

    def row(self, y: int) -> list[tuple[tuple[int, int, int], tuple[int, int, int]]]:
        """The cells of line `y`: colour of the upper and of the lower pixel."""
        top, bottom, width = 2 * y * self.width * 3, (2 * y + 1) * self.width * 3, self.width * 3
        upper, lower = self.rgb[top : top + width], self.rgb[bottom : bottom + width]
        return [((upper[i], upper[i + 1], upper[i + 2]), (lower[i], lower[i + 1], lower[i + 2])) for i in range(0, width, 3)]


def load(path: Path, columns: int, rows: int, *, few_colours: bool = False, shape: float = 1.0) -> Thumbnail:
    """The image at `path`, as large as fits into `columns` × `rows` cells in its own proportions.

    `few_colours` draws it in the colours of `palette`; `shape` is a cell's width by half its height. For worker threads: it
    reads the disk. Raises `ThumbnailError`.
    """
    try:
        state = path.stat()
    except OSError as error:
        raise ThumbnailError(f"cannot be read: {error.strerror}") from None
    except ValueError:
        # A null byte in the name, from a log that was tampered with.
        raise ThumbnailError("cannot be read: its name is invalid") from None
    key = (str(path), state.st_mtime_ns, state.st_size, columns, rows, few_colours, shape)
    with _decoding:
        if key in _cache:
            _cache.move_to_end(key)
            return _cache[key]
        made = _decode(path, columns, rows, few_colours, shape)
        _cache[key] = made
        while len(_cache) > _CACHED:
            _cache.popitem(last=False)
    return made


def upright_image(path: Path, room: Room) -> Shown:
    """The image at `path`, fitted into `room`, transparency on mid grey. Raises `ThumbnailError`."""
    try:
        return DISPLAY.shown(path, room, _GROUND)
    except ImageError as error:
        raise ThumbnailError(str(error)) from None


def room_of(columns: int, rows: int, shape: float = 1.0) -> Room:
    """The room of so many cells, each one by two pixels; a pixel is `shape` times as wide as high."""
    return Room(columns, 2 * rows, shape, even=True)


def _decode(path: Path, columns: int, rows: int, few_colours: bool, shape: float) -> Thumbnail:
    small = upright_image(path, room_of(columns, rows, shape))
    rgb = palette.drawn(small.rgb, small.width) if few_colours else small.rgb
    return Thumbnail(small.width, small.height, rgb, small.source_width, small.source_height)
