"""Opening picture files safely: an allow-list of formats, a size limit from the header, rotation, and RGB as trained."""

from __future__ import annotations

import os
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from io import BufferedReader
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from loratui.engine.dataset.file_kinds import HEAD_BYTES, HEIF_MISSING, HEIF_SUFFIXES, SUFFIXES, is_heif, told_by_content

if TYPE_CHECKING:
    from PIL.Image import Image

PIXEL_LIMIT = 64_000_000
"""A picture with more pixels than this is refused from its header."""

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "AVIF")

_ORIENTATION, _EXIF_IFD, _GPS_IFD, _LENS_MODEL = 0x0112, 0x8769, 0x8825, 0xA434
_SWAPS_SIDES = (5, 6, 7, 8)
_LUMA_TABLE_SUM = 3688
"""Sum of the luminance quantisation table of the JPEG standard (ITU-T T.81, table K.1), which is quality 50."""


class PictureError(ValueError):
    """Why a file cannot be used as a picture, in words."""


@dataclass(frozen=True)
class Traits:
    """What a picture's header says of how its pixels are stored."""

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
    """Whether EXIF tells where the picture was taken."""
    front_camera: bool = False
    """Whether EXIF names the front camera of a phone."""
    jpeg_quality: int | None = None
    """1 to 100, estimated from the quantisation table; None if this is no JPEG."""


@dataclass(frozen=True)
class Header:
    """What a picture's header says; `width` and `height` in px after rotation by EXIF."""

    width: int
    height: int
    format: str
    orientation: int
    """EXIF orientation, 1 (upright) to 8."""
    traits: Traits = Traits()
    bytes: int = 0
    """Of the whole file."""


def read_header(path: Path) -> Header:
    """Size, format and rotation of a picture, without decoding its pixels.

    Raises `PictureError` for what is no picture, is cut short, or has more than `PIXEL_LIMIT` pixels.
    """
    with _opened(path) as (file, image):
        turned = orientation(image)
        width, height = image.size
        if turned in _SWAPS_SIDES:
            width, height = height, width
        if _is_cut_short(file, image.format or ""):
            raise PictureError("is cut short: the end of the picture is missing")
        size = os.fstat(file.fileno()).st_size
        return Header(width, height, _plain_format(image.format or ""), turned, _traits(image, turned), size)


def check_decodes(path: Path) -> None:
    """Decodes a picture, as coarsely as its format allows, to find damage that its header does not show.

    Raises `PictureError`.
    """
    with _opened(path) as (_, image):
        try:
            image.draft("RGB", (64, 64))
            image.load()
        except Exception as error:  # decoders of hostile files fail with almost anything
            raise PictureError(f"is damaged: {_reason(error)}") from error


def load_rgb(path: Path, background: tuple[int, int, int] = (255, 255, 255)) -> Image:
    """The picture as it is trained on: first frame, upright, sRGB, 8-bit RGB, transparency laid on `background`.

    Raises `PictureError`.
    """
    with opened(path) as image:
        turned = orientation(image)
        image.load()
        return upright(to_rgb(image, background), turned)


@contextmanager
def opened(path: Path) -> Iterator[Image]:
    """A picture by its header, for decoding within the block; its size is within `PIXEL_LIMIT`.

    Raises `PictureError`, also for whatever a decoder throws within the block.
    """
    with _opened(path) as (_, image):
        try:
            yield image
        except PictureError:
            raise
        except Exception as error:  # decoders of hostile files fail with almost anything
            raise PictureError(f"is damaged: {_reason(error)}") from error


def orientation(image: Image) -> int:
    """EXIF orientation 1 to 8 from the header alone; 1 where there is none or it is nonsense."""
    if image.format == "PNG" and "exif" not in image.info:
        return 1  # Pillow would decode the whole picture to look for a block behind it
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # a broken EXIF block does not make the picture unusable
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def is_read(suffix: str) -> bool:
    """Whether files with this ending (lower case) are read as pictures."""
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
    """Opens a regular file for reading, never blocking on a pipe that took its place.

    Raises `PictureError` for anything else.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise PictureError(f"cannot be read: {error.strerror}") from error
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise PictureError("is not a regular file")
        yield file


@contextmanager
def _opened(path: Path) -> Iterator[tuple[BufferedReader, Image]]:
    pillow = _pillow()
    with open_regular(path) as file:
        head = file.read(HEAD_BYTES)
        file.seek(0)
        if not head:
            raise PictureError("is empty")
        # By content, since phones and downloads give HEIC files other endings.
        heif = is_heif(head)
        if heif and not heif_is_read():
            raise PictureError(HEIF_MISSING)
        try:
            image = pillow.open(file, formats=("HEIF",) if heif else FORMATS)
        except pillow.DecompressionBombError as error:
            raise PictureError(f"has more than {PIXEL_LIMIT // 1_000_000} megapixels") from error
        except pillow.UnidentifiedImageError as error:
            raise PictureError(told_by_content(head) or "is not a picture, or its beginning is damaged") from error
        except Exception as error:  # decoders of hostile files fail with almost anything
            raise PictureError(f"cannot be read as a picture: {_reason(error)}") from error
        with image:
            if image.width * image.height > PIXEL_LIMIT:
                size = f"{image.width} × {image.height} px"
                raise PictureError(f"has {size}, more than {PIXEL_LIMIT // 1_000_000} megapixels")
            yield file, image


@cache
def _pillow() -> ModuleType:
    """Pillow, loaded when it is first needed, because that takes time that most commands do not have."""
    from PIL import Image as pillow

    # What it warns of is either refused here or of no interest, and would stand in the midst of a screen.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    return pillow


def to_rgb(image: Image, background: tuple[int, int, int]) -> Image:
    """A loaded picture as sRGB with 8 bits, transparency laid on `background`; not rotated."""
    from PIL import Image as pillow

    profile = image.info.get("icc_profile")
    if image.mode.startswith("I") or image.mode == "F":
        image = _to_8_bit(image)
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        canvas = pillow.new("RGBA", rgba.size, (*background, 255))
        canvas.alpha_composite(_to_srgb(rgba, profile))
        return canvas.convert("RGB")
    converted = _to_srgb(image, profile)
    return converted if converted.mode == "RGB" else converted.convert("RGB")


def _to_8_bit(image: Image) -> Image:
    """16-bit and 32-bit grey scaled to 8 bits; Pillow's own conversion would clip at 255."""
    high = image.getextrema()[1]
    assert isinstance(high, (int, float))
    scale = 255 / (65535 if image.mode.startswith("I;16") or high > 255 else 255)
    wide = image.convert("F")
    return wide.point(lambda value: value * scale + 0.5).convert("L")


