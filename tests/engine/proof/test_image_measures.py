"""The measures of images, on made images where the answer is known."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageFilter, ImageOps
from scenes import scene

from loratui.engine.proof.against_base import CLIPPED, NO_BASE, SATURATION, SHARPNESS
from loratui.engine.proof.copies import COPY, COPY_HASH, COPY_LAYOUT
from loratui.engine.proof.hashes import agreement, parts_of
from loratui.engine.proof.pixels import Pixels, read_pixels
from loratui.engine.proof.protocol import Measure, Near, Photo, References, Shot, Value, measured
from loratui.engine.proof.reading import near_groups
from loratui.engine.proof.registry import MEASURES
from loratui.engine.proof.variety import VARIETY


def shot(image: Image.Image | None, seed: int = 1, prompt: str = "a", strength: float = 1.0) -> Shot:
    file = "output/x.safetensors" if strength else ""
    return Shot(f"{prompt}-{seed}-{strength}.png", prompt, seed, file, strength, pixels=image and read_pixels(image))


def against(*bases: Shot, photos: tuple[Photo, ...] = ()) -> References:
    return References({base.key: base for base in bases}, photos)


def photo(image: Image.Image, name: str) -> Photo:
    return Photo(name, read_pixels(image), parts_of(image, 1.0))


def value_of(measure: Measure, change: Callable[[Image.Image], Image.Image]) -> Value:
    """What a measure says of images that were made from the base's by a change."""
    scenes = [scene(seed) for seed in range(3)]
    bases = [shot(image, seed, strength=0.0) for seed, image in enumerate(scenes)]
    return measured(measure, [shot(change(image), seed) for seed, image in enumerate(scenes)], against(*bases))


def test_blurred_images_are_less_sharp_and_the_more_the_less() -> None:
    by_radius = [value_of(SHARPNESS, lambda i, r=r: i.filter(ImageFilter.GaussianBlur(r))) for r in (0.0, 0.6, 1.5, 4.0)]
    ratios = [found.more["ratio"] for found in by_radius]
    assert ratios[0] == 1.0
    assert by_radius[0].means == "unchanged"
    assert ratios == sorted(ratios, reverse=True)
    assert by_radius[-1].means == "far softer than the base"


def test_sharpened_images_are_rougher() -> None:
    found = value_of(SHARPNESS, lambda image: image.filter(ImageFilter.UnsharpMask(2, 250, 0)))
    assert found.more["ratio"] > 1.3
    assert "rougher" in found.means


@pytest.mark.parametrize(
    ("by", "means"), [(1.0, "unchanged"), (0.4, "far paler than the base"), (1.5, "stronger colours than the base")]
)
def test_colours_are_compared_with_the_base(by: float, means: str) -> None:
    found = value_of(SATURATION, lambda image: ImageEnhance.Color(image).enhance(by))
    assert found.means == means
    assert found.base is not None


def test_burnt_images_are_clipped() -> None:
    assert value_of(CLIPPED, lambda image: image).means == "unchanged"
    burnt = value_of(CLIPPED, lambda image: ImageEnhance.Contrast(image).enhance(5))
    assert burnt.value is not None
    assert burnt.value > 0.3
    assert burnt.base == 0
    assert "burnt" in burnt.means


def test_one_image_for_all_seeds_has_no_variety_and_the_bases_own_have_the_bases() -> None:
    bases = [shot(scene(seed), seed, strength=0.0) for seed in range(4)]
    same = measured(VARIETY, [shot(scene(0), seed) for seed in range(4)], against(*bases))
    assert same.value == 0
    assert same.means == "every seed gives nearly the same image"
    own = measured(VARIETY, [shot(scene(seed), seed) for seed in range(4)], against(*bases))
    assert own.more["ratio"] == 1.0
    assert own.means == "as varied as the base"


def test_variety_needs_two_seeds_of_one_prompt() -> None:
    alone = [shot(scene(0), 1, "a"), shot(scene(1), 1, "b"), shot(scene(2), 2, "c")]
    found = measured(VARIETY, alone, References())
    assert found.value is None
    assert "one seed" in found.unknown


def test_without_the_bases_images_it_is_said_so_and_the_figure_stays() -> None:
    for measure in (SHARPNESS, SATURATION, CLIPPED, VARIETY):
        found = measured(measure, [shot(scene(seed), seed) for seed in range(2)], References())
        assert found.value is not None
        assert found.base is None
        assert found.unknown == NO_BASE


COPIES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "as it is": lambda image: image,
    "mirrored": ImageOps.mirror,
    "cropped": lambda image: image.crop((6, 6, 90, 90)).resize((96, 96)),
    "a part": lambda image: image.crop((0, 0, 77, 77)).resize((64, 64)),
    "mirrored and a part": lambda image: ImageOps.mirror(image.crop((19, 0, 96, 77))),
    "saved again": lambda image: Image.open(_jpeg(image)).convert("RGB"),
    "smaller": lambda image: image.resize((48, 48)),
    "darker": lambda image: ImageEnhance.Brightness(image).enhance(0.7),
}


def _jpeg(image: Image.Image) -> io.BytesIO:
    image.save(data := io.BytesIO(), "JPEG", quality=40)
    return data


