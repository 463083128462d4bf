"""An image file as numbers, and back."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import torch
from PIL import Image

from loratui.engine.dataset.buckets import Bucket, Fit, fit
from loratui.engine.training.images import load_pixels, to_png, to_tensor


def test_bytes_become_minus_one_to_one_in_the_order_red_green_blue() -> None:
    image = Image.new("RGB", (2, 1), (0, 255, 51))
    image.putpixel((1, 0), (255, 0, 0))
    tensor = to_tensor(image)
    assert tensor.shape == (3, 1, 2)
    assert tensor[:, 0, 0].tolist() == pytest.approx([-1.0, 1.0, -0.6])
    assert tensor[:, 0, 1].tolist() == [1.0, -1.0, -1.0]


def test_an_image_is_resized_and_then_cropped_where_the_ledger_says(tmp_path: Path) -> None:
    left, right = Image.new("RGB", (64, 64), "red"), Image.new("RGB", (64, 64), "blue")
    wide = Image.new("RGB", (128, 64))
    wide.paste(left, (0, 0))
    wide.paste(right, (64, 0))
    wide.save(tmp_path / "wide.png")
    fit = Fit(resized_w=256, resized_h=128, left=120, top=32)
    pixels = load_pixels(tmp_path / "wide.png", fit, Bucket(16, 64))
    assert pixels.shape == (3, 64, 16)
    assert pixels[:, 30, 0].tolist() == pytest.approx([1.0, -1.0, -1.0], abs=0.05)
    assert pixels[:, 30, 15].tolist() == pytest.approx([-1.0, -1.0, 1.0], abs=0.05)


def test_a_png_holds_the_pixels_and_nothing_else() -> None:
    pixels = torch.arange(3 * 4 * 5, dtype=torch.uint8).view(3, 4, 5)
    with Image.open(io.BytesIO(to_png(pixels))) as image:
        assert image.size == (5, 4)
        assert image.info == {}
        assert image.getpixel((4, 3)) == (19, 39, 59)


def test_a_strip_is_cut_before_it_is_enlarged(tmp_path: Path) -> None:
    """Resized as a whole it would be a hundred times its bucket; what is kept is the same."""
    Image.linear_gradient("L").resize((6400, 64)).convert("RGB").save(tmp_path / "strip.png")
    bucket = Bucket(512, 512)
    place = fit(6400, 64, bucket)
    assert place.resized_w * place.resized_h > 50 * 512 * 512
    pixels = load_pixels(tmp_path / "strip.png", place, bucket)
    with Image.open(tmp_path / "strip.png") as strip:
        whole = strip.resize((place.resized_w, place.resized_h), Image.Resampling.LANCZOS)
    cut = whole.crop((place.left, place.top, place.left + 512, place.top + 512))
    assert (pixels - to_tensor(cut)).abs().max() <= 4 / 127.5
