"""The values of decoded pixels: any number of bits and any kind of storage brought to sRGB with 8 bits a channel."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image

_SAMPLE_FORMAT, _BITS, _PHOTOMETRIC, _PLANES = 339, 258, 262, 284
"""Tags of TIFF: what kind of number a value is, how many bits it has, what 0 means, and whether channels lie apart."""
_SIGNED = 2
_WHITE_IS_ZERO = 0
_APART = 2
_STRIP = 1 << 20
"""Pixels that are worked on at once: a large image is never held twice for the sake of one step."""


class ColourError(ValueError):
    """Why the colours of an image cannot be told; continues the file's name to a sentence."""


def stored_alike(image: Image) -> Image:
    """A decoded image in one of the modes L, LA, RGB, RGBA and CMYK with 8 bits, so that it can be resized.

    Its profile stays in `info`. Raises `ColourError` for values that are none.
    """
    profile = image.info.get("icc_profile")
    signed = image.mode == "L" and _tag(image, _SAMPLE_FORMAT, 1) == _SIGNED
    if signed or image.mode.startswith("I") or image.mode == "F":
        image = _with_8_bits(image)
    if image.mode == "La":
        image = image.convert("LA")
    elif image.mode == "RGBa":
        image = image.convert("RGBA")
    if image.mode in ("PA", "P", "1", "L", "RGB") and (image.mode == "PA" or "transparency" in image.info):
        image = image.convert("RGBA")
    elif image.mode == "1":
        image = image.convert("L")
    elif image.mode not in ("L", "LA", "RGB", "RGBA", "CMYK"):
        image = image.convert("RGB")
    if profile and "icc_profile" not in image.info:
        image.info["icc_profile"] = profile
    return image


def to_rgb(image: Image, background: tuple[int, int, int]) -> Image:
    """A decoded image as sRGB with 8 bits, transparency laid on `background`; it may be changed itself.

    Raises `ColourError`.
    """
    image = stored_alike(image)
    profile = image.info.get("icc_profile")
    if image.mode == "LA":
        rgba = _to_srgb(image.getchannel("L"), profile).convert("RGBA")
        rgba.putalpha(image.getchannel("A"))
        return _laid_on(rgba, background)
    if image.mode == "RGBA":
        return _laid_on(_to_srgb(image, profile), background)
    converted = _to_srgb(image, profile)
    return converted if converted.mode == "RGB" else converted.convert("RGB")


def transparent_share(image: Image) -> float:
    """How much of an image in one of the modes of `stored_alike` can be seen through: 0 to 1."""
    if image.mode not in ("RGBA", "LA"):
        return 0.0
    histogram = image.getchannel("A").histogram()
    return sum(histogram[:250]) / max(1, sum(histogram))


def with_known_transparency(image: Image) -> None:
    """Brings the transparent colour that the header of an opened PNG names to the 8 bits that its pixels will have.

    Pillow leaves it as it stands there (4 bits: 15; 16 bits: 65535), so that no pixel would be that colour.
    """
    named, tile = image.info.get("transparency"), getattr(image, "tile", None)
    raw = str(tile[0][3]) if tile else ""
    if isinstance(named, tuple) and ";16" in raw:
        image.info["transparency"] = tuple(value >> 8 for value in named)
    elif isinstance(named, int) and image.mode == "L" and raw in ("L;2", "L;4"):
        image.info["transparency"] = named * (85 if raw == "L;2" else 17)
    elif isinstance(named, int) and image.mode == "1":
        image.info["transparency"] = 255 * (named & 1)


def with_whole_planes(image: Any) -> None:
    """Lets an opened TIFF whose channels lie apart be read with all of its 16 bits; Pillow takes each byte for a pixel."""
    if _tag(image, _PLANES, 1) != _APART or _tag(image, _BITS, 8) != 16:
        return
    order = "B" if image.tag_v2.prefix == b"MM" else "L"
    image.tile = [
        tile._replace(args=(f"{tile.args[0]};16{order}", *tile.args[1:])) if tile.codec_name == "raw" else tile
        for tile in image.tile
    ]