def _to_srgb(image: Image, profile: object) -> Image:
    """Colours of an embedded profile turned to sRGB; a profile that cannot be read is ignored."""
    if not isinstance(profile, bytes) or image.mode not in ("RGB", "RGBA", "CMYK", "L"):
        return image
    import io

    from PIL import ImageCms

    try:
        source = ImageCms.getOpenProfile(io.BytesIO(profile))
        mode = "RGBA" if image.mode == "RGBA" else "RGB"
        converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode=mode)
    except (ImageCms.PyCMSError, OSError, ValueError):
        return image
    return converted if converted is not None else image


def upright(image: Image, turned: int) -> Image:
    """The picture rotated by its EXIF orientation, 1 to 8."""
    from PIL import Image as pillow

    transposes = {
        2: pillow.Transpose.FLIP_LEFT_RIGHT,
        3: pillow.Transpose.ROTATE_180,
        4: pillow.Transpose.FLIP_TOP_BOTTOM,
        5: pillow.Transpose.TRANSPOSE,
        6: pillow.Transpose.ROTATE_270,
        7: pillow.Transpose.TRANSVERSE,
        8: pillow.Transpose.ROTATE_90,
    }
    return image.transpose(transposes[turned]) if turned in transposes else image


def _traits(image: Image, turned: int) -> Traits:
    mode = image.mode
    tile = getattr(image, "tile", None)  # how the file's bytes become pixels: ("zip", box, offset, "RGB;16B")
    wide = ";16" in str(tile[0][3]) if tile else mode.startswith("I;16")
    bits = 1 if mode == "1" else 32 if mode in ("I", "F") and not wide else 16 if wide or mode.startswith("I") else 8
    gps, front = _camera(image)
    return Traits(
        orientation=turned,
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
    """Whether EXIF tells a place, and whether it names a front camera."""
    if "exif" not in image.info:
        return False, False
    try:
        exif = image.getexif()
        lens = exif.get_ifd(_EXIF_IFD).get(_LENS_MODEL, "") if _EXIF_IFD in exif else ""
        return bool(exif.get(_GPS_IFD)), "front" in str(lens).lower()
    except Exception:  # a broken EXIF block does not make the picture unusable
        return False, False


def _jpeg_quality(image: Image) -> int | None:
    """Quality by which libjpeg scales the standard's table: S = 5000/q below 50, 200 - 2q above."""
    tables = getattr(image, "quantization", None)
    if not tables:
        return None
    scale: float = 100 * sum(next(iter(tables.values()))) / _LUMA_TABLE_SUM
    quality = 5000 / scale if scale > 100 else (200 - scale) / 2
    return max(1, min(100, round(quality)))


def _is_cut_short(file: BufferedReader, kind: str) -> bool:
    """Whether the file ends before the picture does, as far as lengths in the file show it.

    A JPEG has no such lengths, and phones append films to theirs; only decoding tells.
    """
    size = os.fstat(file.fileno()).st_size
    place = file.tell()
    try:
        if kind == "PNG":
            return not _reaches_iend(file, size)
        if kind == "WEBP":
            file.seek(4)
            return int.from_bytes(file.read(4), "little") + 8 > size
        return False
    finally:
        file.seek(place)


def _reaches_iend(file: BufferedReader, size: int) -> bool:
    """Walks a PNG's chunks by their lengths (4 bytes length, 4 type, data, 4 checksum) to its last."""
    at = 8
    while at + 12 <= size:
        file.seek(at)
        head = file.read(8)
        if head[4:] == b"IEND":
            return True
        at += 12 + int.from_bytes(head[:4], "big")
    return False


def _plain_format(name: str) -> str:
    return "JPEG" if name == "MPO" else name


def _reason(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 120 else text[:119] + "…"
