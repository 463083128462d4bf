"""Checks of how images are stored: rotation, transparency, bits, colours, compression, and what EXIF tells of a place."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from loratui.engine.dataset.checks.case import Case, Check, Hit
from loratui.engine.dataset.decoding import Traits
from loratui.engine.dataset.findings import counted, listed, number_of

LOWEST_QUALITY = 50
"""JPEG quality below which blocks and halos are plain to see."""

BLOCKY = 2.0
"""`ImageFacts.blockiness` from which the blocks of an earlier JPEG are plain to see; quality 10 gives 2 to 3."""

SEEN_THROUGH = 0.001
"""Share of transparent pixels from which a background matters."""


def _with(case: Case, holds: Callable[[Traits], bool]) -> tuple[str, ...]:
    return tuple(image.relative for image in case.scan.training if holds(image.traits))


def _rotated(case: Case) -> Iterator[Hit]:
    files = _with(case, lambda traits: traits.orientation != 1)
    if files:
        yield Hit(f"{counted(files)} turned by a note in EXIF: {listed(files)}.", files)


def _transparent(case: Case) -> Iterator[Hit]:
    if case.facts is None:
        files = _with(case, lambda traits: traits.alpha)
        if files:
            yield Hit(f"{number_of(files)} can hold transparent parts: {listed(files)}.", files, "info")
        return
    files = tuple(image.relative for image, facts in case.measured() if facts.transparent > SEEN_THROUGH)
    if files:
        yield Hit(f"{counted(files)} partly transparent, and trained on white: {listed(files)}.", files)


def _wide(case: Case) -> Iterator[Hit]:
    files = _with(case, lambda traits: traits.bits > 8)
    if files:
        yield Hit(f"{counted(files)} of 16 bits or more a channel: {listed(files)}.", files)


def _colours(case: Case) -> Iterator[Hit]:
    files = _with(case, lambda traits: traits.mode in ("P", "PA", "1", "CMYK", "YCCK", "LAB", "HSV"))
    if files:
        yield Hit(f"{counted(files)} stored with a palette, in print colours or in black and white: {listed(files)}.", files)


def _profile(case: Case) -> Iterator[Hit]:
    named = {image.relative: facts.profile for image, facts in case.measured() if facts.profile}
    if named:
        profiles = listed(sorted(set(named.values())), 3)
        files = tuple(named)
        yield Hit(f"{number_of(files)} with a colour profile other than sRGB ({profiles}): {listed(files)}.", files)


def _animated(case: Case) -> Iterator[Hit]:
    files = _with(case, lambda traits: traits.animated)
    if files:
        yield Hit(f"{counted(files)} animated; only the first frame is trained on: {listed(files)}.", files)


def _compressed(case: Case) -> Iterator[Hit]:
    low = {i.relative for i in case.scan.training if (i.traits.jpeg_quality or 100) < LOWEST_QUALITY}
    low |= {image.relative for image, facts in case.measured() if facts.blockiness >= BLOCKY}
    if low:
        files = tuple(sorted(low))
        yield Hit(f"{counted(files)} compressed so much that blocks show: {listed(files)}.", files)


def _place(case: Case) -> Iterator[Hit]:
    files = _with(case, lambda traits: traits.gps)
    if files:
        yield Hit(f"{number_of(files)} with the place where it was taken in EXIF: {listed(files)}.", files)


CHECKS = (
    Check(
        "rotated",
        "info",
        "headers",
        "Trainers that ignore the note train them sideways. Here they are turned upright as they are read.",
        "",
        _rotated,
    ),
    Check(
        "transparent",
        "warning",
        "headers",
        "The model learns the colour that stands behind it, and hidden colours may come through (Valstrix).",
        "Flatten it on a chosen or varied plain colour, and name that background in the caption.",
        _transparent,
    ),
    Check("wide_bits", "info", "headers", "They are scaled to 8 bits as they are read; others clip them to white.", "", _wide),
    Check("stored_colours", "info", "headers", "They are turned to RGB as they are read.", "", _colours),
    Check("profile", "info", "pixels", "Their colours are turned to sRGB as they are read.", "", _profile),
    Check("animated", "info", "headers", "A model of still images sees one frame.", "", _animated),
    Check(
        "compressed",
        "warning",
        "headers",
        "The model learns the blocks and halos of compression as part of the subject (guides 000 and 002).",
        "Find a better copy, or leave it out.",
        _compressed,
    ),
    Check(
        "place",
        "info",
        "headers",
        "Nothing of EXIF goes into the LoRA, its samples or a prepared copy; the originals still hold it.",
        "Remove it before you give the images to anyone.",
        _place,
    ),
)
