"""Checks of size and shape: too small, too large, far from square, and much empty border."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Literal

from loratui.engine.dataset.buckets import BucketRule, assign, enlarged
from loratui.engine.dataset.checks.case import Case, Check, some
from loratui.engine.dataset.facts import ImageFacts
from loratui.engine.dataset.remedies import LARGEST_PX
from loratui.engine.dataset.scan import ImageEntry
from loratui.engine.findings import Finding

SMALLEST_PX = 256
"""Guide 001: sources of 256 to 2 048 px."""
SMALL_SHARE = 0.5
"""Share of the resolution's pixels up to which an image is said to be small."""
LONGEST_SHAPE = 2.0
"""Long side to short side from which a crop is proposed."""
EMPTY_SHARE = 0.5
"""Share of the area that plain borders may take up."""
BAR_SHARE = 0.03
"""Share of the area from which bars are worth a word."""


Lack = Literal["tiny", "enlarged", "small"]
"""What an image lacks in pixels, the gravest first: a side, the pixels of its training size, or most of the resolution's."""


def lack(image: ImageEntry, rule: BucketRule) -> Lack | None:
    """The one thing to be said of an image that has too few pixels; None where it has enough."""
    if min(image.width, image.height) < min(SMALLEST_PX, rule.resolution):
        return "tiny"
    if enlarged(image.width, image.height, assign(image.width, image.height, rule)):
        return "enlarged"
    return "small" if image.width * image.height <= SMALL_SHARE * rule.resolution**2 else None


def large_enough(case: Case) -> Iterator[ImageEntry]:
    """The images of which more is worth saying than that they are tiny."""
    rule = BucketRule.of(case.settings.dataset)
    return (image for image in case.scan.training if lack(image, rule) != "tiny")


def _lacking(case: Case, what: Lack, key: str = "", **parameters: Any) -> Iterator[Finding]:
    rule = BucketRule.of(case.settings.dataset)
    lacking = [image for image in case.scan.training if lack(image, rule) == what]
    if not lacking:
        return
    least = min(lacking, key=lambda image: image.width * image.height)
    bucket = assign(least.width, least.height, rule)
    share = least.width * least.height / rule.resolution**2
    percent = f"{100 * share:.0f} %" if share >= 0.01 else "less than 1 %"
    fate = f"{'enlarged to' if enlarged(least.width, least.height, bucket) else 'trained at'} {bucket}"
    smallest = f"{least.width}×{least.height}"
    names = (image.relative for image in lacking)
    yield from some(key or what, names, smallest=smallest, fate=fate, percent=percent, **parameters)


def _tiny(case: Case) -> Iterator[Finding]:
    return _lacking(case, "tiny", least_px=min(SMALLEST_PX, case.settings.dataset.resolution))


def _small(case: Case) -> Iterator[Finding]:
    resolution, lower = case.settings.dataset.resolution, _lower_resolution(case)
    key, fix = ("small.most", {"dataset.resolution": lower}) if lower else ("small", {})
    return _lacking(case, "small", key, resolution=resolution, images=len(case.scan.training), settings=fix)


def _lower_resolution(case: Case) -> int | None:
    """A resolution that fits a set of which at least half is small: that of its middle image; None for other sets."""
    dataset = case.settings.dataset
    rule = BucketRule.of(dataset)
    areas = sorted(image.width * image.height for image in case.scan.training)
    lacking = sum(lack(image, rule) is not None for image in case.scan.training)
    if not areas or 2 * lacking < len(areas):
        return None
    step = dataset.bucket_step
    fitting = math.isqrt(areas[(len(areas) - 1) // 2]) // step * step
    return fitting if max(SMALLEST_PX, step) <= fitting < dataset.resolution else None


def _huge(case: Case) -> Iterator[Finding]:
    files = (i.relative for i in case.scan.training if max(i.width, i.height) > LARGEST_PX)
    return some("huge", files, largest_px=LARGEST_PX)


def _shape(image: ImageEntry) -> float:
    return max(image.width, image.height) / min(image.width, image.height)


def _long(case: Case) -> Iterator[Finding]:
    return some("long_shape", (image.relative for image in large_enough(case) if _shape(image) > LONGEST_SHAPE))


def _cut_square(case: Case) -> Iterator[Finding]:
    """Without buckets every image is cut to a square; this says which lose much, but for those that `long_shape` names."""
    cut = (image.relative for image in large_enough(case) if 4 / 3 < _shape(image) <= LONGEST_SHAPE)
    return some("cut_square", () if case.settings.dataset.buckets else cut)


def _bars(case: Case) -> Iterator[Finding]:
    return some("bars", (image.relative for image, facts in case.measured() if has_bars(facts)))


def _empty(case: Case) -> Iterator[Finding]:
    measured = ((image.relative, facts) for image, facts in case.measured() if not has_bars(facts))
    return some("empty_border", (name for name, facts in measured if 1 - facts.content.area > EMPTY_SHARE))


def has_bars(facts: ImageFacts) -> bool:
    """Whether bars take up more than a hair's breadth."""
    return facts.bars and 1 - facts.content.area >= BAR_SHARE


CHECKS = (
    Check("tiny", "headers", _tiny),
    Check("enlarged", "headers", lambda case: _lacking(case, "enlarged")),
    Check("small", "headers", _small),
    Check("huge", "headers", _huge),
    Check("long_shape", "headers", _long),
    Check("cut_square", "headers", _cut_square),
    Check("bars", "pixels", _bars),
    Check("empty_border", "pixels", _empty),
)
