"""What loratui estimates for a step of a benchmark's run, to be told beside what was measured."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from product_run import sets

from loratui.engine import families
from loratui.engine.machine.accelerator import Card
from loratui.engine.planning import figures
from loratui.engine.planning.memory_need import Facts
from loratui.engine.planning.memory_plan import MemoryPlan, decide
from loratui.engine.planning.recipe import build_recipe
from loratui.engine.planning.step_time import step_cost

MANY_STEPS = 1000
"""A run that is long enough to be compiled."""


def step_ms(preset: str, settings: Mapping[str, str], gpu: str, link_gb_s: float | None) -> list[float] | None:
    """(least, most) ms of a step on a GPU, by its full name, with a link of so many GB/s; None where there is no estimate."""
    card = figures.card(gpu)
    if card is None:
        return None
    own = build_recipe(preset, sets=[word for word in sets(settings) if word != "--set"]).settings
    plan = decide(Facts.of(own, Card(gpu, card.memory_gib, card.capability)))
    if not isinstance(plan, MemoryPlan):
        return None
    slowed = dataclasses.replace(card, link_gb_s=link_gb_s) if link_gb_s else card
    cost = step_cost(own, families.family(own.base.family).figures, slowed, plan, MANY_STEPS)
    return (
        None if isinstance(cost, str) else [round(1000 * second * own.training.batch_size, 1) for second in cost.image_step_s]
    )