@pytest.mark.parametrize("how", COPIES)
def test_a_copy_of_a_photo_is_found_and_the_photo_named(how: str) -> None:
    photos = tuple(photo(scene(100 + at), f"{at}.png") for at in range(8))
    made = [shot(COPIES[how](scene(103)), 1), shot(scene(7), 2)]
    found = measured(COPY_HASH, made, against(shot(scene(8), 1, strength=0.0), photos=photos))
    assert found.more["photo"] == "3.png"
    assert found.more["image"] == made[0].path
    assert found.value is not None
    assert found.value >= COPY
    assert "a copy" in found.means
    assert found.images[made[1].path] < COPY


def test_images_of_their_own_are_no_copies() -> None:
    photos = tuple(photo(scene(100 + at), f"{at}.png") for at in range(8))
    made = [shot(scene(seed), seed) for seed in range(12)]
    found = measured(
        COPY_HASH, made, against(*(shot(scene(50 + seed), seed, strength=0.0) for seed in range(12)), photos=photos)
    )
    assert found.value is not None
    assert found.value < COPY
    assert found.range is not None
    assert found.more["share_above"] <= 0.5
    assert found.means in ("no sign of a copy", "no copy: the base's are as near")


def test_what_the_base_does_too_is_no_copy() -> None:
    photos = tuple(photo(scene(100 + at), f"{at}.png") for at in range(8))
    found = measured(COPY_HASH, [shot(scene(103), 1)], against(shot(scene(103), 1, strength=0.0), photos=photos))
    assert "the base's are as near" in found.means


@pytest.mark.parametrize("number", [0, 1, 3])
def test_few_photos_have_no_natural_nearness(number: int) -> None:
    photos = tuple(photo(scene(100 + at), f"{at}.png") for at in range(number))
    found = measured(COPY_HASH, [shot(scene(1))], replace(against(photos=photos), no_photos="There are no photos."))
    assert (found.value is None) == (number == 0)
    assert found.range is None
    assert found.unknown


def test_the_same_photo_many_times_counts_once() -> None:
    photos = [photo(scene(100), f"{at}.png") for at in range(18)]
    groups = near_groups(photos)
    assert [sorted(group) for group in groups] == [sorted(p.name for p in photos)]
    references = References(photos=tuple(photos), likenesses=tuple(groups))
    assert len(references.distinct()) == 1
    found = measured(COPY_HASH, [shot(scene(100))], references)
    assert found.range is None
    assert "a copy" in found.means


def test_layouts_pass_over_near_duplicates() -> None:
    names = [f"{at}.png" for at in range(6)]
    photos = tuple(
        Photo(
            name,
            layouts=(Near(names[at ^ 1], 0.99), *(Near(other, 0.7) for other in names if other not in (name, names[at ^ 1]))),
        )
        for at, name in enumerate(names)
    )
    twice = References(photos=photos, likenesses=(("0.png", "1.png"),))
    made = replace(shot(scene(1)), layout=Near("2.png", 0.8))
    found = measured(COPY_LAYOUT, [made], twice)
    assert found.range is not None
    assert found.range[0] < 0.8 < found.range[1], "one photo of the two that are nearly the same has another nearest"
    assert found.more["attracts"] == [{"photo": "2.png", "images": 1}]


def test_layouts_that_were_not_compared_are_unknown() -> None:
    photos = (photo(scene(100), "0.png"),)
    assert "before" in measured(COPY_LAYOUT, [shot(scene(1))], against(photos=photos)).unknown
    assert measured(COPY_LAYOUT, [shot(scene(1))], replace(against(photos=photos), no_layouts="no base")).unknown == "no base"


@pytest.mark.parametrize("measure", MEASURES, ids=lambda measure: measure.id)
def test_images_that_are_gone_and_no_images_are_unknown(measure: Measure) -> None:
    for images in ([], [shot(None), shot(None, 2)]):
        found = measured(measure, images, References(no_photos="There are no photos."))
        assert found.value is None
        assert found.unknown
        assert not found.means


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(3, 40), st.integers(3, 40))
def test_figures_stay_within_their_bounds_and_survive_being_written(seed: int, width: int, height: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    found = read_pixels(Image.fromarray(pixels))
    assert 0 <= found.sharpness <= 255
    assert 0 <= found.saturation <= 1
    assert 0 <= found.clipped <= 1
    assert Pixels.from_json(found.to_json()) == found


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_a_mirror_changes_no_figure_and_is_as_near(seed: int) -> None:
    image = scene(seed)
    own, other = read_pixels(image), read_pixels(ImageOps.mirror(image))
    assert other.sharpness == pytest.approx(own.sharpness, rel=1e-3)
    assert other.saturation == pytest.approx(own.saturation, abs=1e-5)
    assert other.clipped == own.clipped
    assert min(agreement([own.hash, other.hash], [part.hash for part in parts_of(image, 1.0)]).max(axis=1)) >= 60 / 64


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (120, 30, 200)])
def test_plain_images_have_figures_that_are_numbers(colour: tuple[int, int, int]) -> None:
    plain = [shot(Image.new("RGB", (64, 64), colour), seed) for seed in range(2)]
    base = [shot(Image.new("RGB", (64, 64), colour), seed, strength=0.0) for seed in range(2)]
    photos = tuple(photo(Image.new("RGB", (64, 64), colour), f"{at}.png") for at in range(5))
    for measure in MEASURES:
        found = measured(measure, plain, against(*base, photos=photos))
        assert found.value is None or 0 <= found.value <= 255, measure.id
        assert found.means or found.unknown
