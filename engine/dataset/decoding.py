"""Opening image files safely: an allow-list of formats, limits from the header, upright, and RGB as trained."""

from __future__ import annotations

import errno
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from io import BufferedReader
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from loratui.engine import untrusted
from loratui.engine.dataset import colours, costs, png_chunks
from loratui.engine.dataset.file_kinds import HEAD_BYTES, HEIF_MISSING, HEIF_SUFFIXES, SUFFIXES, is_heif, told_by_content
from loratui.engine.dataset.upright import left_to_turn, orientation, stored_size, upright, upright_size

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "AVIF")

_EXIF_IFD, _GPS_IFD, _LENS_MODEL = 0x8769, 0x8825, 0xA434
_LUMA_TABLE_SUM = 3688
"""Sum of the luminance quantisation table of the JPEG standard (ITU-T T.81, table K.1), which is quality 50."""
_PNG = b"\x89PNG\r\n\x1a\n"
CUT_SHORT = "is cut short: the end of the image is missing"
_BUFFER_BYTES = 1 << 16
_NO_CHUNKS = png_chunks.Layout(complete=True)


class ImageError(ValueError):
    """Why a file cannot be used as an image, in words."""


@dataclass(frozen=True)
class Traits:
    """What an image's header says of how its pixels are stored."""

    orientation: int = 1
    """EXIF orientation, 1 (upright) to 8."""
    mode: str = "RGB"
    """Pillow's name of the pixel format: RGB, RGBA, L, P, CMYK, I;16 …"""
    bits: int = 8
    """Bits of a channel: 1, 8, 16 or 32."""
    alpha: bool = False
    """Whether pixels can be transparent."""
    profile: bool = False
    """Whether a colour profile is embedded."""
    animated: bool = False
    gps: bool = False
    """Whether EXIF tells where the image was taken."""
    front_camera: bool = False
    """Whether EXIF names the front camera of a phone."""
    jpeg_quality: int | None = None
    """1 to 100, estimated from the quantisation table; None if this is no JPEG."""


@dataclass(frozen=True)
class Header:
    """What an image's header says; `width` and `height` in px after rotation by EXIF."""

    width: int
    height: int
    format: str
    traits: Traits = Traits()
    bytes: int = 0
    """Of the whole file."""


