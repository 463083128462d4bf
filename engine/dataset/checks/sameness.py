"""Checks of variety: near duplicates, mirrored copies, the same background, the same light."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

from loratui.engine.dataset import similar
from loratui.engine.dataset.checks.case import Case, Check
from loratui.engine.findings import Finding

ENOUGH = 6
"""Images from which sameness of the whole set says something."""
MOST_SHARE = 0.6
"""Share of the images that may stand before one background."""
LIGHT_LEVELS = 6.0
"""Brightness and tint within so many levels of the middle are the same light, as far as it can be measured."""


def _near(case: Case) -> Iterator[Finding]:
    same_file = [set(group) for group in case.copies or ()]
    for group in similar.near_groups({image.relative: facts for image, facts in case.measured()}):
        if not any(set(group) <= copies for copies in same_file):
            yield Finding.of("near_duplicates", group)


def _mirrored(case: Case) -> Iterator[Finding]:
    for pair in similar.mirrored_pairs({image.relative: facts for image, facts in case.measured()}):
        yield Finding.of("mirrored_copies", pair)


def _background(case: Case) -> Iterator[Finding]:
    facts = {image.relative: measured for image, measured in case.measured()}
    if len(facts) >= ENOUGH:
        group = similar.same_background(facts)
        if len(group) > MOST_SHARE * len(facts):
            yield Finding.of("same_background", group, images=len(facts))


def _light(case: Case) -> Iterator[Finding]:
    facts = [measured for _, measured in case.measured()]
    if len(facts) < ENOUGH:
        return
    brightness, tint = median(f.luma_mean for f in facts), median(f.tint for f in facts)
    alike = [f for f in facts if abs(f.luma_mean - brightness) <= LIGHT_LEVELS and abs(f.tint - tint) <= LIGHT_LEVELS]
    if len(alike) >= 0.9 * len(facts):
        yield Finding.of("same_light", alike=len(alike), images=len(facts))


CHECKS = (
    Check("near_duplicates", "pixels", _near),
    Check("mirrored_copies", "pixels", _mirrored),
    Check("same_background", "pixels", _background),
    Check("same_light", "pixels", _light),
)
