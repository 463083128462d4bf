"""Which way up an image is: the one place that knows, for everything that reads images."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

_ORIENTATION = 0x0112
_SWAPS_SIDES = (5, 6, 7, 8)


def orientation(image: Image) -> int:
    """EXIF orientation of an opened image, 1 (upright) to 8; 1 where there is none or it is nonsense. Decodes nothing.

    Where EXIF is silent, XMP is asked. HEIC and AVIF keep it in boxes of their own, which alone count: their readers turn the
    one, and tell those of the other as EXIF.
    """
    info = image.info
    if not ("exif" in info or "xmp" in info or image.format == "TIFF" or "Raw profile type exif" in info):
        return 1
    from PIL import Image as pillow

    try:
        if image.format == "AVIF":
            exif = pillow.Exif()
            exif.load(info.get("exif", b""))
        else:  # not PngImageFile.getexif, which decodes the whole image to look for a block behind it
            exif = pillow.Image.getexif(image)
        value = exif.get(_ORIENTATION, 1)
    except Exception:  # a broken EXIF block does not make the image unusable
        return 1
    # By comparison, since that is how Pillow turns TIFFs: a fraction 6/1 is a 6.
    return 1 if value == 1 else next((known for known in range(2, 9) if value == known), 1)


def upright_size(image: Image, turned: int) -> tuple[int, int]:
    """Width and height in px of an opened image after it is turned; `turned` is its orientation."""
    if turned not in _SWAPS_SIDES:
        return image.size
    stored = getattr(image, "tag_v2", {}).get(_ORIENTATION)
    if image.format == "TIFF" and stored in _SWAPS_SIDES:  # Pillow tells the size after turning
        return image.size
    return image.height, image.width


def stored_size(size: tuple[int, int], turned: int) -> tuple[int, int]:
    """The other way round: a size of the upright image as the file has it."""
    return size[::-1] if turned in _SWAPS_SIDES else size


def left_to_turn(image: Image, turned: int) -> int:
    """What is left of an orientation once the pixels are decoded: Pillow turns TIFFs, and nothing else, as it decodes."""
    return 1 if image.format == "TIFF" else turned


def upright(image: Image, turned: int) -> Image:
    """An image turned by what is left of its orientation, 1 to 8."""
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
