"""Which training size each image gets, and how it is laid into it: aspect-ratio buckets as kohya's trainer forms them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

from loratui.presets.schema import Dataset


@dataclass(frozen=True, order=True)
class Bucket:
    """A training size, px. Images of one batch share it."""

    width: int
    height: int

    def __str__(self) -> str:
        return f"{self.width}×{self.height}"


@dataclass(frozen=True)
class Fit:
    """How an image is laid into its bucket: scaled to `resized_w` × `resized_h`, then cut at (`left`, `top`), px."""

    resized_w: int
    resized_h: int
    left: int
    top: int


@dataclass(frozen=True)
class BucketRule:
    """What decides over buckets, px; the area of a training image is at most `resolution`², but for rounding."""

    resolution: int
    step: int = 64
    minimum: int = 256
    maximum: int = 2048
    upscale: bool = False
    enabled: bool = True

    @classmethod
    def of(cls, dataset: Dataset) -> BucketRule:
        """The rule in a recipe's `[dataset]`."""
        return cls(
            dataset.resolution, dataset.bucket_step, dataset.bucket_min, dataset.bucket_max, dataset.upscale, dataset.buckets
        )


def assign(width: int, height: int, rule: BucketRule) -> Bucket:
    """The bucket of an image of `width` × `height` px (after rotation by EXIF).

    Without upscaling, an image larger than the area shrinks to it with its shape kept, along the side whose
    rounding changes the shape less, and each side is floored to the step; a smaller image keeps its size, floored.
    A side is never less than one step, where kohya's rule would give 0. With upscaling, the predefined bucket
    whose shape is nearest. Source: sd-scripts, `BucketManager.select_bucket`.
    """
    if width < 1 or height < 1:
        raise ValueError(f"an image of {width} × {height} px has no bucket")
    if not rule.enabled:
        side = max(rule.step, _floor(rule.resolution, rule.step))
        return Bucket(side, side)
    return _nearest_predefined(width, height, rule) if rule.upscale else _shrunk(width, height, rule)


def fit(width: int, height: int, bucket: Bucket) -> Fit:
    """Scales an image of `width` × `height` px so that it just covers `bucket`, and cuts the excess evenly.

    An image that is a little larger than its bucket is scaled down rather than cut, so that no head is lost.
    """
    scale = max(bucket.width / width, bucket.height / height)
    resized_w = max(bucket.width, math.floor(width * scale + 0.5))
    resized_h = max(bucket.height, math.floor(height * scale + 0.5))
    return Fit(resized_w, resized_h, (resized_w - bucket.width) // 2, (resized_h - bucket.height) // 2)


def enlarged(width: int, height: int, bucket: Bucket) -> bool:
    """Whether an image has fewer pixels than its bucket along some side, so that it is blown up."""
    return width < bucket.width or height < bucket.height


@lru_cache(maxsize=64)
def predefined(rule: BucketRule) -> tuple[Bucket, ...]:
    """The buckets to choose from when upscaling is allowed, sorted.

    Source: sd-scripts, `make_bucket_resolutions`: for every width from the least to the most, the tallest height
    within the area; each also turned by 90°; and the largest square.
    """
    area = rule.resolution**2
    square = max(rule.step, _floor(rule.resolution, rule.step))
    found = {Bucket(square, square)}
    for width in range(rule.minimum, rule.maximum + 1, rule.step):
        height = min(rule.maximum, _floor(area // width, rule.step))
        if height >= rule.minimum:
            found |= {Bucket(width, height), Bucket(height, width)}
    return tuple(sorted(found))


def _nearest_predefined(width: int, height: int, rule: BucketRule) -> Bucket:
    buckets = predefined(rule)
    exact = Bucket(width, height)
    if exact in buckets:
        return exact
    shape = width / height
    return min(buckets, key=lambda b: abs(b.width / b.height - shape))


def _shrunk(width: int, height: int, rule: BucketRule) -> Bucket:
    area, step = rule.resolution**2, rule.step
    if width * height > area:
        shape = width / height
        ideal_width = math.sqrt(area * shape)
        ideal_height = area / ideal_width

        by_width = max(step, _round(ideal_width, step))
        its_height = max(step, _round(by_width / shape, step))
        by_height = max(step, _round(ideal_height, step))
        its_width = max(step, _round(by_height * shape, step))

        if abs(by_width / its_height - shape) < abs(its_width / by_height - shape):
            width, height = by_width, math.floor(by_width / shape + 0.5)
        else:
            width, height = math.floor(by_height * shape + 0.5), by_height
    return Bucket(max(step, _floor(width, step)), max(step, _floor(height, step)))


def _floor(value: int, step: int) -> int:
    return value - value % step


def _round(value: float, step: int) -> int:
    """To the nearest whole number, then down to the step."""
    return _floor(math.floor(value + 0.5), step)
