"""What a plan is: how much will be trained, in figures and in words."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from loratui.engine.findings import Finding
from loratui.engine.words import count, number


@dataclass(frozen=True)
class ConceptPlan:
    """One concept's share of an epoch."""

    name: str
    images: int
    repeats: int
    from_folder: bool
    """Whether its folder's number set the repeats."""
    rule_repeats: int
    """What the rule gives where no folder has a number."""
    balanced_repeats: int
    """What gives every concept the same time (Valstrix)."""


@dataclass(frozen=True)
class BucketPlan:
    """How many images (regularisation among them) have this training size, px."""

    width: int
    height: int
    images: int


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How much will be trained. `images` and exposures count the subject's images, image-steps count all."""

    images: int
    repeats: int
    """Of the largest concept."""
    epochs: int
    image_steps: int
    optimizer_steps: int
    exposures_per_image: float
    """Mean number of times that each of the subject's images is shown."""
    steps_per_epoch: int
    """Optimizer steps of a full epoch."""
    image_steps_per_epoch: int
    image_steps_cap: int
    """Image-steps after which training ends within an epoch; 0: every epoch in full."""
    batch_size: int
    accumulation: int
    processes: int
    rule: str
    continued_step: int
    """Optimizer steps that the run that this one continues has made; 0 without one."""
    formula: str
    image_band: str
    """What the recipe says of this number of images."""
    effective_learning_rate: float
    """alpha / rank × learning rate."""
    mean_loss_weight: float
    """What the weights of the loss do to that rate, over all noise levels."""
    concepts: tuple[ConceptPlan, ...]
    buckets: tuple[BucketPlan, ...]
    held_out: tuple[str, ...]
    """Images that are kept out of the training, by their paths within the folder."""
    regularisation_images: int
    regularisation_image_steps: int
    """Image-steps of the run that regularisation adds."""
    regularisation_optimizer_steps: int
    """Optimizer steps that it adds: its true cost in time."""
    regularisation_unused: int
    """Regularisation images that are never shown, there being more than the subject's image-steps ask for."""
    prior_weight: float
    """Factor on the loss of regularisation images."""
    image_repeats: tuple[int, ...]
    """Repeats of each image of the scan, in its order; empty for a plan without a folder."""
    image_exposures: tuple[int, ...]
    """How often the whole run shows each of them; their sum is `image_steps`."""
    captions: int
    """Captions of the images that are trained on, regularisation among them: more than images where several of one are drawn in turn."""
    warnings: tuple[Finding, ...] = ()

    @property
    def effective_batch(self) -> int:
        """Images behind one optimizer step."""
        return self.batch_size * self.accumulation * self.processes

    def to_come(self) -> Plan:
        """The part that this run makes: what it costs. Of a run that continues another it is smaller."""
        share = 1 - min(self.continued_step, self.optimizer_steps) / self.optimizer_steps
        return dataclasses.replace(
            self,
            epochs=math.ceil(self.epochs * share),
            image_steps=round(self.image_steps * share),
            optimizer_steps=round(self.optimizer_steps * share),
        )

    def to_json(self) -> dict[str, Any]:
        """The plan with the stable keys of `loratui plan --json`."""
        values = dataclasses.asdict(self)
        del values["image_repeats"], values["image_exposures"]
        values["warnings"] = [
            {"code": w.code, "message": w.message, "remedy": w.remedy, "source": w.source} for w in self.warnings
        ]
        shown = self.exposures_per_image
        values["effective_learning_rate"] = float(f"{self.effective_learning_rate:.6g}")
        values["mean_loss_weight"] = round(self.mean_loss_weight, 3)
        values["exposures_per_image"] = int(shown) if shown == int(shown) else round(shown, 3)
        return values


def formula(plan: Plan) -> str:
    """The plan's arithmetic as one line: `18 images × 10 repeats = 180 an epoch; × 10 epochs = 1 800 image-steps; …`."""
    shown = " + ".join(f"{number(c.images)} × {number(c.repeats)}" for c in plan.concepts)
    if len(plan.concepts) == 1:
        shown = f"{count(plan.images, 'image')} × {count(plan.repeats, 'repeat')}"
    if plan.regularisation_images:
        shown = f"({shown}) × 2 with regularisation"
    parts = [f"{shown} = {count(plan.image_steps_per_epoch, 'image-step')} an epoch"]
    total = f"× {count(plan.epochs, 'epoch')}"
    if plan.image_steps_cap:
        total += f", ending at {count(plan.image_steps, 'image-step')}"
    else:
        total += f" = {count(plan.image_steps, 'image-step')}"
    parts.append(total)
    divisor = f"÷ batch {plan.batch_size * plan.processes}"
    divisor += f" ({plan.batch_size} in each of {plan.processes} processes)" if plan.processes > 1 else ""
    divisor += f" × accumulation {plan.accumulation}" if plan.accumulation > 1 else ""
    exact = plan.optimizer_steps * plan.effective_batch == plan.image_steps
    short = "" if exact else ", short last batches counted,"
    parts.append(f"{divisor}{short} = {count(plan.optimizer_steps, 'optimizer step')}")
    if plan.continued_step:
        left = max(0, plan.optimizer_steps - plan.continued_step)
        parts.append(f"{number(plan.continued_step)} of them are made = {count(left, 'optimizer step')} to come")
    return "; ".join(parts)


def regularisation_cost(plan: Plan) -> str:
    """The weight of regularisation images, and what they cost."""
    steps, image_steps = plan.regularisation_optimizer_steps, plan.regularisation_image_steps
    return f"weight {plan.prior_weight:g}, cost {count(steps, 'optimizer step')} ({count(image_steps, 'image-step')})"
