"""The rules of the guides that turn a number of images into repeats, epochs and, for one of them, a total.

Words: an image-step is one showing of one image; `repeats` is how often an epoch shows each image; exposures are
repeats × epochs. Each rule is a pure function of the concepts' image counts, its own parameters in `[schedule]`, and
the effective batch (batch × accumulation × processes). A repeats or epochs that the person set wins over the rule's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from types import MappingProxyType

from loratui.presets.schema import Schedule


@dataclass(frozen=True)
class ConceptImages:
    """How many images a concept has, and the N of its `N_name` folder."""

    name: str
    images: int
    folder_repeats: int | None = None


@dataclass(frozen=True)
class Amount:
    """What a rule asks for."""

    repeats: tuple[int, ...]
    """For each concept, in the order given."""
    epochs: int
    image_steps: int = 0
    """Image-steps after which training ends within an epoch; 0: every epoch in full."""


Rule = Callable[[Sequence[ConceptImages], Schedule, int], Amount]


def repeats_epochs(concepts: Sequence[ConceptImages], schedule: Schedule, effective_batch: int) -> Amount:
    """Repeats and epochs exactly as set; 1 where not."""
    del effective_batch
    return Amount(_repeats(concepts, schedule, 1), schedule.epochs or 1)


def per_image(concepts: Sequence[ConceptImages], schedule: Schedule, effective_batch: int) -> Amount:
    """So many image-steps for each image, shown 10 times an epoch (FLUX guide: 10 × 10 = 100)."""
    del effective_batch
    return _split(concepts, schedule, usual_repeats=10)


def exposures(concepts: Sequence[ConceptImages], schedule: Schedule, effective_batch: int) -> Amount:
    """Each image so many times, shown once an epoch (Valstrix: 1 × 100, or 10 × 10)."""
    del effective_batch
    return _split(concepts, schedule, usual_repeats=1)


def per_image_small_sets_more(concepts: Sequence[ConceptImages], schedule: Schedule, effective_batch: int) -> Amount:
    """So many image-steps an image in all, some more for a small set, less than a limit (DreamBooth guide: 100, + 100
    below 10 images, under 2 000). Above the limit: its largest multiple of the number of images.
    """
    del effective_batch
    images = _images(concepts)
    repeats = _repeats(concepts, schedule, 1)
    an_epoch = _an_epoch(concepts, repeats)
    if schedule.epochs:
        return Amount(repeats, schedule.epochs)
    wanted = schedule.exposures * images + (schedule.image_steps_extra if images < schedule.small_below else 0)
    total = under(wanted, images, schedule.image_steps_below)
    return Amount(repeats, math.ceil(total / an_epoch), total)


def per_epoch_and_total(concepts: Sequence[ConceptImages], schedule: Schedule, effective_batch: int) -> Amount:
    """At least so many image-steps an epoch, and as many epochs as reach a number of optimizer steps
    (ZyloO: about 900, about 2 500).
    """
    by_rule = math.ceil(schedule.image_steps_per_epoch / _images(concepts))
    repeats = _repeats(concepts, schedule, by_rule)
    reached = math.ceil(schedule.optimizer_steps_wanted * effective_batch / _an_epoch(concepts, repeats))
    return Amount(repeats, schedule.epochs or reached)


def per_epoch(concepts: Sequence[ConceptImages], schedule: Schedule, effective_batch: int) -> Amount:
    """About so many image-steps an epoch (Skullkid: 400 ÷ images, halves to even), and 6 epochs to start with. More
    images take more steps: as many epochs as show each so many times with these repeats, up to 20 (the guide's 15
    images take 6, its 50 take 20).
    """
    del effective_batch
    by_rule = max(1, round(schedule.image_steps_per_epoch / _images(concepts)))
    return Amount(
        _repeats(concepts, schedule, by_rule), schedule.epochs or min(20, max(6, round(schedule.exposures / by_rule)))
    )


def balanced_concepts(concepts: Sequence[ConceptImages], schedule: Schedule, effective_batch: int) -> Amount:
    """Equal time for every concept: the largest one's images × repeats is the measure for all (Valstrix, part 6)."""
    del effective_batch
    largest = anchor(concepts)
    usual = schedule.repeats or 10
    own = largest.folder_repeats if schedule.folder_repeats else None
    measure = largest.images * (own or usual)
    balanced = tuple(_folder(c, schedule) or max(1, round(measure / c.images)) for c in concepts)
    # The anchor's own quotient is whole; rounding never moves it.
    anchored = balanced[concepts.index(largest)]
    epochs = schedule.epochs or max(1, math.ceil(schedule.exposures / anchored))
    divisor = reduce(math.gcd, balanced)
    if schedule.halve_balanced and divisor > 1:
        return Amount(tuple(r // divisor for r in balanced), epochs * divisor)
    return Amount(balanced, epochs)


RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "repeats_epochs": repeats_epochs,
        "per_image": per_image,
        "per_image_small_sets_more": per_image_small_sets_more,
        "per_epoch_and_total": per_epoch_and_total,
        "per_epoch": per_epoch,
        "exposures": exposures,
        "balanced_concepts": balanced_concepts,
    }
)


def anchor(concepts: Sequence[ConceptImages]) -> ConceptImages:
    """The concept with the most images; the first of equals."""
    return max(concepts, key=lambda c: c.images)


def under(wanted: int, images: int, limit: int) -> int:
    """`wanted` if it is less than `limit` (0: none), else the largest multiple of `images` that is.

    With more images than the limit allows to show once, the largest number below it.
    """
    if limit == 0 or wanted < limit:
        return wanted
    return (limit - 1) // images * images or max(1, limit - 1)


def _split(concepts: Sequence[ConceptImages], schedule: Schedule, *, usual_repeats: int) -> Amount:
    """repeats × epochs = exposures, rounded up to a whole epoch."""
    by_rule = usual_repeats
    if schedule.epochs and not schedule.repeats:
        by_rule = max(1, round(schedule.exposures / schedule.epochs))
    repeats = _repeats(concepts, schedule, by_rule)
    anchored = repeats[concepts.index(anchor(concepts))]
    return Amount(repeats, schedule.epochs or math.ceil(schedule.exposures / anchored))


def _repeats(concepts: Sequence[ConceptImages], schedule: Schedule, by_rule: int) -> tuple[int, ...]:
    """For each concept: its folder's number, else the person's or preset's, else the rule's."""
    return tuple(_folder(c, schedule) or schedule.repeats or by_rule for c in concepts)


def _folder(concept: ConceptImages, schedule: Schedule) -> int | None:
    return concept.folder_repeats if schedule.folder_repeats else None


def _images(concepts: Sequence[ConceptImages]) -> int:
    return sum(c.images for c in concepts)


def _an_epoch(concepts: Sequence[ConceptImages], repeats: Sequence[int]) -> int:
    return sum(c.images * r for c, r in zip(concepts, repeats, strict=True))
