"""Checks of variety: near duplicates, mirrored copies, the same background, the same light."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

from loratui.engine.dataset import similar
from loratui.engine.dataset.checks.case import Case, Check, Hit
from loratui.engine.dataset.findings import listed
from loratui.engine.words import count, number

ENOUGH = 6
"""Images from which sameness of the whole set says something."""
MOST_SHARE = 0.6
"""Share of the images that may stand before one background."""
LIGHT_LEVELS = 6.0
"""Brightness and tint within so many levels of the middle are the same light, as far as it can be measured."""


def _near(case: Case) -> Iterator[Hit]:
    same_file = [set(group) for group in case.copies or ()]
    for group in similar.near_groups({image.relative: facts for image, facts in case.measured()}):
        if not any(set(group) <= copies for copies in same_file):
            yield Hit(f"{listed(group)} are nearly the same image.", group)


def _mirrored(case: Case) -> Iterator[Hit]:
    for pair in similar.mirrored_pairs({image.relative: facts for image, facts in case.measured()}):
        yield Hit(f"{pair[0]} and {pair[1]} are the same image, one of them mirrored.", pair)


def _background(case: Case) -> Iterator[Hit]:
    facts = {image.relative: found for image, found in case.measured()}
    if len(facts) >= ENOUGH:
        group = similar.same_background(facts)
        if len(group) > MOST_SHARE * len(facts):
            yield Hit(f"{number(len(group))} of {count(len(facts), 'image')} have the same background, or nearly so.", group)


def _light(case: Case) -> Iterator[Hit]:
    facts = [found for _, found in case.measured()]
    if len(facts) < ENOUGH:
        return
    brightness, tint = median(f.luma_mean for f in facts), median(f.tint for f in facts)
    alike = [f for f in facts if abs(f.luma_mean - brightness) <= LIGHT_LEVELS and abs(f.tint - tint) <= LIGHT_LEVELS]
    if len(alike) >= 0.9 * len(facts):
        yield Hit(f"{number(len(alike))} of {count(len(facts), 'image')} have the same brightness and tint.")


CHECKS = (
    Check(
        "near_duplicates",
        "warning",
        "pixels",
        "What is shown more often is learnt harder: its pose, clothes and background stick (guides 000 and 001).",
        "Keep the best of them.",
        _near,
    ),
    Check(
        "mirrored_copies",
        "warning",
        "pixels",
        "Left and right get mixed: partings, moles and tattoos change sides (guides 001 and 002).",
        "Leave one out, or mirror it back if it shows the subject the wrong way round.",
        _mirrored,
    ),
    Check(
        "same_background",
        "warning",
        "pixels",
        "What is the same in all images is learnt as part of the subject (guides 000 and 001).",
        "Add images from other places, and name the background in the captions.",
        _background,
    ),
    Check(
        "same_light",
        "info",
        "pixels",
        "Light that never changes is learnt as part of the subject (FLUX guide). Clothes and poses are not measured; look at them.",
        "Add images in other light, or name the light in the captions.",
        _light,
    ),
)
