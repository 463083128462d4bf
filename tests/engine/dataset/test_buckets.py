"""Buckets against facts measured on kohya's trainer, and as properties."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loratui.engine.dataset.buckets import Bucket, BucketRule, assign, enlarged, fit, predefined

SIDES = st.integers(1, 9000)
RULES = st.builds(
    BucketRule,
    resolution=st.sampled_from([64, 128, 512, 768, 1000, 1024]),
    step=st.sampled_from([8, 32, 64]),
    minimum=st.just(256),
    maximum=st.sampled_from([960, 1024, 2048]),
    upscale=st.booleans(),
)


@pytest.mark.parametrize(
    ("size", "bucket"),
    [
        ((300, 300), (256, 256)),
        ((100, 90), (64, 64)),
        ((5000, 1000), (2240, 448)),
        ((1024, 1024), (1024, 1024)),
        ((4000, 3000), (1088, 832)),
    ],
)
def test_without_upscaling_as_kohya_does(size: tuple[int, int], bucket: tuple[int, int]) -> None:
    assert assign(*size, BucketRule(1024)) == Bucket(*bucket)


@pytest.mark.parametrize(
    ("size", "maximum", "bucket"),
    [((3000, 4000), 1024, (768, 1024)), ((3000, 4000), 2048, (896, 1152)), ((900, 1600), 2048, (768, 1344))],
)
def test_with_upscaling_as_kohya_does(size: tuple[int, int], maximum: int, bucket: tuple[int, int]) -> None:
    assert assign(*size, BucketRule(1024, maximum=maximum, upscale=True)) == Bucket(*bucket)


@pytest.mark.parametrize(("resolution", "maximum", "count"), [(1024, 1024, 25), (1024, 2048, 41), (512, 1024, 17)])
def test_number_of_predefined_buckets(resolution: int, maximum: int, count: int) -> None:
    buckets = predefined(BucketRule(resolution, maximum=maximum, upscale=True))
    assert len(buckets) == count
    if resolution == 512:
        assert {Bucket(256, 832), Bucket(1024, 256)} <= set(buckets)


def test_the_demos_images_are_trained_at_their_own_size() -> None:
    assert assign(128, 128, BucketRule(128, step=64, minimum=64)) == Bucket(128, 128)
    assert fit(128, 128, Bucket(128, 128)).resized_w == 128


def test_without_buckets_there_is_one_square() -> None:
    rule = BucketRule(512, enabled=False)
    assert {assign(w, h, rule) for w, h in [(400, 300), (3000, 200), (10, 10)]} == {Bucket(512, 512)}


def test_an_image_without_pixels_is_a_fault_of_the_caller() -> None:
    with pytest.raises(ValueError, match="0 × 5"):
        assign(0, 5, BucketRule(512))


@given(SIDES, SIDES, RULES)
def test_every_bucket_is_usable(width: int, height: int, rule: BucketRule) -> None:
    bucket = assign(width, height, rule)
    assert bucket.width % rule.step == bucket.height % rule.step == 0
    assert min(bucket.width, bucket.height) >= rule.step
    # More than the area only where a side is held at one step, or by rounding the shorter side up by half a pixel.
    shorter = min(bucket.width, bucket.height)
    if shorter > rule.step:
        assert bucket.width * bucket.height <= max(rule.resolution, rule.step) ** 2 * (1 + 1 / shorter) ** 2
    if not rule.upscale:
        held = rule.step in (bucket.width, bucket.height)
        assert held or (bucket.width <= width and bucket.height <= height)


@given(SIDES, SIDES, RULES)
def test_turning_an_image_turns_its_bucket(width: int, height: int, rule: BucketRule) -> None:
    bucket, turned = assign(width, height, rule), assign(height, width, rule)
    # Where both roundings change the shape equally little, kohya's rule prefers one side; areas then stay close.
    if (turned.width, turned.height) != (bucket.height, bucket.width):
        areas = sorted((bucket.width * bucket.height, turned.width * turned.height))
        assert areas[1] - areas[0] <= rule.step * (bucket.width + bucket.height + turned.width + turned.height)


@given(SIDES, SIDES, RULES)
def test_an_image_covers_its_bucket_and_is_cut_evenly(width: int, height: int, rule: BucketRule) -> None:
    bucket = assign(width, height, rule)
    place = fit(width, height, bucket)
    assert place.resized_w >= bucket.width
    assert place.resized_h >= bucket.height
    assert place.resized_w == bucket.width or place.resized_h == bucket.height
    for whole, part, at in (
        (place.resized_w, bucket.width, place.left),
        (place.resized_h, bucket.height, place.top),
    ):
        assert 0 <= whole - part - 2 * at <= 1


def test_enlarging_is_noticed() -> None:
    assert enlarged(100, 40, assign(100, 40, BucketRule(512)))
    assert not enlarged(600, 700, assign(600, 700, BucketRule(512)))
