"""Their step count against loratui's, on the same images, and the image-steps that make both the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from loratui.engine.dataset.buckets import BucketRule, assign
from loratui.engine.dataset.scan import DatasetScan
from loratui.engine.errors import LoratuiError
from loratui.engine.importing.amount import Amount, image_steps_for
from loratui.engine.planning.plan import Plan
from loratui.engine.planning.recipe import Recipe
from loratui.engine.planning.schedule import make_plan, plan_for_counts
from loratui.engine.words import count, number


@dataclass(frozen=True)
class StepCounts:
    """Optimizer steps there and here; None where they depend on images that are not known."""

    theirs: int | None = None
    ours: int | None = None
    why: str = ""
    images: int = 0
    ours_image_steps: int | None = None

    def to_json(self) -> dict[str, Any]:
        """`theirs ours why images image_steps`."""
        return {
            "theirs": self.theirs,
            "ours": self.ours,
            "why": self.why,
            "images": self.images,
            "image_steps": self.ours_image_steps,
        }


def settle(recipe: Recipe, amount: Amount, scan: DatasetScan | None, images: int = 0) -> tuple[Recipe, StepCounts]:
    """The recipe with the image-steps and the warm-up that make its steps theirs, and both counts. Raises `LoratuiError`."""
    batches = "batch" if amount.window == 1 else f"{number(amount.window)} batches"
    formula = amount.formula.format(batches=batches, window=amount.window, batch=amount.batch, accumulation=amount.accumulation)
    changes: dict[str, Any] = {}
    if amount.steps:
        changes["schedule.epochs"] = 0
        changes["schedule.image_steps"] = min(amount.steps * amount.batch * amount.window, 1_000_000_000)
    if scan is None and not images:
        # Without images the steps of an epoch are unknown; a total holds if each batch is full.
        known = amount.steps or None
        held = recipe.with_changes({**changes, **_warmup(amount, known)})
        why = (
            "Without images only the formula is known"
            if known is None
            else "A total is given; without images each batch is taken as full"
        )
        return held, StepCounts(known, known, f"{why}: {formula}. Give the folder with --dataset, or --images N.")
    recipe = recipe.with_changes(changes)
    plan = _plan(recipe, scan, images)
    theirs = amount.total(_buckets(recipe, scan, plan))
    more = ""
    if theirs is not None and plan.optimizer_steps != theirs:
        recipe, plan, more = _fitted(recipe, amount, scan, images, theirs)
    if theirs is not None:
        recipe = recipe.with_changes(_warmup(amount, theirs))
    same = theirs == plan.optimizer_steps
    shown = f"{count(plan.images, 'image')}; {formula}"
    if theirs is None:
        more = "The file's own numbers come to no step; the recipe has loratui's."
    else:
        more = f"{'Both make the same.' if same else 'The difference cannot be taken away.'}{more}"
    why = f"{shown}. {more}"
    return recipe, StepCounts(theirs, plan.optimizer_steps, why, plan.images, plan.image_steps)


def _plan(recipe: Recipe, scan: DatasetScan | None, images: int) -> Plan:
    return make_plan(recipe, scan) if scan is not None else plan_for_counts(recipe, images)


def _fitted(recipe: Recipe, amount: Amount, scan: DatasetScan | None, images: int, theirs: int) -> tuple[Recipe, Plan, str]:
    """The recipe that ends after as many optimizer steps, where whole epochs do not come to them."""
    before = _plan(recipe, scan, images)
    training = recipe.settings.training
    wanted = image_steps_for(max(1, theirs), _buckets(recipe, scan, before), training.batch_size, training.window_batches)
    try:
        fitted = recipe.with_changes({"schedule.image_steps": wanted, "schedule.epochs": 0})
        plan = _plan(fitted, scan, images)
    except (LoratuiError, ValueError):  # more than a recipe holds
        return recipe, before, ""
    if plan.optimizer_steps != theirs:
        return recipe, before, ""
    if amount.steps:
        return fitted, plan, ""
    words = f" Whole epochs would come to {number(before.optimizer_steps)}, so the recipe ends after {count(wanted, 'image-step')} (schedule.image_steps)."
    return fitted, plan, words


def _buckets(recipe: Recipe, scan: DatasetScan | None, plan: Plan) -> Sequence[int]:
    """Image-steps of an epoch in each bucket, as loratui sorts the images."""
    if scan is None:
        return [plan.image_steps_per_epoch]
    rule = BucketRule.of(recipe.settings.dataset)
    found: Counter[Any] = Counter()
    images = [image for image in scan.images if not image.held_out]
    for image, shown in zip(images, plan.image_repeats, strict=False):
        found[assign(image.width, image.height, rule)] += shown
    return [n for n in found.values() if n]


def _warmup(amount: Amount, total: int | None) -> dict[str, Any]:
    """The warm-up as a share of all steps."""
    if amount.warmup <= 0:
        return {}
    share = amount.warmup if amount.warmup < 1 else amount.warmup / total if total else 0.0
    return {"optimizer.warmup": min(share, 0.9)} if share else {}
