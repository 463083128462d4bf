"""Checks of what the pixels show: blur, noise, exposure, and how alike the images are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from statistics import median

from loratui.engine.dataset import similar
from loratui.engine.dataset.checks.case import Case, Check, some
from loratui.engine.dataset.checks.shape import large_enough
from loratui.engine.dataset.facts import ImageFacts
from loratui.engine.findings import Finding

BLURRED = 0.5
"""`ImageFacts.blur` from here on is plain to see: sharp photographs have up to 0.35, a blur of 2 px gives 0.45 to 0.65."""
NOISY = 12.0
"""Levels of noise in the flattest part; a phone's photo in daylight has 1 to 3."""
DARK, BRIGHT, FLAT = 70.0, 170.0, 30.0
"""Nearly all pixels darker than this, nearly all brighter than this, nearly all within so many levels."""
ENOUGH = 6
"""Images from which sameness of the whole set says something."""
MOST_SHARE = 0.6
"""Share of the images that may stand before one background."""
LIGHT_LEVELS = 6.0
"""Brightness and tint within so many levels of the middle are the same light, as far as it can be measured."""


def _check(code: str, holds: Callable[[ImageFacts], bool]) -> Check:
    def names(case: Case) -> Iterator[str]:
        judged = {image.relative for image in large_enough(case)}
        return (image.relative for image, facts in case.measured() if image.relative in judged and holds(facts))

    return Check(code, "pixels", lambda case: some(code, names(case)))


def _is_flat(facts: ImageFacts) -> bool:
    return facts.luma_bright - facts.luma_dark < FLAT


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
    _check("blurred", lambda facts: facts.blur >= BLURRED),
    _check("noisy", lambda facts: facts.noise >= NOISY),
    _check("dark", lambda facts: facts.luma_bright < DARK),
    _check("bright", lambda facts: facts.luma_dark > BRIGHT and not _is_flat(facts)),
    _check("flat", lambda facts: _is_flat(facts) and facts.luma_bright >= DARK),
    Check("near_duplicates", "pixels", _near),
    Check("mirrored_copies", "pixels", _mirrored),
    Check("same_background", "pixels", _background),
    Check("same_light", "pixels", _light),
)