def _laid_on(rgba: Image, background: tuple[int, int, int]) -> Image:
    from PIL import Image as pillow

    rgb = pillow.new("RGB", rgba.size)
    rows = max(1, _STRIP // rgba.width)
    for top in range(0, rgba.height, rows):
        strip = rgba.crop((0, top, rgba.width, min(rgba.height, top + rows)))
        canvas = pillow.new("RGBA", strip.size, (*background, 255))
        canvas.alpha_composite(strip)
        rgb.paste(canvas.convert("RGB"), (0, top))
    return rgb


def _with_8_bits(image: Image) -> Image:
    """Grey of 12, 16 or 32 bits, of signed or broken numbers, as L; as LA where one of its values means transparent.

    Pillow's own conversion clips at 255, and takes no notice of signs and of TIFFs in which 0 is white.
    """
    import numpy as np
    from PIL import Image as pillow

    bits, kind = _tag(image, _BITS, 0), _tag(image, _SAMPLE_FORMAT, 1)
    values: NDArray[Any] = np.asarray(image)
    if image.mode == "L":
        values = values.view(np.int8)
    elif image.mode == "I" and bits == 32 and kind != _SIGNED:
        values = values.view(np.uint32)
    low, high = float(values.min()), float(values.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ColourError("has values that are not numbers (NaN or infinite): save it again as PNG")
    start, scale = _range(low, high, bits, image.mode, signed=kind == _SIGNED)
    grey = np.empty(values.shape, np.uint8)
    rows = max(1, _STRIP // image.width)
    for top in range(0, image.height, rows):
        strip = (values[top : top + rows].astype(np.float64) - start) * (255 / scale)
        strip = 255 - strip if _tag(image, _PHOTOMETRIC, 1) == _WHITE_IS_ZERO else strip
        grey[top : top + rows] = np.clip(np.floor(strip + 0.5), 0, 255)
    shown = pillow.fromarray(grey)
    clear = image.info.get("transparency")
    if isinstance(clear, int):
        shown.putalpha(pillow.fromarray(np.where(values == clear, 0, 255).astype(np.uint8)))
    return shown


def _range(low: float, high: float, bits: int, mode: str, *, signed: bool) -> tuple[float, float]:
    """Which value is black, and how far above it white lies: what the number format says, else what the values reach.

    Fractions mean 0 to 1 as a rule. Those that go beyond, and numbers of 32 bits, are taken for the next of the usual
    ranges (8 and 16 bits), and else reach from black to white themselves, as they do with a sign.
    """
    if low < 0:
        return low, max(high - low, 1e-30)
    if mode == "F":
        usual = (1.0,) if high <= 1 else (255.0, 65535.0) if high > 16 else ()
    elif 0 < bits < 32 or mode.startswith("I;16"):
        whole = bits or 16
        usual = (2.0 ** (whole - signed) - 1,)
    else:
        usual = (255.0, 65535.0)
    return 0.0, next((end for end in usual if high <= end), high)


def _to_srgb(image: Image, profile: object) -> Image:
    """Colours of an embedded profile turned to sRGB; a profile that cannot be read is ignored."""
    if not isinstance(profile, bytes) or image.mode not in ("RGB", "RGBA", "CMYK", "L"):
        return image
    from PIL import ImageCms

    try:
        source = ImageCms.getOpenProfile(io.BytesIO(profile))
        screen = ImageCms.createProfile("sRGB")
        if image.mode in ("RGB", "RGBA"):  # in place: a large image is not held twice
            ImageCms.profileToProfile(image, source, screen, inPlace=True)
            return image
        return ImageCms.profileToProfile(image, source, screen, outputMode="RGB") or image
    except (ImageCms.PyCMSError, OSError, ValueError):
        return image


def _tag(image: Image, number: int, otherwise: int) -> int:
    """The first value of a tag of a TIFF; `otherwise` for other images."""
    value = getattr(image, "tag_v2", {}).get(number, otherwise)
    value = value[0] if isinstance(value, tuple) and value else value
    return value if isinstance(value, int) else otherwise
