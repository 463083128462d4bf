"""Masks of images: which file belongs to which image, how much of each cell it marks, and what a copy makes of it."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from made_images import drawn
from PIL import Image

from loratui.engine.dataset import masks
from loratui.engine.dataset.buckets import Bucket, BucketRule, assign, fit
from loratui.engine.dataset.decoding import load_rgb
from loratui.engine.dataset.facts import Box
from loratui.engine.dataset.prepared_copy import copy_below
from loratui.engine.dataset.remedies import Remedy
from loratui.engine.dataset.scan import read_folder, scan
from loratui.presets.schema import Dataset

BY_FOLDER = Dataset(masks="folder")
BY_ALPHA = Dataset(masks="alpha")


def write(path: Path, image: Image.Image | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    (image or drawn(len(str(path)), (96, 64))).save(path)
    return path


def white(size: tuple[int, int] = (96, 64)) -> Image.Image:
    return Image.new("L", size, 255)


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("a.jpg", "masks/a.png"),
        ("a.jpg", "Mask/A.PNG"),
        ("a.png", "a-masklabel.png"),
        ("a.webp", "a_mask.png"),
        ("é.png", "masks/é.png"),
        ("10_anafox woman/a.png", "10_anafox woman/masks/a.png"),
        ("10_anafox woman/a.png", "masks/a.png"),
        ("10_anafox woman/a.png", "masks/10_anafox woman/a.png"),
        ("images/a.png", "masks/a.png"),
    ],
)
def test_a_mask_is_found_where_other_tools_keep_it(tmp_path: Path, image: str, mask: str) -> None:
    write(tmp_path / image)
    write(tmp_path / mask, white())
    found = scan(tmp_path)
    assert [entry.relative for entry in found.images] == [image]
    assert [each.path for each in found.images[0].masks] == [tmp_path / mask]
    assert masks.path_of(found.images[0], BY_FOLDER) == tmp_path / mask
    assert masks.path_of(found.images[0], Dataset()) is None
    assert [item.image for item in found.left_out] in ([], [False])


def test_an_image_that_is_only_called_like_a_mask_is_trained_on(tmp_path: Path) -> None:
    write(tmp_path / "venetian_mask.png")
    write(tmp_path / "b.png")
    found = scan(tmp_path)
    assert [entry.relative for entry in found.images] == ["b.png", "venetian_mask.png"]
    assert all(entry.masks == () for entry in found.images)


def test_a_folder_named_masks_is_trained_on_where_it_is_given_itself(tmp_path: Path) -> None:
    write(tmp_path / "masks" / "a.png")
    assert len(scan(tmp_path / "masks").images) == 1


def test_the_mask_in_its_own_folder_counts_before_one_above(tmp_path: Path) -> None:
    write(tmp_path / "10_a b" / "1.png")
    write(tmp_path / "10_c d" / "1.png")
    write(tmp_path / "masks" / "1.png", white())
    own = write(tmp_path / "10_c d" / "masks" / "1.png", white())
    found = {entry.relative: entry.mask("folder") for entry in scan(tmp_path).images}
    assert [mask.path for mask in found.values() if mask] == [tmp_path / "masks" / "1.png", own]


def test_cells_are_exact_means_at_any_size_of_the_mask() -> None:
    """A mask of 3 columns over 4 cells: edges cut pixels, and each counts by its part."""
    mask = Image.fromarray(np.array([[255, 0, 255]], np.uint8))
    bucket = Bucket(64, 64)
    cells = masks.in_cells(mask, fit(64, 64, bucket), bucket, 4, 2)
    assert cells.shape == (2, 4)
    assert cells[0] == pytest.approx([1, 1 / 3, 1 / 3, 1])
    assert (cells[0] == cells[1]).all()


def test_a_mask_is_cropped_and_resized_as_its_image(tmp_path: Path) -> None:
    """The image's own brightness, read as its mask, is what the trained pixels have in each cell."""
    from loratui.engine.training.images import load_pixels

    grey = Image.linear_gradient("L").resize((300, 190), Image.Resampling.BICUBIC)
    path = write(tmp_path / "a.png", grey.convert("RGB"))
    rule = BucketRule(resolution=128)
    bucket = assign(300, 190, rule)
    place = fit(300, 190, bucket)
    assert (place.left, place.top) != (0, 0)
    pixels = (load_pixels(path, place, bucket)[0] + 1) / 2
    cells = pixels.reshape(bucket.height // 8, 8, bucket.width // 8, 8).mean((1, 3)).numpy()
    found = masks.in_cells(masks.read(path, alpha=False), place, bucket, bucket.width // 8, bucket.height // 8)
    assert np.abs(found - cells).max() < 0.01


@pytest.mark.parametrize("turned", range(1, 9))
def test_a_mask_is_read_upright(tmp_path: Path, turned: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = turned
    mask = white((40, 20))
    mask.paste(0, (0, 0, 20, 10))
    mask.save(tmp_path / "mask.png", exif=exif)
    expected = np.asarray(load_rgb(tmp_path / "mask.png"))[..., 0]
    assert (np.asarray(masks.read(tmp_path / "mask.png", alpha=False)) == expected).all()


@pytest.mark.parametrize("mode", ["L", "1", "P", "RGB", "RGBA", "LA", "I;16"])
def test_a_mask_may_be_stored_in_any_way(tmp_path: Path, mode: str) -> None:
    mask = white((40, 20))
    mask.paste(0, (0, 0, 20, 20))
    if mode == "I;16":
        stored = Image.fromarray(np.asarray(mask).astype(np.uint16) * 257)
    elif mode in ("RGBA", "LA"):  # marked by its transparency: black everywhere
        stored = Image.new(mode[:-1], mask.size)
        stored.putalpha(mask)
    else:
        stored = mask.convert(mode)
    stored.save(tmp_path / "mask.png")
    assert (np.asarray(masks.read(tmp_path / "mask.png", alpha=False)) == np.asarray(mask)).all()


def test_transparency_is_a_mask(tmp_path: Path) -> None:
    image = drawn(3, (40, 20)).convert("RGBA")
    image.paste((255, 0, 0, 0), (0, 0, 20, 20))
    write(tmp_path / "a.png", image)
    write(tmp_path / "b.png")
    a, b = scan(tmp_path).images
    assert masks.path_of(a, BY_ALPHA) == a.path
    assert masks.path_of(b, BY_ALPHA) is None
    assert np.asarray(masks.read(a.path, alpha=True)).mean() == 127.5
    assert np.asarray(masks.read(b.path, alpha=True)).min() == 255


def test_a_prepared_copy_has_the_masks_changed_with_the_images(tmp_path: Path) -> None:
    source = tmp_path / "source"
    mask = white((96, 64))
    mask.paste(0, (0, 0, 48, 64))
    for name in ("a", "b"):
        write(source / f"{name}.png")
        write(source / f"{name}-masklabel.png", mask)
    cut = drawn(5, (96, 64)).convert("RGBA")
    cut.putalpha(mask)
    write(source / "c.png", cut)
    chosen = [
        Remedy(kind, f"{name}.png", box=box) for name in "ac" for kind, box in (("mirror", None), ("crop", Box(0, 0, 0.75, 1)))
    ]
    copy = copy_below(tmp_path, scan(source), chosen)
    assert copy == copy_below(tmp_path, scan(source), chosen)
    found = {entry.relative: entry for entry in scan(copy).images}
    assert sorted(found) == ["a.png", "b.png", "c.png"]
    for name, expected in (("a", ((72, 64), 255, 0)), ("b", ((96, 64), 0, 255)), ("c", ((72, 64), 255, 0))):
        path = masks.path_of(found[f"{name}.png"], BY_ALPHA)
        assert path is not None
        read = masks.read(path, alpha=False)
        assert (read.size, read.getpixel((0, 0)), read.getpixel((read.width - 1, 0))) == expected
    write(source / "b-masklabel.png", white())
    assert copy_below(tmp_path, scan(source), chosen) != copy, "another mask is another copy"


def test_a_mask_that_is_no_image_is_named_and_not_used(tmp_path: Path) -> None:
    write(tmp_path / "a.png")
    write(tmp_path / "masks" / "a.png").write_bytes(b"<html>")
    (image,) = read_folder(tmp_path).images
    assert image.mask("folder") is None
    assert "web page" in image.masks[0].problem
    assert masks.path_of(image, BY_FOLDER) is None
    shutil.rmtree(tmp_path / "masks")
    assert read_folder(tmp_path).images[0].masks == ()
