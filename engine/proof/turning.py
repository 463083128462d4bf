"""Whether the samples of a run that trains have stopped getting better, and since when."""

from __future__ import annotations

from collections.abc import Sequence

from loratui.engine.runs.held_out import HeldOut
from loratui.engine.runs.measured import LikelyBest, Measured

PATIENCE = 3
"""Samples in a row that bring nothing new, after which the ones before them are likely the best."""
FALLS = 2
"""Samples in a row that are clearly worse, after which it is said."""
LEAST_GAIN = 0.01
SHARE_OF_RISE = 0.05
"""A gain or a loss of likeness counts from so much on, and from this share of what was gained since the base."""
HALF_WAY = 0.5
"""Of the way from the base to what is natural, which likeness must have come: before that nothing was learnt that could stay."""
LOSS_RISE = 0.01
"""Share of the lowest loss on held-out images by which the last must be above it."""
LEAST_RISE = 0.1
"""The same where nothing natural is known."""
SOME_COPIED = 0.5
"""Share of the samples that copy a photo from which it is said of all."""


def likely_best(
    points: Sequence[Measured], held_out: HeldOut | None = None, lowest: HeldOut | None = None
) -> LikelyBest | None:
    """Which of the samples, by step, are likely the best of those so far; None while they still get better, or nothing is known.

    `held_out` is the last loss on held-out images and `lowest` the lowest so far; they decide where likeness is unknown.
    """
    points = [point for point in points if point.step]
    if (copies := _copies(points)) is not None:
        return copies
    if any(point.value("likeness") is not None for point in points):
        return _likeness(points)
    return _held_out(points[-1], held_out, lowest) if points and held_out is not None and lowest is not None else None


def is_news(best: LikelyBest, said: LikelyBest | None, points: Sequence[Measured]) -> bool:
    """Whether it must be said: once, and again only if later samples are clearly better than those of which it was said, or if
    these are copies."""
    if said is None or (best.kind == "copies") != (said.kind == "copies"):
        return True
    likeness = {point.step: point.value("likeness") or 0.0 for point in points}
    return best.step > said.step and likeness.get(best.step, 0.0) > likeness.get(said.step, 0.0) + gain(points)


def gain(points: Sequence[Measured]) -> float:
    """From which difference on one likeness is better than another."""
    known = [value for point in points if (value := point.value("likeness")) is not None]
    first = points[-1].get("likeness") if points else None
    from_ = first.base if first is not None and first.base is not None else min(known, default=0.0)
    return max(LEAST_GAIN, SHARE_OF_RISE * (max(known, default=0.0) - from_))


def _copies(points: Sequence[Measured]) -> LikelyBest | None:
    """The last samples before copies begin that stay."""
    in_a_row = 0
    for at in range(len(points) - 1, -1, -1):
        share = points[at].copied
        if share is None or share < SOME_COPIED:
            break
        in_a_row += 1
    before = points[: len(points) - in_a_row]
    clean = [point for point in before if point.copied == 0]
    if in_a_row < FALLS or not clean:
        return None
    best = clean[-1]
    return LikelyBest("copies", best.step, best.epoch, points[-1].step)


def _likeness(points: Sequence[Measured]) -> LikelyBest | None:
    known = [(point, one.value, one) for point in points if (one := point.get("likeness")) and one.value is not None]
    if not known:
        return None
    top, most, of_top = max(known, key=lambda found: found[1])
    if not _has_risen(most, of_top.base, of_top.low):
        return None
    margin = gain(points)
    last = points[-1].step
    after_top = [value for point, value, _ in known if point.step > top.step]
    if len(after_top) >= FALLS and all(value < most - margin for value in after_top[-FALLS:]):
        return LikelyBest("turn", top.step, top.epoch, last)
    first, since = next((point, at) for at, (point, value, _) in enumerate(known) if value >= most - margin)
    if len(known) - 1 - since >= PATIENCE:
        return LikelyBest("plateau", first.step, first.epoch, last)
    return None


def _held_out(point: Measured, last: HeldOut, lowest: HeldOut) -> LikelyBest | None:
    """Regularisation images are no measure of this: a LoRA may change what it does not show."""
    if last.what != "held_out" or last.loss is None or lowest.loss is None or not lowest.epoch:
        return None
    if last.epoch - lowest.epoch < PATIENCE or last.loss < lowest.loss * (1 + LOSS_RISE):
        return None
    return LikelyBest("held_out", lowest.step, lowest.epoch, max(point.step, last.step))


def _has_risen(most: float, base: float | None, low: float | None) -> bool:
    if base is None:
        return low is not None and most >= low
    return most - base >= (HALF_WAY * (low - base) if low is not None and low > base else LEAST_RISE)
