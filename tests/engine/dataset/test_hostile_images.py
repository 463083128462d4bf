"""Bombs, images that change or vanish under the reader's hands, and files that are none: each named, nothing hurt."""

from __future__ import annotations

import io
import os
import stat
import struct
import tempfile
import time
import tracemalloc
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_images import clean_set, drawn
from PIL import Image

from loratui.engine.dataset.decoding import ImageError, load_rgb, read_header
from loratui.engine.dataset.deep import measure_all
from loratui.engine.dataset.measure import measure_image
from loratui.engine.dataset.scan import read_folder
from loratui.tui.terminal.thumbnails import ThumbnailError, load

MOST_MIB = 50


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *chunks: bytes, pixels: bytes = b"\0") -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    body = b"".join(chunks) + chunk(b"IDAT", zlib.compress(pixels))
    return b"\x89PNG\r\n\x1a\n" + header + body + chunk(b"IEND", b"")


def huge_png() -> bytes:
    return png(50_000, 50_000, pixels=bytes(20_000_000))


def huge_bmp() -> bytes:
    return b"BM" + struct.pack("<IHHI", 0, 0, 0, 54) + struct.pack("<IiiHHIIiiII", 40, 20_000, 20_000, 1, 24, 0, 0, 0, 0, 0, 0)


def huge_tiff() -> bytes:
    tags = (
        (256, 4, 1, 60_000),
        (257, 4, 1, 60_000),
        (258, 3, 1, 8),
        (259, 3, 1, 1),
        (262, 3, 1, 1),
        (273, 4, 1, 8),
        (277, 3, 1, 1),
    )
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags) + bytes(4)


def within_bounds(work: Callable[[], object]) -> None:
    """Runs `work` and sees that it needs neither much memory nor much time."""
    tracemalloc.start()
    began = time.process_time()
    try:
        work()
        used = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert used < MOST_MIB * 2**20
    # 0.05 s are promised; tracing memory makes it slower.
    assert time.process_time() - began < 0.5


@pytest.mark.parametrize("make", [huge_png, huge_bmp, huge_tiff])
def test_a_bomb_is_refused_from_its_header(tmp_path: Path, make: Callable[[], bytes]) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(make())

    def read() -> None:
        with pytest.raises(ImageError, match="megapixels"):
            read_header(path)

    read()  # loads Pillow
    within_bounds(read)


@pytest.mark.parametrize(
    "bomb",
    [
        chunk(b"iCCP", b"name\0\0" + zlib.compress(bytes(100_000_000))),
        chunk(b"zTXt", b"name\0\0" + zlib.compress(bytes(100_000_000))),
        chunk(b"iTXt", b"name\0\x01\0\0\0" + zlib.compress(bytes(100_000_000))),
        chunk(b"iCCP", b"name\0\0" + zlib.compress(bytes(7_000_000))) * 60,
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\x01\0\0\0" + zlib.compress(bytes(1_000_000))) * 60,
        chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(bytes(1_000_000))) * 60,
    ],
    ids=["iCCP", "zTXt", "iTXt", "many profiles", "many XMP", "many EXIF as text"],
)
def test_a_bomb_beside_the_pixels_is_never_unpacked(tmp_path: Path, bomb: bytes) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png(4, 4, bomb, pixels=bytes(13 * 4)))

    def read() -> None:
        with suppress(ImageError):  # refused or read without it: both are safe
            read_header(path)
            measure_image(path, 128)

    read()
    within_bounds(read)


def test_thousands_of_frames_are_not_read(tmp_path: Path) -> None:
    frames = [Image.new("P", (16, 16), at % 200) for at in range(2000)]
    frames[0].save(tmp_path / "a.png", save_all=True, append_images=frames[1:])
    drawn(1).save(tmp_path / "b.png")

    def read() -> None:
        assert read_header(tmp_path / "a.png").traits.animated

    read()
    within_bounds(read)


def in_many_passes(size: tuple[int, int], again: int) -> bytes:
    """A progressive JPEG whose last scan, with the table before it, comes so many times more."""
    file = io.BytesIO()
    Image.new("RGB", size, (200, 100, 50)).save(file, "JPEG", progressive=True)
    data = file.getvalue()
    scan = data.rindex(b"\xff\xda")
    begin = max(data.rfind(b"\xff\xc4", 0, scan), data.rfind(b"\xff\xda", 0, scan) + 1)
    return data[:-2] + data[begin:-2] * again + data[-2:]


