"""Checks of what the pixels show: blur, noise, exposure."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from loratui.engine.dataset.checks.case import Case, Check, Hit
from loratui.engine.dataset.checks.shape import large_enough
from loratui.engine.dataset.facts import ImageFacts
from loratui.engine.dataset.findings import listed, number_of

BLURRED = 0.5
"""`ImageFacts.blur` from here on is plain to see: sharp photographs have up to 0.35, a blur of 2 px gives 0.45 to 0.65."""
NOISY = 12.0
"""Levels of noise in the flattest part; a phone's photo in daylight has 1 to 3."""
DARK, BRIGHT, FLAT = 70.0, 170.0, 30.0
"""Nearly all pixels darker than this, nearly all brighter than this, nearly all within so many levels."""


def _each(case: Case, holds: Callable[[ImageFacts], bool], what: str) -> Iterator[Hit]:
    judged = {image.relative for image in large_enough(case)}
    files = tuple(image.relative for image, facts in case.measured() if image.relative in judged and holds(facts))
    if files:
        yield Hit(f"{number_of(files)} {what}: {listed(files)}.", files)


def _blurred(case: Case) -> Iterator[Hit]:
    return _each(case, lambda facts: facts.blur >= BLURRED, "without a sharp part")


def _noisy(case: Case) -> Iterator[Hit]:
    return _each(case, lambda facts: facts.noise >= NOISY, "with much noise, or treated against training")


def _dark(case: Case) -> Iterator[Hit]:
    return _each(case, lambda facts: facts.luma_bright < DARK, "nearly black")


def _bright(case: Case) -> Iterator[Hit]:
    return _each(case, lambda facts: facts.luma_dark > BRIGHT and not _flat_one(facts), "washed out")


def _flat_one(facts: ImageFacts) -> bool:
    return facts.luma_bright - facts.luma_dark < FLAT


def _flat(case: Case) -> Iterator[Hit]:
    return _each(case, lambda facts: _flat_one(facts) and facts.luma_bright >= DARK, "with hardly any contrast")


_LOOK = "Look at it, and leave it out if it is not good."

CHECKS = (
    Check("blurred", "warning", "pixels", "Blur is learnt like anything else (guides 000 and 002).", _LOOK, _blurred),
    Check("noisy", "warning", "pixels", "Noise and disturbing patterns are learnt (guides 000 and 002).", _LOOK, _noisy),
    Check("dark", "warning", "pixels", "What cannot be seen cannot be learnt (FLUX guide).", _LOOK, _dark),
    Check("bright", "warning", "pixels", "What cannot be seen cannot be learnt (FLUX guide).", _LOOK, _bright),
    Check("flat", "warning", "pixels", "An image without contrast holds no subject.", _LOOK, _flat),
)
