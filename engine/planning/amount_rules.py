"""What is said of how much a plan trains: exposures of each image, the total, and epochs that a person would choose instead."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from loratui.engine.planning.advice import Case
from loratui.engine.planning.plan import Advice
from loratui.engine.words import count, number, times

MOST_EPOCHS = 3
"""No remedy proposes more than so many times the preset's own epochs; something else is wrong then."""

ROUND_NUMBERS = (*range(1, 11), 12, 15, 20, 25, 30, 40, 50, 60, 80, 100, 120, 150, 200, 250, 300, 400, 500, 600, 800, 1000)
"""Epochs that a person would choose."""

_LIMITS = ("schedule.exposures_wanted", "schedule.image_steps_warn")


def exposures(case: Case) -> Iterator[Advice]:
    """Whether each image is shown as often as the recipe wants. What the preset itself makes of a number of images that
    it was made for is right, in whatever batches: the guides' formulas disagree on that, and each preset follows one."""
    least, most = _limits(case)
    shown = case.plan.exposures_per_image
    source = case.source("schedule.exposures_wanted")
    if shown > most:
        message = f"Each image is shown {times(round(shown))}; beyond {number(round(most))} this recipe tends to learn the photos by heart."
        yield Advice("too_many_exposures", message, _other_amount(case), source)
    elif shown < least and not is_capped(case):
        message = f"Each image is shown {times(shown)}; below {number(round(least))} the likeness may stay weak."
        yield Advice("too_few_exposures", message, _other_amount(case), source)


def total(case: Case) -> Iterator[Advice]:
    """Limits on the image-steps in all."""
    schedule, plan = case.settings.schedule, case.plan
    of_subject = round(plan.exposures_per_image * plan.images)  # regularisation makes a run longer, and not the likeness worse
    if 0 < schedule.image_steps_warn < of_subject and not case.amount_is_own:
        message = f"{count(of_subject, 'image-step')}: beyond about {number(schedule.image_steps_warn)} the result was seen to get worse."
        remedy = "Compare the saved epochs, and use the one before it gets worse; or train fewer."
        yield Advice("too_many_image_steps", message, remedy, case.source("schedule.image_steps_warn"))
    if is_capped(case) and not case.amount_is_own:
        asked = schedule.exposures * plan.images
        message = (
            f"{count(plan.images, 'image')} × {number(schedule.exposures)} would be {count(asked, 'image-step')}; they stay under "
            f"{number(schedule.image_steps_below)}, so that each image is shown {times(plan.exposures_per_image)}."
        )
        remedy = "Choose the best images, or another preset for so many."
        yield Advice("capped", message, remedy, case.source("schedule.image_steps_below"))


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


def _other_amount(case: Case) -> str:
    """What to do instead: other epochs if some are near at hand, else what led away from the preset, else other images."""
    least, most = _limits(case)
    too_many = case.plan.exposures_per_image > most
    schedule, own = case.settings.schedule, case.own
    for epochs in (*[own.epochs] * case.known, *sorted(ROUND_NUMBERS, reverse=too_many)):
        shown = case.shown(dataclasses.replace(schedule, epochs=epochs)).exposures
        if epochs <= MOST_EPOCHS * (own.epochs if case.known else case.plan.epochs) and least <= shown <= most:
            amount = count(epochs, "epoch")
            earlier = ", or use an earlier saved one" if too_many and epochs < case.plan.epochs else ""
            return f"Train {amount} (schedule.epochs={epochs}){earlier}."
    if not case.known:
        return (
            f"Choose schedule.repeats and schedule.epochs that make {number(round(least))} to {number(round(most))} together."
        )
    if least <= own.exposures <= most:
        return _back_to_the_preset(case)
    if "schedule.exposures_wanted" in case.changed:
        return "Look at schedule.exposures_wanted again: the preset is far from it."
    fewest, largest = case.settings.dataset.images_wanted
    what = "Add images" if case.plan.images < fewest else "Choose the best images"
    return f"{what}: this recipe is made for {fewest} to {largest}."


def _back_to_the_preset(case: Case) -> str:
    keys = [key for key in sorted(case.changed) if key.startswith("schedule.") and key not in _LIMITS]
    shown = f"it shows each image {times(round(case.own.exposures))} in {count(case.own.epochs, 'epoch')}"
    if any(c.from_folder for c in case.plan.concepts):
        return f"Add --repeats rule{f', and leave {_listed(keys)} to the preset' if keys else ''}: {shown}."
    return f"Leave {_listed(keys) or 'the amount'} to the preset: {shown}."


def _listed(keys: list[str]) -> str:
    return " and ".join((", ".join(keys[:-1]), keys[-1])) if len(keys) > 1 else "".join(keys)
