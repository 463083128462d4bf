"""One image stored in all the ways that an orientation can be, seen the same way up by everything that reads images."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin
from small_files import HEIC

from loratui.engine.dataset.buckets import BucketRule, assign, fit
from loratui.engine.dataset.decoding import load_rgb, read_header
from loratui.engine.dataset.measure import measure_image
from loratui.engine.dataset.prepared_copy import make_copy
from loratui.engine.dataset.remedies import Remedy
from loratui.engine.dataset.scan import scan
from loratui.engine.training.images import load_pixels
from loratui.tui.terminal.thumbnails import load

SIZE = (96, 64)
QUARTERS = ((220, 30, 30), (30, 200, 40), (40, 50, 220), (230, 220, 40))
"""Upper left, upper right, lower left, lower right of the upright image."""
STORED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
XMP = b'<x:xmpmeta><rdf:Description tiff:Orientation="%d"/></x:xmpmeta>'


def upright() -> Image.Image:
    image = Image.new("RGB", SIZE)
    for at, colour in enumerate(QUARTERS):
        image.paste(colour, (48 * (at % 2), 32 * (at // 2), 48 * (at % 2) + 48, 32 * (at // 2) + 32))
    return image


def exif(orientation: int) -> Image.Exif:
    table = Image.Exif()
    table[0x0112] = orientation
    return table


def stored(orientation: int) -> Image.Image:
    how = STORED[orientation]
    return upright() if how is None else upright().transpose(how)


def late_exif(path: Path, orientation: int) -> None:
    """A PNG whose EXIF stands behind its pixels, as the format allows."""
    stored(orientation).save(path)
    chunk = b"eXIf" + exif(orientation).tobytes()[6:]
    data = path.read_bytes()
    late = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    path.write_bytes(data[:-12] + late + data[-12:])


def save(path: Path, kind: str, orientation: int) -> Path:
    image, path = stored(orientation), path / f"a.{kind.partition(' ')[0]}"
    xmp = XMP % orientation
    if kind == "png late":
        late_exif(path, orientation)
    elif kind == "png xmp":
        info = PngImagePlugin.PngInfo()
        info.add_itxt("XML:com.adobe.xmp", xmp.decode())
        image.save(path, pnginfo=info)
    elif kind in ("jpg xmp", "webp xmp"):
        image.save(path, xmp=xmp, quality=95)
    elif kind == "tif xmp":
        image.save(path, tiffinfo={700: xmp})
    elif kind == "tif lzw":
        image.save(path, exif=exif(orientation), compression="tiff_lzw")
    elif kind == "mpo":
        image.save(path, save_all=True, append_images=[Image.new("RGB", SIZE)], exif=exif(orientation), quality=95)
    else:
        image.save(path, exif=exif(orientation), quality=95)
    return path


def quarters(pixels: NDArray[np.generic]) -> list[tuple[int, ...]]:
    """The colours in the middle of the four quarters of height × width × 3 levels."""
    height, width = pixels.shape[:2]
    return [tuple(int(v) for v in pixels[height * y // 4, width * x // 4]) for y in (1, 3) for x in (1, 3)]


def is_upright(pixels: NDArray[np.generic]) -> bool:
    height, width = pixels.shape[:2]
    difference = np.abs(np.array(quarters(pixels)) - np.array(QUARTERS))
    return width > height and int(difference.max()) <= 14


KINDS = ("jpg", "png", "webp", "tif", "tif lzw", "avif", "mpo", "png late", "png xmp", "jpg xmp", "webp xmp", "tif xmp")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", KINDS)
def test_every_reader_sees_it_upright(tmp_path: Path, kind: str, orientation: int) -> None:
    path = save(tmp_path, kind, orientation)
    (entry,) = scan(tmp_path).images
    assert (entry.width, entry.height) == SIZE
    assert read_header(path).traits.orientation == orientation
    assert is_upright(np.asarray(load_rgb(path)))
    assert is_upright(np.asarray(load_rgb(path, least=SIZE)))

    facts = measure_image(path, 64)
    assert is_upright(np.frombuffer(facts.thumbnail, np.uint8).reshape(8, 8, 3).repeat(2, axis=1))

    shown = load(path, 30, 20)
    assert (shown.source_width, shown.source_height) == SIZE
    assert is_upright(np.frombuffer(shown.rgb, np.uint8).reshape(shown.height, shown.width, 3))

    bucket = assign(entry.width, entry.height, BucketRule(64, 8, 32, 128))
    assert bucket.width > bucket.height
    tensor = load_pixels(path, fit(*SIZE, bucket), bucket)
    assert is_upright(((tensor.permute(1, 2, 0).numpy() + 1) * 127.5).astype(np.uint8))

    make_copy(scan(tmp_path), [Remedy("shrink", entry.relative, longest_px=72)], tmp_path / "copy" / "set")
    (made,) = (tmp_path / "copy" / "set").glob("*.png")
    with Image.open(made) as image:
        assert "exif" not in image.info
        assert is_upright(np.asarray(image))


@pytest.mark.parametrize("value", [0, 9, 77, 65535])
@pytest.mark.parametrize("kind", ["jpg", "png", "webp", "tif"])
def test_an_orientation_that_is_none_changes_nothing(tmp_path: Path, kind: str, value: int) -> None:
    path = tmp_path / f"a.{kind}"
    upright().save(path, exif=exif(value), quality=95)
    header = read_header(path)
    assert (header.width, header.height, header.traits.orientation) == (*SIZE, 1)
    assert is_upright(np.asarray(load_rgb(path)))


def test_a_broken_exif_block_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    upright().save(path, exif=b"Exif\0\0II*\0\xff\xff\xff\x7f" + bytes(30), quality=95)
    assert read_header(path).traits.orientation == 1
    assert is_upright(np.asarray(load_rgb(path)))


def test_exif_counts_before_xmp(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    stored(6).save(path, exif=exif(6), xmp=XMP % 3, quality=95)
    assert is_upright(np.asarray(load_rgb(path)))


@pytest.mark.parametrize("turns", range(4))
def test_heic_keeps_its_turn_in_the_container(tmp_path: Path, turns: int) -> None:
    """`irot` counts quarters of a turn against the clock; an EXIF orientation beside it does not count."""
    pytest.importorskip("pi_heif")
    at = HEIC.index(b"irot") + 4
    path = tmp_path / "a.heic"
    path.write_bytes(HEIC[:at] + bytes([turns]) + HEIC[at + 1 :])
    size = (64, 32) if turns % 2 == 0 else (32, 64)
    header = read_header(path)
    assert (header.width, header.height) == size
    assert load_rgb(path).size == size
    shown = load(path, 32, 16)
    assert (shown.source_width, shown.source_height) == size
    (tmp_path / "whole.heic").write_bytes(HEIC)
    whole = load_rgb(tmp_path / "whole.heic")
    again = load_rgb(path).rotate(-90 * (turns - 3), expand=True)
    assert np.abs(np.asarray(again).astype(int) - np.asarray(whole)).max() <= 2


def test_fractions_count_as_pillow_counts_them(tmp_path: Path) -> None:
    """A TIFF's orientation of the wrong type: whatever Pillow makes of it, size and pixels say the same."""
    buffer = io.BytesIO()
    stored(6).save(buffer, "TIFF", exif=exif(6))
    data = buffer.getvalue()
    at = data.index(b"\x12\x01\x03\x00")
    path = tmp_path / "a.tif"
    path.write_bytes(data[:at] + b"\x12\x01\x04\x00" + data[at + 4 :])  # LONG in place of SHORT
    header = read_header(path)
    assert (header.width, header.height) == load_rgb(path).size
