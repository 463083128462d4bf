"""Images: headers without decoding, hostile files refused, and pixels as they are trained on."""

from __future__ import annotations

import os
import struct
import tracemalloc
import zlib
from pathlib import Path

import pytest
from made_images import display_p3
from PIL import Image, ImageCms, PngImagePlugin

from loratui.engine.dataset.checks import run_checks
from loratui.engine.dataset.checks.case import Case
from loratui.engine.dataset.decoding import ImageError, check_decodes, load_rgb, read_header
from loratui.engine.dataset.prepared_copy import make_copy
from loratui.engine.dataset.remedies import proposed
from loratui.engine.dataset.scan import scan
from loratui.presets import load_preset, schema


def save(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)  # type: ignore[arg-type]
    return path


def png_of_size(path: Path, width: int, height: int) -> Path:
    """A PNG that claims a size without having its pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + data)
    return path


@pytest.mark.parametrize(
    ("suffix", "format"),
    [("png", "PNG"), ("jpg", "JPEG"), ("webp", "WEBP"), ("bmp", "BMP"), ("tiff", "TIFF"), ("avif", "AVIF")],
)
def test_headers_of_all_formats(tmp_path: Path, suffix: str, format: str) -> None:
    path = save(tmp_path / f"a.{suffix}", Image.new("RGB", (40, 20), "red"))
    header = read_header(path)
    assert (header.width, header.height, header.format, header.traits.orientation) == (40, 20, format, 1)
    check_decodes(path)
    red, green, blue = load_rgb(path).getpixel((5, 5))  # type: ignore[misc]
    assert red > 240
    assert green < 20
    assert blue < 20


@pytest.mark.parametrize("exif", [None, 1])
def test_avif_is_turned_by_its_own_boxes_alone(tmp_path: Path, exif: int | None) -> None:
    """Their XMP tells how a camera stood, as their EXIF does; what shows them looks at neither."""
    tags = Image.Exif()
    if exif:
        tags[0x112] = exif
    xmp = b'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/>'
    path = save(tmp_path / "a.avif", Image.new("RGB", (40, 20)), exif=tags, xmp=xmp)
    header = read_header(path)
    assert (header.width, header.height, header.traits.orientation) == (40, 20, 1)
    assert load_rgb(path).size == (40, 20)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_rotation_by_exif(tmp_path: Path, orientation: int, suffix: str) -> None:
    """The upright image has its red corner at the top left, whatever way it was stored."""
    upright = Image.new("RGB", (40, 20), "white")
    upright.paste("red", (0, 0, 12, 8))
    stored_by = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    stored = upright if stored_by is None else upright.transpose(stored_by)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / f"a.{suffix}", stored, exif=exif, quality=95)
    assert (read_header(path).width, read_header(path).height) == (40, 20)
    image = load_rgb(path)
    assert image.size == (40, 20)
    corner, far = image.getpixel((3, 2)), image.getpixel((36, 17))
    assert corner[0] > 200 > 80 > corner[1]  # type: ignore[index]
    assert min(far) > 200  # type: ignore[arg-type,type-var]


def test_nonsense_orientation_is_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 77
    path = save(tmp_path / "a.jpg", Image.new("RGB", (40, 20)), exif=exif)
    assert read_header(path).traits.orientation == 1


def test_transparency_is_laid_on_the_background_not_revealed(tmp_path: Path) -> None:
    hidden = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    assert load_rgb(save(tmp_path / "a.png", hidden)).getpixel((0, 0)) == (255, 255, 255)
    assert load_rgb(tmp_path / "a.png", background=(0, 0, 255)).getpixel((0, 0)) == (0, 0, 255)
    palette = Image.new("P", (8, 8), 3)
    palette.putpalette([0, 0, 0] * 3 + [255, 0, 0])
    path = save(tmp_path / "b.png", palette, transparency=3)
    assert load_rgb(path).getpixel((0, 0)) == (255, 255, 255)
    grey = Image.new("LA", (8, 8), (0, 128))
    assert load_rgb(save(tmp_path / "c.png", grey)).getpixel((0, 0)) == (127, 127, 127)


def test_16_bit_grey_is_scaled_not_clipped(tmp_path: Path) -> None:
    ramp = Image.new("I;16", (256, 1))
    for x in range(256):
        ramp.putpixel((x, 0), x * 257)
    image = load_rgb(save(tmp_path / "a.png", ramp))
    assert [image.getpixel((x, 0)) for x in (0, 100, 255)] == [(0, 0, 0), (100, 100, 100), (255, 255, 255)]


def test_dark_16_bit_grey_stays_dark(tmp_path: Path) -> None:
    dark = Image.new("I;16", (8, 8), 200)
    assert load_rgb(save(tmp_path / "a.png", dark)).getpixel((0, 0)) == (1, 1, 1)


def test_cmyk_and_one_bit(tmp_path: Path) -> None:
    cmyk = load_rgb(save(tmp_path / "a.jpg", Image.new("CMYK", (8, 8), (0, 255, 255, 0)), quality=95))
    red, green, _ = cmyk.getpixel((4, 4))  # type: ignore[misc]
    assert red > 200 > 80 > green
    bits = load_rgb(save(tmp_path / "b.png", Image.new("1", (8, 8), 1)))
    assert bits.getpixel((0, 0)) == (255, 255, 255)


def test_colour_profiles_are_turned_to_srgb_and_broken_ones_ignored(tmp_path: Path) -> None:
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    path = save(tmp_path / "a.png", Image.new("RGB", (8, 8), (10, 200, 30)), icc_profile=lab)
    assert load_rgb(path).getpixel((0, 0)) == pytest.approx((10, 200, 30), abs=2)
    broken = save(tmp_path / "b.png", Image.new("RGB", (8, 8), (10, 200, 30)), icc_profile=b"nonsense")
    assert load_rgb(broken).getpixel((0, 0)) == (10, 200, 30)


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_row_21_the_colours_of_a_phone_are_turned_to_srgb(tmp_path: Path, mode: str) -> None:
    """A colour of Display P3 is a more saturated one of sRGB: the numbers are those of the two sets of primaries."""
    colour = (200, 90, 80) if mode == "RGB" else (200, 90, 80, 255)
    path = save(tmp_path / "a.png", Image.new(mode, (8, 8), colour), icc_profile=display_p3())
    assert load_rgb(path).getpixel((0, 0)) == pytest.approx((217, 80, 73), abs=1)
    grey = save(tmp_path / "b.png", Image.new("RGB", (8, 8), (128, 128, 128)), icc_profile=display_p3())
    assert load_rgb(grey).getpixel((0, 0)) == pytest.approx((128, 128, 128), abs=2)


def test_only_the_first_frame_counts(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    path = tmp_path / "a.webp"
    frames[0].save(path, save_all=True, append_images=frames[1:], lossless=True)
    assert load_rgb(path).getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize("suffix", ["png", "webp"])
def test_cut_short_is_seen_from_lengths(tmp_path: Path, suffix: str) -> None:
    path = save(tmp_path / f"a.{suffix}", Image.effect_noise((200, 200), 80).convert("RGB"))
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ImageError, match="is cut short"):
        read_header(path)


@pytest.mark.parametrize("missing", [1, 4, 11, 12])
def test_a_png_without_the_mark_of_its_end_is_whole(tmp_path: Path, missing: int) -> None:
    path = save(tmp_path / "a.png", Image.new("RGB", (40, 20), "red"))
    path.write_bytes(path.read_bytes()[:-missing])
    assert read_header(path).width == 40
    assert load_rgb(path).getpixel((39, 19)) == (255, 0, 0)


def test_a_jpeg_cut_short_is_found_by_decoding(tmp_path: Path) -> None:
    path = save(tmp_path / "a.jpg", Image.effect_noise((400, 400), 80).convert("RGB"))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert read_header(path).width == 400
    with pytest.raises(ImageError, match="damaged"):
        check_decodes(path)
    with pytest.raises(ImageError, match="damaged"):
        load_rgb(path)


def test_bytes_behind_the_image_do_no_harm(tmp_path: Path) -> None:
    """Phones append films to photographs."""
    for suffix in ("jpg", "png"):
        path = save(tmp_path / f"a.{suffix}", Image.new("RGB", (40, 20), "red"))
        path.write_bytes(path.read_bytes() + bytes(200_000))
        assert read_header(path).width == 40
        check_decodes(path)


@pytest.mark.parametrize(
    ("name", "data", "why"),
    [
        ("a.png", b"", "empty"),
        ("a.png", b"<html><body>Please log in</body></html>", "not an image"),
        ("a.jpg", b"\xff\xd8\xff\xe0" + bytes(50), "not an image|cannot be read"),
        ("a.png", b"8BPS" + bytes(100), "a paint program"),
        ("a.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", "not an image"),
        ("a.png", b"GIF89a" + bytes(100), "is a GIF"),
        ("a.tif", b"II*\0\x08\0\0\0\xff\xff" + bytes(60), "not an image|cannot be read"),
    ],
)
def test_what_is_no_image_is_refused(tmp_path: Path, name: str, data: bytes, why: str) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(ImageError, match=why):
        read_header(path)


@pytest.mark.parametrize(("width", "height"), [(50_000, 50_000), (13_000, 13_000), (8_001, 8_001)])
def test_a_decompression_bomb_is_refused_from_its_header(tmp_path: Path, width: int, height: int) -> None:
    path = png_of_size(tmp_path / "a.png", width, height)
    with pytest.raises(ImageError, match="megapixels"):
        read_header(path)
    with pytest.raises(ImageError):
        load_rgb(path)


def test_a_text_bomb_in_a_png_is_never_unpacked(tmp_path: Path) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("comment", "a" * 50_000_000, zip=True)
    path = save(tmp_path / "a.png", Image.new("RGB", (8, 8), "red"), pnginfo=info)
    tracemalloc.start()
    try:
        assert load_rgb(path).getpixel((0, 0)) == (255, 0, 0)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


def test_a_photo_of_108_megapixels_is_offered_to_be_shrunk(tmp_path: Path) -> None:
    save(tmp_path / "a.jpg", Image.new("L", (12_000, 9_000), 200))
    found = scan(tmp_path)
    case = Case(found, schema.replace(load_preset("demo").settings, {"dataset.trigger": "anafox"}))
    (remedy,) = (r for r in proposed(run_checks(case).findings, found) if r.relative == "a.jpg")
    assert remedy.kind == "shrink"
    make_copy(found, [remedy], tmp_path / "copy")
    assert [(i.width, i.height) for i in scan(tmp_path / "copy").images] == [(3000, 2250)]


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_photo_of_108_megapixels_is_used_at_a_half(tmp_path: Path, orientation: int) -> None:
    """Above 36 megapixels less is decoded, so that memory stays bounded; the header tells the true size all the same."""
    photo = Image.new("L", (12_000, 9_000), 200)
    photo.paste(20, (0, 0, 6_000, 4_500))
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / "a.jpg", photo, exif=exif)
    header = read_header(path)
    assert sorted((header.width, header.height)) == [9_000, 12_000]
    check_decodes(path)
    image = load_rgb(path)
    assert image.size == (header.width // 2, header.height // 2)
    dark = (100, 100) if orientation == 1 else (4_400, 100)
    assert image.getpixel(dark) == pytest.approx((20, 20, 20), abs=3)
    assert image.getpixel((100, 5_900 if orientation == 6 else 4_400)) == pytest.approx((200, 200, 200), abs=3)


def test_a_pipe_never_blocks(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(ImageError, match="regular file"):
        read_header(tmp_path / "a.png")


def test_a_missing_file_is_named_as_such(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="No such file"):
        read_header(tmp_path / "a.png")
