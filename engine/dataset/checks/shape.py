"""Checks of size and shape: too small, too large, far from square, and much empty border."""

from __future__ import annotations

from collections.abc import Iterator

from loratui.engine.dataset.buckets import BucketRule, assign, enlarged
from loratui.engine.dataset.checks.case import Case, Check, Hit
from loratui.engine.dataset.facts import PictureFacts
from loratui.engine.dataset.findings import counted, listed, number_of

SMALLEST_PX = 256
"""Guide 001: sources of 256 to 2 048 px."""
LARGEST_PX = 3000
LONGEST_SHAPE = 2.0
"""Long side to short side from which a crop is proposed."""
EMPTY_SHARE = 0.5
"""Share of the area that plain borders may take up."""
BAR_SHARE = 0.03
"""Share of the area from which bars are worth a word."""


def _blown_up(case: Case) -> Iterator[Hit]:
    rule = BucketRule.of(case.settings.dataset)
    sized = case.scan.training
    files = tuple(i.relative for i in sized if enlarged(i.width, i.height, assign(i.width, i.height, rule)))
    if files:
        yield Hit(f"{counted(files)} smaller than the training size and enlarged: {listed(files)}.", files)


def _small(case: Case) -> Iterator[Hit]:
    rule = BucketRule.of(case.settings.dataset)
    files = tuple(i.relative for i in case.scan.training if i.width * i.height < rule.resolution**2 / 4)
    if files and not rule.upscale:
        yield Hit(f"{counted(files)} far smaller than {rule.resolution} px: {listed(files)}.", files)


def _tiny(case: Case) -> Iterator[Hit]:
    least = min(SMALLEST_PX, case.settings.dataset.resolution)
    files = tuple(i.relative for i in case.scan.training if min(i.width, i.height) < least)
    if files:
        yield Hit(f"{counted(files)} less than {least} px along a side: {listed(files)}.", files)


def _huge(case: Case) -> Iterator[Hit]:
    files = tuple(i.relative for i in case.scan.training if max(i.width, i.height) > LARGEST_PX)
    if files:
        yield Hit(f"{counted(files)} more than {LARGEST_PX} px along a side: {listed(files)}.", files)


def _long(case: Case) -> Iterator[Hit]:
    files = tuple(i.relative for i in case.scan.training if max(i.width, i.height) > LONGEST_SHAPE * min(i.width, i.height))
    if files:
        yield Hit(f"{counted(files)} more than twice as long as wide, or the other way round: {listed(files)}.", files)


def _cut_square(case: Case) -> Iterator[Hit]:
    """Without buckets every picture is cut to a square; this says which lose much."""
    if case.settings.dataset.buckets:
        return
    files = tuple(i.relative for i in case.scan.training if max(i.width, i.height) > 4 / 3 * min(i.width, i.height))
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


def has_bars(facts: PictureFacts) -> bool:
    """Whether bars take up more than a hair's breadth."""
    return facts.bars and 1 - facts.content.area >= BAR_SHARE


CHECKS = (
    Check(
        "enlarged",
        "warning",
        "headers",
        "Enlarged pictures teach blur.",
        "Replace what is too small by something larger, or leave it out.",
        _blown_up,
    ),
    Check(
        "small",
        "warning",
        "headers",
        "A quarter of the area holds a quarter of the detail (guides 001 and 002).",
        "Replace what is too small by something larger, or leave it out.",
        _small,
    ),
    Check(
        "tiny",
        "warning",
        "headers",
        "So little holds no face (guide 001).",
        "Enlarge with a good upscaler, outside of loratui, or leave out.",
        _tiny,
    ),
    Check(
        "huge",
        "info",
        "headers",
        "Nothing is gained above the training size; they only take time and memory to read (guide 001).",
        f"Shrink to {LARGEST_PX} px in a prepared copy.",
        _huge,
    ),
    Check(
        "long_shape",
        "warning",
        "headers",
        "Few pictures share such a shape, and the subject gets small in it (guides 000 and 002).",
        "Crop around the subject.",
        _long,
    ),
    Check(
        "cut_square",
        "warning",
        "headers",
        "A head or a hand may be cut off (guide 000).",
        "Turn buckets on (dataset.buckets=true), or crop by hand.",
        _cut_square,
    ),
    Check(
        "bars",
        "warning",
        "pixels",
        "The model learns the bars as part of the picture (guide 002).",
        "Crop it off.",
        _bars,
    ),
    Check(
        "empty_border",
        "info",
        "pixels",
        "Empty space takes pixels from the subject (guide 000).",
        "Crop around the subject.",
        _empty,
    ),
)