class OpenImage:
    """An image whose header was read, and whose pixels can be decoded as long as it is open."""

    def __init__(self, image: Image, file: BufferedReader, bytes: int, complete: bool) -> None:
        self.image = image
        """As Pillow opened it: not decoded, not turned."""
        self.bytes = bytes
        """Of the whole file."""
        self.turned = orientation(image)
        """EXIF orientation, 1 (upright) to 8."""
        self.width, self.height = upright_size(image, self.turned)
        """px, upright."""
        self.complete = complete
        """Whether the file reaches to the end of the image, as far as lengths in it show that."""
        self._file = file

    def decode(self, least: tuple[int, int] | None = None) -> Image:
        """The pixels in a mode of `colours.stored_alike`, to be turned with `upright`.

        They are as many as the header says, or fewer: of a large image, and of a JPEG if `least` (width and height in px
        of the upright image) is enough. Raises `ImageError`.
        """
        image = self.image
        problem = costs.too_many_scans(image, self._file)
        if problem:
            raise ImageError(problem)
        width, height = stored_size((self.width, self.height), self.turned)
        by = costs.shrinks_by(width, height)
        wanted = stored_size(least, self.turned) if least else (width, height)
        image.draft("RGB", (min(wanted[0], width // by), min(wanted[1], height // by)))
        image.load()
        decoded = colours.stored_alike(image)
        by = costs.shrinks_by(*decoded.size)
        return decoded.reduce(by) if by > 1 else decoded

    def as_decoded(self, size: tuple[int, int]) -> tuple[int, int]:
        """A width and height in px of the upright image as decoded pixels have them before `upright`."""
        return stored_size(size, left_to_turn(self.image, self.turned))

    def upright(self, image: Image) -> Image:
        """Decoded pixels, or what was made of them, the right way up."""
        return upright(image, left_to_turn(self.image, self.turned))


def read_header(path: Path, heif: Callable[[Path], Header] | None = None) -> Header:
    """Size, format and rotation of an image, without decoding its pixels.

    `heif` does the same for a HEIC in some other process, since there are damaged ones that libheif crashes at.
    Raises `ImageError` for what is no image, is cut short, is a mere strip, or would cost too much to decode.
    """
    try:
        with opened(path, heif_here=heif is None) as image:
            problem = costs.too_long(image.width, image.height)
            if problem:
                raise ImageError(problem)
            if not image.complete:
                raise ImageError(CUT_SHORT)
            kind = "JPEG" if image.image.format == "MPO" else image.image.format or ""
            return Header(image.width, image.height, kind, _traits(image), image.bytes)
    except _HeifElsewhereError:
        assert heif is not None
        return heif(path)


def check_decodes(path: Path) -> None:
    """Decodes an image, as coarsely as its format allows, to find damage that its header does not show. Raises `ImageError`."""
    with opened(path) as image:
        image.decode((64, 64))


def load_rgb(path: Path, background: tuple[int, int, int] = (255, 255, 255), least: tuple[int, int] | None = None) -> Image:
    """The image as it is trained on: first frame, upright, sRGB, 8-bit RGB, transparency laid on `background`.

    Of a large image a half, a quarter or an eighth. Raises `ImageError`.
    """
    with opened(path) as image:
        return image.upright(colours.to_rgb(image.decode(least), background))


class _HeifElsewhereError(Exception):
    """A HEIC, where this process is not to read any."""


@contextmanager
def opened(path: Path, *, heif_here: bool = True) -> Iterator[OpenImage]:
    """An image by its header, for decoding within the block; it costs no more than `costs` allows.

    Raises `ImageError`, also for whatever a decoder throws within the block.
    """
    with open_regular(path) as file:
        image = _open(file, heif_here=heif_here)
        with image.image:
            try:
                yield image
            except ImageError:
                raise
            except colours.ColourError as error:
                raise ImageError(str(error)) from error
            except MemoryError as error:
                raise ImageError("needs more memory than there is") from error
            except Exception as error:  # decoders of hostile files fail with almost anything
                raise ImageError(f"is damaged: {_reason(error)}") from error


def is_read(suffix: str) -> bool:
    """Whether files with this ending (lower case) are read as images."""
    return suffix in SUFFIXES or (suffix in HEIF_SUFFIXES and heif_is_read())


def heif_is_read() -> bool:
    """Whether the extra `heic` is installed; if so, Pillow is told of it."""
    try:
        import pi_heif
    except ImportError:
        return False
    pi_heif.register_heif_opener()
    return True


@contextmanager
def open_regular(path: Path) -> Iterator[BufferedReader]:
    """Opens a regular file for reading, never blocking on a pipe that took its place. Raises `ImageError` for anything else."""
    try:
        raw = untrusted.open_regular(path)
    except OSError as error:
        broken = error.errno == errno.EINVAL
        raise ImageError("is not a regular file" if broken else f"cannot be read: {error.strerror}") from error
    file: BufferedReader = BufferedReader(raw)
    with file:
        yield file


def _open(file: BufferedReader, *, heif_here: bool) -> OpenImage:
    pillow = _pillow()
    head = file.read(HEAD_BYTES)
    size = os.fstat(file.fileno()).st_size
    if not head:
        raise ImageError("is empty")
    # By content, since phones and downloads give HEIC files other endings.
    heif = is_heif(head)
    if heif and not heif_is_read():
        raise ImageError(HEIF_MISSING)
    if heif and not heif_here:
        raise _HeifElsewhereError
    layout = png_chunks.layout(file, size) if head.startswith(_PNG) else _NO_CHUNKS
    source = BufferedReader(png_chunks.Pieces(file, layout.pieces), _BUFFER_BYTES) if layout.pieces else file
    source.seek(0)
    # Some writers leave out the byte that makes an odd length even.
    cut = head[:4] + head[8:12] == b"RIFFWEBP" and int.from_bytes(head[4:8], "little") + 8 > size + 1
    try:
        image = pillow.open(source, formats=("HEIF",) if heif else FORMATS)
    except pillow.DecompressionBombError as error:
        raise ImageError(f"has more than {costs.MOST_JPEG_PIXELS // 1_000_000} megapixels") from error
    except pillow.UnidentifiedImageError as error:
        raise ImageError(told_by_content(head) or "is not an image, or its beginning is damaged") from error
    except Exception as error:  # decoders of hostile files fail with almost anything
        raise ImageError(CUT_SHORT if cut else f"cannot be read as an image: {_reason(error)}") from error
    if layout.profile:
        image.info["icc_profile"] = layout.profile
    problem = costs.too_large(image, size)
    if problem:
        image.close()
        raise ImageError(problem)
    if "transparency" in image.info:
        colours.with_known_transparency(image)
    if image.format == "TIFF":
        colours.with_whole_planes(image)
    return OpenImage(image, file, size, layout.complete and not cut)


def prepare() -> None:
    """Loads what reading images needs, for a process that will do nothing else."""
    _pillow().init()


@cache
def _pillow() -> ModuleType:
    """Pillow, loaded when it is first needed, because that takes time that most commands do not have."""
    from PIL import Image as pillow

    # The limits of `costs` are lower for all but JPEG, which is decoded in part. Pillow refuses at twice this number.
    pillow.MAX_IMAGE_PIXELS = costs.MOST_JPEG_PIXELS // 2
    # What it warns of is either refused here or of no interest, and would stand in the midst of a screen.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    return pillow


def _traits(opened: OpenImage) -> Traits:
    image = opened.image
    mode = image.mode
    tile = getattr(image, "tile", None)  # how the file's bytes become pixels: ("zip", box, offset, "RGB;16B")
    wide = ";16" in str(tile[0][3]) if tile else mode.startswith("I;16")
    bits = 1 if mode == "1" else 32 if mode in ("I", "F") and not wide else 16 if wide or mode.startswith("I") else 8
    gps, front = _camera(image)
    return Traits(
        orientation=opened.turned,
        mode=mode,
        bits=bits,
        alpha=mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info,
        profile=bool(image.info.get("icc_profile")),
        animated=image.format in ("PNG", "WEBP", "AVIF") and bool(getattr(image, "is_animated", False)),
        gps=gps,
        front_camera=front,
        jpeg_quality=_jpeg_quality(image),
    )


def _camera(image: Image) -> tuple[bool, bool]:
    if "exif" not in image.info:
        return False, False
    try:
        exif = image.getexif()
        lens = exif.get_ifd(_EXIF_IFD).get(_LENS_MODEL, "") if _EXIF_IFD in exif else ""
        return bool(exif.get(_GPS_IFD)), "front" in str(lens).lower()
    except Exception:  # a broken EXIF block does not make the image unusable
        return False, False


def _jpeg_quality(image: Image) -> int | None:
    """Quality by which libjpeg scales the standard's table: S = 5000/q below 50, 200 - 2q above."""
    tables = getattr(image, "quantization", None)
    if not tables:
        return None
    scale: float = 100 * sum(next(iter(tables.values()))) / _LUMA_TABLE_SUM
    quality = 5000 / scale if scale > 100 else (200 - scale) / 2
    return max(1, min(100, round(quality)))


def _reason(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 120 else text[:119] + "…"
