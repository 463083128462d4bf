"""How much of the time measuring losses may take: those of images that are not trained on, and of each trained image."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from loratui.engine.planning.plan import Plan

PASS = 0.4
"""Time of a pass without gradients, in image-steps."""
SHARE = 0.04
"""Of an epoch's time, at most, that measuring images that are not trained on takes, where more than the fewest draws would take more."""
FEWEST_DRAWS, MOST_DRAWS = 2, 8
"""Times at which the loss of such an image is measured."""
MOST_OTHERS = 8
"""Regularisation images that are measured where no image is held out."""
IMAGES_SHARE = 0.025
"""Of a run's time, at most, that measuring each trained image takes; a run that is too short for it goes without."""
MOST_IMAGE_DRAWS = 4
_IMAGE_PASSES = 3
"""Each trained image is measured halfway, at the end, and once without the LoRA."""


def draws(images: int, image_steps_per_epoch: int, *, held_out: bool) -> int:
    """Times at which the loss of each of these images is measured after an epoch. 0 where that would take too long, unless they are held
    out for it."""
    if not images:
        return 0
    found = int(SHARE * image_steps_per_epoch / (PASS * images))
    return min(MOST_DRAWS, max(FEWEST_DRAWS, found)) if held_out or found >= FEWEST_DRAWS else 0


def image_draws(images: int, image_steps: int) -> int:
    """Times at which the loss of each trained image is measured; 0 where that would take too long."""
    return min(MOST_IMAGE_DRAWS, int(IMAGES_SHARE * image_steps / (PASS * _IMAGE_PASSES * images)))


def image_epochs(epochs: int) -> frozenset[int]:
    """The epochs after which each trained image is measured."""
    return frozenset((math.ceil(epochs / 2), epochs))


def held_out_share(plan: Plan) -> float:
    """What measuring the held-out images adds to an epoch's time, as a share of it."""
    each = draws(len(plan.held_out), plan.image_steps_per_epoch, held_out=True)
    return PASS * _of_one(plan, len(plan.held_out)) * each / (plan.image_steps_per_epoch / plan.processes)


def as_image_steps(plan: Plan) -> float:
    """What all measurements of a run take, in image-steps of one of its processes, which share the images."""
    held, others = len(plan.held_out), min(MOST_OTHERS, plan.regularisation_images - plan.regularisation_unused)
    each = draws(held or others, plan.image_steps_per_epoch, held_out=held > 0)
    subject = plan.image_steps - plan.regularisation_image_steps
    of_images = _IMAGE_PASSES * _of_one(plan, plan.images) * image_draws(plan.images, subject)
    return PASS * ((plan.epochs + 1) * _of_one(plan, held or others) * each + of_images)


def _of_one(plan: Plan, images: int) -> int:
    """How many of these one process measures."""
    return math.ceil(images / plan.processes)