def a_strip(mode: str, size: tuple[int, int], format: str) -> bytes:
    file = io.BytesIO()
    Image.new(mode, size).save(file, format)
    return file.getvalue()


def squeezed_tiff() -> bytes:
    file = io.BytesIO()
    Image.new("F", (7000, 4000)).save(file, "TIFF", compression="tiff_lzw")
    return file.getvalue()


COSTLY = {
    "passes": (lambda: in_many_passes((2000, 2000), 20_000), "more than 64 passes"),
    "passes of a small one": (lambda: in_many_passes((64, 64), 20_000), "more than 64 passes"),
    "16 bits, 1 px wide": (lambda: a_strip("I;16", (1, 65_000), "PNG"), "is a strip of 1 × 65000 px"),
    "very long": (lambda: a_strip("L", (1, 16_000_000), "PNG"), "more than 65535 px along one side"),
    "flat PNG": (lambda: a_strip("L", (7900, 7900), "PNG"), "as no photo has"),
    "flat WebP": (lambda: a_strip("L", (4000, 4000), "WEBP"), "as no photo has"),
    "flat TIFF": (squeezed_tiff, "as no photo has"),
}


@pytest.mark.parametrize("name", COSTLY)
def test_a_small_file_that_would_cost_much_is_refused_before_it_is_decoded(tmp_path: Path, name: str) -> None:
    make, why = COSTLY[name]
    path = tmp_path / "a.png"
    path.write_bytes(make())
    assert path.stat().st_size < 1_000_000
    drawn(0).save(tmp_path / "b.png")
    measure_image(tmp_path / "b.png", 128)

    def use() -> None:
        read_header(path)
        measure_image(path, 128)

    def refused() -> None:
        with pytest.raises(ImageError, match=why):
            use()

    within_bounds(refused)
    if "strip" not in why:  # which is only no use in training
        with pytest.raises(ImageError, match=why):
            load_rgb(path)
        with pytest.raises(ThumbnailError, match=why):
            load(path, 10, 10)


def test_passes_of_a_usual_progressive_jpeg_are_few(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    for subsampling in (0, 1, 2):
        drawn(1, (300, 200)).save(path, progressive=True, subsampling=subsampling, comment=b"\xff\xda" * 200)
        assert load_rgb(path).size == (300, 200)


def test_markers_that_lie_within_segments_are_no_passes(tmp_path: Path) -> None:
    """EXIF holds a JPEG of its own, and what phones append is another image."""
    path = tmp_path / "a.jpg"
    drawn(1, (300, 200)).save(path, progressive=True, exif=b"Exif\0\0" + b"\xff\xda\0\4" * 300)
    path.write_bytes(path.read_bytes() + in_many_passes((16, 16), 200))
    assert load_rgb(path).size == (300, 200)


@given(st.binary(max_size=300), st.sampled_from(["JPEG", "PNG", "TIFF", "WEBP", "BMP"]), st.data())
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_an_image_or_a_reason(rubbish: bytes, format: str, data: st.DataObject) -> None:
    file = io.BytesIO()
    drawn(1, (24, 16)).save(file, format, progressive=True)
    content = bytearray(file.getvalue())
    at = data.draw(st.integers(0, len(content)))
    content[at : at + data.draw(st.integers(0, 40))] = rubbish
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "a.png"
        path.write_bytes(bytes(content))
        with suppress(ImageError):
            read_header(path)
            load_rgb(path)


@pytest.mark.parametrize("change", ["gone", "cut", "a pipe", "another image"])
def test_an_image_that_changes_between_scan_and_measuring(tmp_path: Path, change: str) -> None:
    folder = clean_set(tmp_path / "set", 2)
    found = read_folder(folder)
    path = folder / "00.png"
    if change == "cut":
        path.write_bytes(path.read_bytes()[:500])
    else:
        path.unlink()
    if change == "a pipe":
        os.mkfifo(path)
    if change == "another image":
        drawn(9, (40, 30)).save(path)
    result = measure_all(found.images, 128, workers=1)
    assert "01.png" in result.facts
    assert list(result.damaged) == ([] if change == "another image" else ["00.png"])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes devices")
def test_a_device_is_never_opened(tmp_path: Path) -> None:
    clean_set(tmp_path, 1)
    try:
        os.mknod(tmp_path / "null.png", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("this container makes no devices")
    (left_out,) = read_folder(tmp_path).left_out
    assert (left_out.relative, left_out.reason, left_out.image) == ("null.png", "is a pipe, socket or device", True)
