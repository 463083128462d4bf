"""Checks of how images are stored: rotation, transparency, bits, colours, compression, and what EXIF tells of a place."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from loratui.engine.dataset.checks.case import Case, Check, some
from loratui.engine.dataset.decoding import Traits
from loratui.engine.findings import Finding

LOWEST_QUALITY = 50
"""JPEG quality below which blocks and halos are plain to see."""

BLOCKY = 2.0
"""`ImageFacts.blockiness` from which the blocks of an earlier JPEG are plain to see; quality 10 gives 2 to 3."""

SEEN_THROUGH = 0.001
"""Share of transparent pixels from which a background matters."""


def _with(key: str, holds: Callable[[Traits], bool]) -> Callable[[Case], Iterator[Finding]]:
    return lambda case: some(key, (image.relative for image in case.scan.training if holds(image.traits)))


def _transparent(case: Case) -> Iterator[Finding]:
    if case.settings.dataset.masks == "alpha":
        return iter(())  # it was asked for
    if case.facts is None:
        return _with("transparent.possible", lambda traits: traits.alpha)(case)
    return some("transparent", (image.relative for image, facts in case.measured() if facts.transparent > SEEN_THROUGH))


def _profile(case: Case) -> Iterator[Finding]:
    named = {image.relative: facts.profile for image, facts in case.measured() if facts.profile}
    return some("profile", named, profiles=sorted(set(named.values())))


def _compressed(case: Case) -> Iterator[Finding]:
    low = {i.relative for i in case.scan.training if (i.traits.jpeg_quality or 100) < LOWEST_QUALITY}
    low |= {image.relative for image, facts in case.measured() if facts.blockiness >= BLOCKY}
    return some("compressed", sorted(low))


_OTHER_COLOURS = ("P", "PA", "1", "CMYK", "YCCK", "LAB", "HSV")

CHECKS = (
    Check("rotated", "headers", _with("rotated", lambda traits: traits.orientation != 1)),
    Check("transparent", "headers", _transparent),
    Check("wide_bits", "headers", _with("wide_bits", lambda traits: traits.bits > 8)),
    Check("stored_colours", "headers", _with("stored_colours", lambda traits: traits.mode in _OTHER_COLOURS)),
    Check("profile", "pixels", _profile),
    Check("animated", "headers", _with("animated", lambda traits: traits.animated)),
    Check("compressed", "headers", _compressed),
    Check("place", "headers", _with("place", lambda traits: traits.gps)),
)
