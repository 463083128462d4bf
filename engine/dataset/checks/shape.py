"""Checks of size and shape: too small, too large, far from square, and much empty border."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

from loratui.engine.dataset.buckets import BucketRule, assign, enlarged
from loratui.engine.dataset.checks.case import Case, Check, Hit
from loratui.engine.dataset.facts import ImageFacts
from loratui.engine.dataset.findings import counted, listed, number_of
from loratui.engine.dataset.scan import ImageEntry
from loratui.engine.words import count, number

SMALLEST_PX = 256
"""Guide 001: sources of 256 to 2 048 px."""
SMALL_SHARE = 0.5
"""Share of the resolution's pixels up to which an image is said to be small."""
LARGEST_PX = 3000
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


def _lacking(case: Case, what: Lack) -> tuple[list[ImageEntry], str]:
    """The images that lack this, and a sentence: down to which size, and what becomes of them."""
    rule = BucketRule.of(case.settings.dataset)
    found = [image for image in case.scan.training if lack(image, rule) == what]
    if not found:
        return [], ""
    least = min(found, key=lambda image: image.width * image.height)
    bucket = assign(least.width, least.height, rule)
    share = least.width * least.height / rule.resolution**2
    blown = enlarged(least.width, least.height, bucket)
    fate = f"enlarged to {bucket}" if blown else f"trained at {bucket}"
    return found, f"The smallest, {least.width}×{least.height}, is {fate} and has {_percent(share)} of the pixels."


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.01 else "less than 1 %"


def _tiny(case: Case) -> Iterator[Hit]:
    found, meaning = _lacking(case, "tiny")
    if found:
        least = min(SMALLEST_PX, case.settings.dataset.resolution)
        files = tuple(image.relative for image in found)
        yield Hit(f"{counted(files)} less than {least} px along a side: {listed(files)}. {meaning}", files)


def _blown_up(case: Case) -> Iterator[Hit]:
    found, meaning = _lacking(case, "enlarged")
    if found:
        files = tuple(image.relative for image in found)
        yield Hit(f"{counted(files)} smaller than the training size and enlarged: {listed(files)}. {meaning}", files)


def _small(case: Case) -> Iterator[Hit]:
    found, meaning = _lacking(case, "small")
    if not found:
        return
    files = tuple(image.relative for image in found)
    resolution, total = case.settings.dataset.resolution, len(case.scan.training)
    lower = lower_resolution(case)
    remedy = f"Train at dataset.resolution={lower}, or find larger originals." if lower else None
    yield Hit(
        f"{number(len(files))} of {count(total, 'image')} {'has' if len(files) == 1 else 'have'} at most half the pixels of {resolution}×{resolution}. {meaning}",
        files,
        remedy=remedy,
    )


def lower_resolution(case: Case) -> int | None:
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


def _huge(case: Case) -> Iterator[Hit]:
    files = tuple(i.relative for i in case.scan.training if max(i.width, i.height) > LARGEST_PX)
    if files:
        yield Hit(f"{counted(files)} more than {LARGEST_PX} px along a side: {listed(files)}.", files)


def _long(case: Case) -> Iterator[Hit]:
    files = tuple(i.relative for i in large_enough(case) if max(i.width, i.height) > LONGEST_SHAPE * min(i.width, i.height))
    if files:
        yield Hit(f"{counted(files)} more than twice as long as wide, or the other way round: {listed(files)}.", files)


def _cut_square(case: Case) -> Iterator[Hit]:
    """Without buckets every image is cut to a square; this says which lose much, but for those that `long_shape` names."""
    if case.settings.dataset.buckets:
        return
    shapes = ((i.relative, max(i.width, i.height) / min(i.width, i.height)) for i in large_enough(case))
    files = tuple(name for name, shape in shapes if 4 / 3 < shape <= LONGEST_SHAPE)
    if files:
        yield Hit(f"{number_of(files)} will lose more than a quarter to a square crop: {listed(files)}.", files)


def _bars(case: Case) -> Iterator[Hit]:
    files = tuple(image.relative for image, facts in case.measured() if has_bars(facts))
    if files:
        yield Hit(f"{number_of(files)} with bars of one colour at two sides: {listed(files)}.", files)


def _empty(case: Case) -> Iterator[Hit]:
    files = tuple(
        image.relative for image, facts in case.measured() if 1 - facts.content.area > EMPTY_SHARE and not has_bars(facts)
    )
    if files:
        yield Hit(f"{number_of(files)} with much empty border: {listed(files)}.", files)


def has_bars(facts: ImageFacts) -> bool:
    """Whether bars take up more than a hair's breadth."""
    return facts.bars and 1 - facts.content.area >= BAR_SHARE


CHECKS = (
    Check(
        "tiny",
        "warning",
        "headers",
        "So little holds no face (Skullkid).",
        "Enlarge with a good upscaler, outside of loratui, or leave out.",
        _tiny,
    ),
    Check(
        "enlarged",
        "warning",
        "headers",
        "Enlarged images teach blur.",
        "Replace what is too small by something larger, or leave it out.",
        _blown_up,
    ),
    Check(
        "small",
        "warning",
        "headers",
        "Detail that is not there cannot be learnt, and a LoRA draws what it saw: coarser, and best at that size "
        "(guides 001 and 002).",
        "Replace what is too small by something larger, or leave it out.",
        _small,
    ),
    Check(
        "huge",
        "info",
        "headers",
        "Nothing is gained above the training size; they only take time and memory to read (Skullkid).",
        f"Shrink to {LARGEST_PX} px in a prepared copy.",
        _huge,
    ),
    Check(
        "long_shape",
        "warning",
        "headers",
        "Few images share such a shape, and the subject gets small in it (guides 000 and 002).",
        "Crop around the subject.",
        _long,
    ),
    Check(
        "cut_square",
        "warning",
        "headers",
        "A head or a hand may be cut off (FLUX guide).",
        "Turn buckets on (dataset.buckets=true), or crop by hand.",
        _cut_square,
    ),
    Check(
        "bars",
        "warning",
        "pixels",
        "The model learns the bars as part of the image (Valstrix).",
        "Crop it off.",
        _bars,
    ),
    Check(
        "empty_border",
        "info",
        "pixels",
        "Empty space takes pixels from the subject (FLUX guide).",
        "Crop around the subject.",
        _empty,
    ),
)
