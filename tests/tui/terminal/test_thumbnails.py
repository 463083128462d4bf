"""Images as half blocks: every kind that people have, and every kind that does harm."""

from __future__ import annotations

import fcntl
import os
import struct
import termios
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from small_files import HEIC

from loratui.engine.dataset import decoding, display_worker
from loratui.tui.terminal import thumbnails
from loratui.tui.terminal.canvas import half_cell
from loratui.tui.terminal.thumbnails import ThumbnailError, load, room_of


def _save(path: Path, mode: str = "RGB", size: tuple[int, int] = (40, 20), **options: object) -> Path:
    Image.new(mode, size).save(path, **options)
    return path


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "LA", "P", "1", "I;16"])
def test_every_mode_of_png_can_be_shown(tmp_path: Path, mode: str) -> None:
    image = load(_save(tmp_path / "a.png", mode), 20, 10)
    assert (image.width, image.height) == (20, 10)
    assert len(image.rgb) == 20 * 10 * 3


def test_cmyk_and_jpeg_drafts(tmp_path: Path) -> None:
    assert load(_save(tmp_path / "a.jpg", "CMYK", (4000, 3000)), 16, 16).width == 16


def test_a_photo_that_lies_on_its_side_is_put_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "a.jpg"
    Image.new("RGB", (40, 20)).save(path, exif=exif)
    image = load(path, 20, 20)
    assert image.height > image.width
    assert (image.source_width, image.source_height) == (20, 40)


def test_sixteen_bits_keep_their_brightness(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.new("I;16", (8, 8), 0x8000).save(path)
    assert abs(load(path, 4, 2).rgb[0] - 128) <= 1


def test_transparency_lies_on_grey(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.new("RGBA", (8, 8), (255, 0, 0, 0)).save(path)
    assert load(path, 4, 2).rgb[:3] == bytes((128, 128, 128))


def test_few_colours_are_those_of_the_terminal(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.linear_gradient("L").convert("RGB").save(path)
    rgb = load(path, 16, 8, few_colours=True).rgb
    allowed = {0, 95, 135, 175, 215, 255, *range(8, 239, 10)}
    assert set(rgb) <= allowed


def test_a_bomb_is_refused_from_its_header(tmp_path: Path) -> None:
    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    path = tmp_path / "bomb.png"
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + struct.pack(">I", 13)
        + chunk
        + struct.pack(">I", zlib.crc32(chunk))
        + struct.pack(">I", 9)
        + b"IDAT"
        + b"\0" * 13
    )
    with pytest.raises(ThumbnailError, match="megapixels"):
        load(path, 10, 10)


@pytest.mark.parametrize("content", [b"", b"not an image", b"\x89PNG\r\n\x1a\n" + b"\x00" * 40])
def test_what_is_no_image_is_refused_in_words(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(ThumbnailError, match=r"is empty|is not an image"):
        load(path, 10, 10)


def test_half_a_file_is_refused(tmp_path: Path) -> None:
    path = _save(tmp_path / "a.png", size=(300, 300))
    Image.effect_noise((300, 300), 50).save(path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ThumbnailError):
        load(path, 10, 10)


def test_a_missing_file_and_a_format_that_is_not_asked_for(tmp_path: Path) -> None:
    with pytest.raises(ThumbnailError, match="cannot be read"):
        load(tmp_path / "none.png", 10, 10)
    (tmp_path / "a.eps").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n")
    with pytest.raises(ThumbnailError):
        load(tmp_path / "a.eps", 10, 10)


def test_a_changed_file_is_decoded_again_and_an_unchanged_one_is_not(tmp_path: Path) -> None:
    path = _save(tmp_path / "a.png")
    first = load(path, 10, 10)
    assert load(path, 10, 10) is first
    Image.new("RGB", (40, 20), (9, 9, 9)).save(path)
    os.utime(path, ns=(1, 1))
    assert load(path, 10, 10) is not first


def test_the_cache_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thumbnails, "_CACHED", 3)
    path = _save(tmp_path / "a.png")
    for columns in range(1, 12):
        load(path, columns, 5)
    assert len(thumbnails._cache) <= 3


@given(st.integers(1, 20_000), st.integers(1, 20_000), st.integers(1, 200), st.integers(1, 100))
def test_the_size_fits_and_is_even(width: int, height: int, columns: int, rows: int) -> None:
    fit_width, fit_height = room_of(columns, rows).fitted(width, height)
    assert 1 <= fit_width <= columns
    assert 2 <= fit_height <= 2 * rows
    assert fit_height % 2 == 0


@pytest.mark.parametrize("cell", [(10, 20), (8, 17), (7, 17), (9, 18), (12, 20)])
@pytest.mark.parametrize("size", [(512, 512), (1024, 640), (640, 1024)])
def test_an_image_keeps_its_shape_whatever_shape_the_cells_have(cell: tuple[int, int], size: tuple[int, int]) -> None:
    wide, high = cell
    width, height = room_of(60, 40, 2 * wide / high).fitted(*size)
    assert width <= 60
    assert height <= 80
    assert height % 2 == 0
    assert (width * wide) / (height * high / 2) == pytest.approx(size[0] / size[1], rel=0.04)


def test_other_cells_are_another_image_in_the_cache(tmp_path: Path) -> None:
    path = _save(tmp_path / "a.png", size=(64, 64))
    assert load(path, 40, 40).height == 40
    assert load(path, 40, 40, shape=0.85).height == 34


@pytest.mark.parametrize(
    ("window", "shape"),
    [
        ((43, 157, 1099, 731), 0.82),
        ((24, 80, 640, 408), 0.94),
        ((24, 80, 0, 0), 1.0),
        ((0, 0, 9, 9), 1.0),
        ((24, 80, 9, 900), 1.0),
    ],
)
def test_the_kernel_tells_the_shape_of_a_cell_where_it_knows_it(window: tuple[int, int, int, int], shape: float) -> None:
    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", *window))
    assert half_cell(slave) == shape
    os.close(master)
    os.close(slave)
    assert half_cell(slave) == 1.0


def test_a_sliver_keeps_at_least_one_cell(tmp_path: Path) -> None:
    image = load(_save(tmp_path / "a.png", size=(1, 10_000)), 20, 10)
    assert image.width == 1
    assert len(image.row(0)) == 1


@pytest.mark.parametrize("name", ["IMG_1.HEIC", "sent.jpg"])
def test_heic_is_shown_upright_where_its_extra_is_installed(tmp_path: Path, name: str) -> None:
    pytest.importorskip("pi_heif")
    (tmp_path / name).write_bytes(HEIC)
    shown = load(tmp_path / name, 16, 16)
    assert (shown.source_width, shown.source_height) == (32, 64)
    assert (shown.width, shown.height) == (16, 32)


def test_without_its_extra_heic_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "heif_is_read", lambda: False)
    (tmp_path / "a.heic").write_bytes(HEIC)
    with pytest.raises(decoding.ImageError, match=r"loratui\[heic\]"):
        display_worker.decode(tmp_path / "a.heic", room_of(16, 16), (0, 0, 0))
