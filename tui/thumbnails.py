"""Pictures as half blocks: decoded small in a worker, cached, refused when they are too large or no picture."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING

from loratui.tui import palette

if TYPE_CHECKING:
    from PIL import Image

MOST_PIXELS = 64_000_000
"""Larger pictures are refused from their header: decoding them could take all memory."""

_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "AVIF")
_CACHED = 200

_decoding = threading.Lock()
"""One picture at a time: several threads that decode make the screen wait, and finish no sooner on two cores."""

_cache: OrderedDict[tuple[str, int, int, int, int, bool, float], Thumbnail] = OrderedDict()


class ThumbnailError(ValueError):
    """A file that cannot be shown, and why; the text continues the file's name to a sentence."""


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A small picture, `width` × `height` pixels; one cell shows two pixels, one above the other."""

    width: int
    height: int
    """Always even."""
    rgb: bytes
    """Three bytes a pixel, row by row."""
    source_width: int
    """px of the file, after rotation; so is `source_height`."""
    source_height: int

    def row(self, y: int) -> list[tuple[tuple[int, int, int], tuple[int, int, int]]]:
        """The cells of line `y`: colour of the upper and of the lower pixel."""
        top, bottom, width = 2 * y * self.width * 3, (2 * y + 1) * self.width * 3, self.width * 3
        upper, lower = self.rgb[top : top + width], self.rgb[bottom : bottom + width]
        return [((upper[i], upper[i + 1], upper[i + 2]), (lower[i], lower[i + 1], lower[i + 2])) for i in range(0, width, 3)]


def load(path: Path, columns: int, rows: int, *, few_colours: bool = False, shape: float = 1.0) -> Thumbnail:
    """The picture at `path`, as large as fits into `columns` × `rows` cells with its shape kept.

    `few_colours` draws it in the colours of `palette`; `shape` is a cell's width by half its height. Meant for worker threads: loads Pillow, reads
    the disk. Raises `ThumbnailError`.
    """
    try:
        state = path.stat()
    except OSError as error:
        raise ThumbnailError(f"cannot be read: {error.strerror}") from None
    except ValueError:
        # A null byte in the name, from a log that was tampered with.
        raise ThumbnailError("cannot be read: its name is none") from None
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


def fitted(width: int, height: int, columns: int, rows: int, shape: float = 1.0) -> tuple[int, int]:
    """The largest size in pixels with the shape of `width` × `height` in so many cells of one by two pixels; its
    height is even. Each of the pixels is `shape` as wide as it is high."""
    scale = min(columns * shape / width, 2 * rows / height)
    fitted_width = min(columns, max(1, round(width * scale / shape)))
    fitted_height = min(rows, max(1, round(height * scale / 2))) * 2
    return fitted_width, fitted_height


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """The picture at `path`, its pixels not yet decoded; HEIC by its content, where the extra for it is installed.

    Raises `ThumbnailError`, also for what a decoder stumbles over within the `with`.
    """
    from PIL import Image

    from loratui.engine.dataset.file_kinds import HEAD_BYTES, HEIF_MISSING, is_heif
    from loratui.engine.dataset.pictures import heif_is_read
    from loratui.engine.untrusted import open_regular

    try:
        with BufferedReader(open_regular(path)) as file:
            heif = is_heif(file.read(HEAD_BYTES))
            file.seek(0)
            if heif and not heif_is_read():
                raise ThumbnailError(HEIF_MISSING)
            with Image.open(file, formats=("HEIF",) if heif else _FORMATS) as picture:
                if picture.width * picture.height > MOST_PIXELS:
                    raise ThumbnailError(f"is too large to show: {picture.width} × {picture.height} px")
                yield picture
    except ThumbnailError:
        raise
    except Image.DecompressionBombError:
        raise ThumbnailError("is too large to show") from None
    except Exception as error:
        # Decoders raise whatever a damaged file makes them stumble over: ValueError, SyntaxError, struct.error, …
        raise ThumbnailError(f"cannot be shown: {type(error).__name__}") from None


def _decode(path: Path, columns: int, rows: int, few_colours: bool, shape: float) -> Thumbnail:
    from PIL import Image, ImageOps

    with opened(path) as picture:
        picture.draft("RGB", (columns * 2, rows * 4))
        upright = ImageOps.exif_transpose(picture)
        source = (picture.height, picture.width) if _turned(picture) else (picture.width, picture.height)
        flat = _flattened(upright)
        width, height = fitted(flat.width, flat.height, columns, rows, shape)
        small = flat.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=2.0)
        rgb = palette.drawn(small.tobytes(), width) if few_colours else small.tobytes()
        return Thumbnail(width, height, rgb, *source)


def _turned(image: Image.Image) -> bool:
    return image.getexif().get(0x0112, 1) in (5, 6, 7, 8)


def _flattened(image: Image.Image) -> Image.Image:
    """RGB, transparency laid on mid grey, 16 bits brought down to 8."""
    from PIL import Image

    if image.mode.startswith("I;16"):
        image = image.point(lambda value: value / 256).convert("L")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        ground = Image.new("RGBA", layer.size, (128, 128, 128, 255))
        return Image.alpha_composite(ground, layer).convert("RGB")
    return image.convert("RGB")
