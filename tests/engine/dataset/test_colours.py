"""Values of pixels: every number format and colour space of an image comes out as what it shows, or is left out."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_images import display_p3
from PIL import Image, PngImagePlugin

from loratui.engine.dataset.colours import _range
from loratui.engine.dataset.decoding import ImageError, load_rgb, read_header
from loratui.engine.dataset.measure import measure_image
from loratui.tui.terminal.thumbnails import ThumbnailError, load

RAMP = tuple(range(0, 256, 17))
"""16 levels from black to white."""


def tiff(path: Path, values: np.ndarray, kind: int, *, white_is_zero: bool = False, byte_order: str = "<") -> Path:
    """A plain grey TIFF of one strip; `kind` is 1 (unsigned), 2 (signed) or 3 (fractions)."""
    height, width = values.shape
    data = values.astype(values.dtype.newbyteorder(byte_order)).tobytes()
    bits = 8 * values.dtype.itemsize
    tags = [(256, 4, width), (257, 4, height), (258, 3, bits), (259, 3, 1), (262, 3, 0 if white_is_zero else 1)]
    tags += [(273, 4, 200), (277, 3, 1), (278, 4, height), (279, 4, len(data)), (339, 3, kind)]
    form = {3: byte_order + "HHIHH", 4: byte_order + "HHII"}
    table = b"".join(struct.pack(form[size], tag, size, 1, *((v, 0) if size == 3 else (v,))) for tag, size, v in tags)
    head = (b"II" if byte_order == "<" else b"MM") + struct.pack(byte_order + "HI", 42, 8)
    path.write_bytes((head + struct.pack(byte_order + "H", len(tags)) + table + bytes(4)).ljust(200, b"\0") + data)
    return path


def shown(path: Path) -> list[int]:
    """The levels of the first row as trained; the image is grey."""
    array = np.asarray(load_rgb(path))
    assert (array[..., 0] == array[..., 1]).all()
    assert (array[..., 0] == array[..., 2]).all()
    return [int(level) for level in array[0, :, 0]]


def stretched(low: float, high: float, kind: str) -> np.ndarray:
    """16 values at even distances, 4 rows."""
    row = np.array([low + (high - low) * level / 255 for level in RAMP])
    return np.tile(np.round(row) if kind[0] in "iu" else row, (4, 1)).astype(kind)


@pytest.mark.parametrize("byte_order", ["<", ">"])
def test_16_bits_of_channels_that_lie_apart(tmp_path: Path, byte_order: str) -> None:
    """As scientific programs and video tools write RGB: all of red, then all of green, then all of blue."""
    plane = np.tile(np.array(RAMP) * 257, (4, 1)).astype(byte_order + "u2").tobytes()
    form = {3: byte_order + "HHIHH", 4: byte_order + "HHII"}

    def tag(number: int, size: int, value: int) -> bytes:
        return struct.pack(form[size], number, size, 1, *((value, 0) if size == 3 else (value,)))

    tags = [tag(256, 4, 16), tag(257, 4, 4), struct.pack(byte_order + "HHII", 258, 3, 3, 200)]
    tags += [tag(259, 3, 1), tag(262, 3, 2), struct.pack(byte_order + "HHII", 273, 4, 3, 206), tag(277, 3, 3), tag(278, 4, 4)]
    tags += [struct.pack(byte_order + "HHII", 279, 4, 3, 218), tag(284, 3, 2)]
    head = (b"II" if byte_order == "<" else b"MM") + struct.pack(byte_order + "HIH", 42, 8, len(tags))
    lists = struct.pack(byte_order + "3H6I", 16, 16, 16, *(240 + at * len(plane) for at in range(3)), *([len(plane)] * 3))
    path = tmp_path / "apart.tif"
    path.write_bytes(((head + b"".join(tags) + bytes(4)).ljust(200, b"\0") + lists).ljust(240, b"\0") + plane * 3)
    assert read_header(path).traits.bits == 16
    assert shown(path) == list(RAMP)


@pytest.mark.parametrize("byte_order", ["<", ">"])
@pytest.mark.parametrize(
    ("low", "high", "kind"),
    [
        (0, 65535, "u2"),
        (0, 4_294_967_295, "u4"),
        (0, 255, "u4"),
        (-32768, 32767, "i2"),
        (0, 32767, "i2"),
        (-5000, 20_000, "i2"),
        (-(2**31), 2**31 - 1, "i4"),
        (0, 65535, "i4"),
        (-128, 127, "i1"),
        (0, 1, "f4"),
        (-1, 1, "f4"),
        (0, 255, "f4"),
        (0, 65535, "f4"),
        (0, 3.5, "f4"),
        (-0.02, 1.04, "f4"),
    ],
)
def test_a_ramp_is_a_ramp_in_every_number_format(tmp_path: Path, low: float, high: float, kind: str, byte_order: str) -> None:
    if (kind, byte_order) == ("u4", ">"):
        pytest.skip("Pillow does not open it; the next test sees that it is named")
    sample = {"u": 1, "i": 2, "f": 3}[kind[0]]
    path = tiff(tmp_path / "a.tif", stretched(low, high, kind), sample, byte_order=byte_order)
    assert shown(path) == pytest.approx(RAMP, abs=1)
    thumbnail = load(path, 16, 2)
    assert thumbnail.rgb[0] < 12
    assert thumbnail.rgb[3 * 15] > 243
    facts = measure_image(path, 64)
    assert facts.luma_mean == pytest.approx(127.5, abs=3)


@pytest.mark.parametrize(("kind", "top"), [("u2", 65535), ("f4", 1)])
def test_where_zero_is_white(tmp_path: Path, kind: str, top: float) -> None:
    path = tiff(tmp_path / "a.tif", stretched(0, top, kind), 1 if kind == "u2" else 3, white_is_zero=True)
    assert shown(path) == pytest.approx(RAMP[::-1], abs=1)


def test_what_is_dark_stays_dark(tmp_path: Path) -> None:
    dark = np.full((4, 16), 0.05, "f4")
    assert shown(tiff(tmp_path / "a.tif", dark, 3))[0] == pytest.approx(13, abs=1)
    assert shown(tiff(tmp_path / "b.tif", np.full((4, 16), 3277, "u2"), 1))[0] == pytest.approx(13, abs=1)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_no_numbers_are_left_out_with_the_reason(tmp_path: Path, value: float) -> None:
    values = stretched(0, 1, "f4")
    values[2, 3] = value
    path = tiff(tmp_path / "a.tif", values, 3)
    for read in (load_rgb, lambda path: measure_image(path, 64)):
        with pytest.raises(ImageError, match="not numbers"):
            read(path)
    with pytest.raises(ThumbnailError, match="not numbers"):
        load(path, 8, 8)


@pytest.mark.parametrize(("kind", "sample"), [("f8", 3), ("u4", 1)])
def test_number_formats_that_are_not_read_are_named(tmp_path: Path, kind: str, sample: int) -> None:
    path = tiff(tmp_path / "a.tif", stretched(0, 1, kind), sample, byte_order=">")
    with pytest.raises(ImageError, match=r"TIFF that cannot be read.*save it as PNG"):
        read_header(path)


@given(st.floats(-1e6, 1e6, width=32), st.floats(0, 1e6, width=32), st.sampled_from(["F", "I", "I;16"]), st.booleans())
def test_nothing_is_clipped(low: float, more: float, mode: str, signed: bool) -> None:
    high = low + more
    if mode == "I;16":
        low, high = max(0.0, min(low, 65535.0)), max(0.0, min(high, 65535.0))
    start, scale = _range(low, high, 16 if mode == "I;16" else 32, mode, signed=signed and mode == "I")
    assert scale > 0
    assert (low - start) / scale >= 0
    assert (high - start) / scale <= 1 + 1e-6


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_a_transparent_grey_of_any_depth(tmp_path: Path, bits: int) -> None:
    """White is named as the transparent value: its pixels show the background, black ones stay."""
    white = 2**bits - 1
    row = {1: b"\x40", 2: b"\x30", 4: b"\x0f", 8: b"\x00\xff", 16: b"\0\0\xff\xff"}[bits]
    path = tmp_path / "a.png"
    path.write_bytes(png(2, 1, bits, 0, b"\0" + row, (b"tRNS", struct.pack(">H", white))))
    assert [load_rgb(path, (10, 20, 30)).getpixel((x, 0)) for x in (0, 1)] == [(0, 0, 0), (10, 20, 30)]


def test_a_transparent_colour_of_16_bits(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    pixels = struct.pack(">6H", 0x1234, 0x5678, 0x9ABC, 0, 0, 0)
    path.write_bytes(png(2, 1, 16, 2, b"\0" + pixels, (b"tRNS", pixels[:6])))
    assert [load_rgb(path, (10, 20, 30)).getpixel((x, 0)) for x in (0, 1)] == [(10, 20, 30), (0, 0, 0)]


def png(width: int, height: int, bits: int, colour: int, rows: bytes, *more: tuple[bytes, bytes]) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    parts = [chunk(b"IHDR", head), *(chunk(*one) for one in more), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize(
    ("mode", "value", "rgb"),
    [
        ("CMYK", (0, 255, 255, 0), (255, 0, 0)),
        ("LAB", (255, 128, 128), (255, 255, 255)),
        ("YCbCr", (76, 85, 255), (254, 0, 0)),
        ("1", 1, (255, 255, 255)),
        ("LA", (0, 128), (127, 127, 127)),
        ("PA", (0, 0), (255, 255, 255)),
    ],
)
def test_colour_spaces_of_tiff(tmp_path: Path, mode: str, value: object, rgb: tuple[int, int, int]) -> None:
    path = tmp_path / "a.tif"
    Image.new(mode, (8, 8), value).save(path)  # type: ignore[arg-type]  # the table holds a value of each mode
    assert load_rgb(path).getpixel((4, 4)) == pytest.approx(rgb, abs=2)


def test_premultiplied_transparency(tmp_path: Path) -> None:
    """Grey 100 of half opacity, stored as 50: on black it is 50, on white 50 + 127."""
    path = tmp_path / "a.tif"
    Image.new("LA", (8, 8), (50, 128)).save(path)
    data = path.read_bytes()
    at = data.index(struct.pack("<HHIHH", 338, 3, 1, 2, 0))
    path.write_bytes(data[: at + 8] + b"\x01" + data[at + 9 :])  # extra samples: associated
    assert load_rgb(path, (0, 0, 0)).getpixel((0, 0)) == pytest.approx((50, 50, 50), abs=1)
    assert load_rgb(path, (255, 255, 255)).getpixel((0, 0)) == pytest.approx((177, 177, 177), abs=1)


def test_a_palette_keeps_its_profile_and_its_transparency(tmp_path: Path) -> None:
    palette = Image.new("P", (8, 8), 0)
    palette.putpalette([200, 90, 80, 1, 2, 3])
    palette.putpixel((0, 0), 1)
    path = tmp_path / "a.png"
    palette.save(path, transparency=1)
    assert load_rgb(path, (9, 9, 9)).getpixel((0, 0)) == (9, 9, 9)
    assert load_rgb(path, (9, 9, 9)).getpixel((4, 4)) == (200, 90, 80)


def text(length: int) -> PngImagePlugin.PngInfo:
    info = PngImagePlugin.PngInfo()
    info.add_text("workflow", "w" * length)
    info.add_text("prompt", "p" * length, zip=True)
    info.add_itxt("parameters", "ü" * length, zip=True)
    return info


def test_a_png_with_the_work_flow_of_another_program_is_read_without_it(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.new("RGB", (64, 32), (10, 200, 30)).save(path, pnginfo=text(3_000_000))
    assert (read_header(path).width, read_header(path).height) == (64, 32)
    assert load_rgb(path).getpixel((5, 5)) == (10, 200, 30)
    assert measure_image(path, 64).luma_mean == pytest.approx(124, abs=2)
    assert load(path, 8, 8).rgb[:3] == bytes((10, 200, 30))


def test_texts_behind_the_pixels_are_left_aside_too(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.new("RGB", (64, 32), (10, 200, 30)).save(path)
    data = path.read_bytes()
    chunk = b"zTXtprompt\0\0" + zlib.compress(b"p" * 80_000_000)
    late = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    path.write_bytes(data[:-12] + late + data[-12:])
    assert load_rgb(path).getpixel((5, 5)) == (10, 200, 30)


@pytest.mark.parametrize("length", [1_500_000, 100_000_000])
def test_a_long_profile_does_no_harm(tmp_path: Path, length: int) -> None:
    """What follows the profile of Display P3 is padding: up to 8 MB the colours are turned all the same."""
    path = tmp_path / "a.png"
    profile = bytearray(display_p3().ljust(length, b"\0"))
    profile[:4] = struct.pack(">I", length)
    Image.new("RGB", (8, 8), (200, 90, 80)).save(path, icc_profile=bytes(profile))
    turned = length < 8_000_000
    assert load_rgb(path).getpixel((0, 0)) == pytest.approx((217, 80, 73) if turned else (200, 90, 80), abs=1)
