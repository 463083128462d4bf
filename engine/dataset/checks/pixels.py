"""Checks of what the pixels show: blur, noise, exposure."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from loratui.engine.dataset.checks.case import Case, Check, some
from loratui.engine.dataset.checks.shape import large_enough
from loratui.engine.dataset.facts import ImageFacts

BLURRED = 0.5
"""`ImageFacts.blur` from here on is plain to see: sharp photographs have up to 0.35, a blur of 2 px gives 0.45 to 0.65."""
NOISY = 12.0
"""Levels of noise in the flattest part; a phone's photo in daylight has 1 to 3."""
DARK, BRIGHT, FLAT = 70.0, 170.0, 30.0
"""Nearly all pixels darker than this, nearly all brighter than this, nearly all within so many levels."""


def _check(code: str, holds: Callable[[ImageFacts], bool]) -> Check:
    def names(case: Case) -> Iterator[str]:
        judged = {image.relative for image in large_enough(case)}
        return (image.relative for image, facts in case.measured() if image.relative in judged and holds(facts))

    return Check(code, "pixels", lambda case: some(code, names(case)))


def _is_flat(facts: ImageFacts) -> bool:
    return facts.luma_bright - facts.luma_dark < FLAT


CHECKS = (
    _check("blurred", lambda facts: facts.blur >= BLURRED),
    _check("noisy", lambda facts: facts.noise >= NOISY),
    _check("dark", lambda facts: facts.luma_bright < DARK),
    _check("bright", lambda facts: facts.luma_dark > BRIGHT and not _is_flat(facts)),
    _check("flat", lambda facts: _is_flat(facts) and facts.luma_bright >= DARK),
)
