"""What is said of how much a plan trains: exposures of each image, the total, and epochs that a person would choose instead."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from loratui.engine.findings import Finding
from loratui.engine.planning.case import Case
from loratui.presets.schema import get

MOST_EPOCHS = 3
"""No remedy proposes more than so many times the preset's own epochs; something else is wrong then."""

ROUND_NUMBERS = (*range(1, 11), 12, 15, 20, 25, 30, 40, 50, 60, 80, 100, 120, 150, 200, 250, 300, 400, 500, 600, 800, 1000)
"""Epochs that a person would choose."""

_CONTINUED = ("schedule.continue_run", "schedule.continue_step")
_LIMITS = ("schedule.exposures_wanted", "schedule.image_steps_warn")


def exposures(case: Case) -> Iterator[Finding]:
    """Whether each image is shown as often as the recipe wants. What the preset itself makes of a number of images that
    it was made for is right, in whatever batches: the guides' formulas disagree on that, and each preset follows one."""
    least, most = _limits(case)
    shown, limit_of = case.plan.exposures_per_image, case.source("schedule.exposures_wanted")
    if shown > most:
        yield _other_amount(case, "too_many_exposures", shown=round(shown), most=round(most), limit_of=limit_of)
    elif shown < least and not is_capped(case):
        yield _other_amount(case, "too_few_exposures", shown=shown, least=round(least), limit_of=limit_of)


def total(case: Case) -> Iterator[Finding]:
    """Limits on the image-steps in all."""
    schedule, plan = case.settings.schedule, case.plan
    of_subject = round(plan.exposures_per_image * plan.images)  # regularisation makes a run longer, and not the likeness worse
    if 0 < schedule.image_steps_warn < of_subject and not case.amount_is_own:
        limit_of = case.source("schedule.image_steps_warn")
        yield Finding.of("too_many_image_steps", steps=of_subject, most=schedule.image_steps_warn, limit_of=limit_of)
    if is_capped(case) and not case.amount_is_own:
        yield Finding.of(
            "capped",
            images=plan.images,
            exposures=schedule.exposures,
            asked=schedule.exposures * plan.images,
            below=schedule.image_steps_below,
            shown=plan.exposures_per_image,
            limit_of=case.source("schedule.image_steps_below"),
        )


def is_capped(case: Case) -> bool:
    """Whether the preset's limit, and not its number for each image, decides the total."""
    schedule = case.settings.schedule
    if schedule.rule != "per_image_small_sets_more" or schedule.epochs or schedule.image_steps:
        return False
    return 0 < schedule.image_steps_below <= schedule.exposures * case.plan.images


def _limits(case: Case) -> tuple[float, float]:
    least, most = case.settings.schedule.exposures_wanted
    if not case.in_band or "schedule.exposures_wanted" in case.changed:
        return least, most
    own = case.own.exposures
    return min(least, own), max(most, own)


def _other_amount(case: Case, code: str, **figures: Any) -> Finding:
    """What to do instead: other epochs if some are near at hand, else what led away from the preset, else other images."""
    least, most = _limits(case)
    too_many = case.plan.exposures_per_image > most
    schedule, own = case.settings.schedule, case.own
    for epochs in (*[own.epochs] * case.known, *sorted(ROUND_NUMBERS, reverse=too_many)):
        shown = case.shown(dataclasses.replace(schedule, epochs=epochs)).exposures
        if epochs <= MOST_EPOCHS * (own.epochs if case.known else case.plan.epochs) and least <= shown <= most:
            saved = ".saved" if too_many and epochs < case.plan.epochs else ""
            return Finding.of(f"{code}{saved}", epochs=epochs, settings={"schedule.epochs": epochs}, **figures)
    if not case.known:
        return Finding.of(f"{code}.unknown_preset", low=round(least), high=round(most), **figures)
    if least <= own.exposures <= most:
        return _back_to_the_preset(case, code, figures)
    if "schedule.exposures_wanted" in case.changed:
        return Finding.of(f"{code}.own_limits", **figures)
    fewest, largest = case.settings.dataset.images_wanted
    kind = "more_images" if case.plan.images < fewest else "fewer_images"
    return Finding.of(f"{code}.{kind}", fewest=fewest, largest=largest, **figures)


def _back_to_the_preset(case: Case, code: str, figures: Mapping[str, Any]) -> Finding:
    keys = [key for key in sorted(case.changed) if key.startswith("schedule.") and key not in (*_LIMITS, *_CONTINUED)]
    back = {key: get(case.start, key) for key in keys}
    kind = "preset"
    if any(c.from_folder for c in case.plan.concepts):
        kind, back = "folders", back | {"schedule.folder_repeats": False}
    own: dict[str, Any] = {"of_preset": round(case.own.exposures), "epochs": case.own.epochs}
    return Finding.of(f"{code}.{kind}{'' if keys else '_alone'}", keys=keys, settings=back, **own, **figures)
