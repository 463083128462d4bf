"""Any card, main memory and recipe: a plan that has room, or words that say what would; and never less on more."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from loratui.engine.findings import Finding
from loratui.engine.machine.accelerator import Accelerator, Card
from loratui.engine.machine.hardware import Gpu
from loratui.engine.planning import figures
from loratui.engine.planning.estimate import Cost, estimate
from loratui.engine.planning.memory_misfits import untried
from loratui.engine.planning.memory_need import Facts
from loratui.engine.planning.memory_plan import MemoryPlan, decide
from loratui.engine.planning.preflight import check_machine
from loratui.engine.planning.recipe import Recipe
from loratui.engine.planning.schedule import plan_for_counts
from loratui.presets import list_presets
from loratui.presets.schema import SchemaError, replace

CHOICES: dict[str, tuple[Any, ...]] = {
    "memory.plan": ("kept", "partial", "checkpointing", "quantised", "swapped", "nf4"),
    "memory.quantise": ("off", "fp8", "int8"),
    "memory.gradient_checkpointing": ("on", "off"),
    "memory.limit_gib": (3.0, 5.2, 7.2, 11.0, 22.0, 60.0),
    "memory.compile": ("on", "off"),
    "memory.cuda_graphs": ("off",),
    "adapter.dora": (True,),
    "adapter.kind": ("locon", "loha", "lokr"),
    "adapter.rank": (4, 64, 128),
    "adapter.dropout": (0.1,),
    "training.precision": ("bf16", "fp16", "fp32"),
    "training.batch_size": (1, 4, 8),
    "training.train_text_encoder": (False, True),
    "training.ema_decay": (0.99,),
    "training.processes": (2,),
    "optimizer.name": ("adamw8bit", "prodigy", "adafactor", "adamw_schedule_free"),
    "dataset.resolution": (512, 768, 1536),
    "samples.width": (512, 2048),
}
CHANGES = st.lists(st.sampled_from([(key, value) for key, values in CHOICES.items() for value in values]), max_size=6)
CAPABILITIES = st.sampled_from([(6, 1), (7, 0), (7, 5), (8, 0), (8, 6), (8, 9), (9, 0), (10, 0), (12, 0)])
LISTED = st.sampled_from(figures.CARDS).map(lambda card: Card(card.name, card.memory_gib, card.capability))
CARDS = LISTED | st.builds(Card, st.just("NVIDIA Strange"), st.floats(6, 192), CAPABILITIES)
RANK = {"no": 0, "without samples": 1, "with savings": 2, "yes": 3, "": 3}


@dataclasses.dataclass(frozen=True)
class Machine:
    """A card of which a share is free, beside main memory."""

    card: Card
    free: float
    host_gib: float

    def accelerator(self) -> Accelerator:
        listed = Gpu(0, self.card.name, self.card.total_gib, self.free * self.card.total_gib, "580.1", 0, 40, 100.0)
        return Accelerator(self.card, together=("GPU-1", "GPU-2"), listed=(listed,) * 2, host_gib=self.host_gib)


MACHINES = st.builds(
    Machine, CARDS, st.sampled_from([1.0, 0.98, 0.7, 0.4, 0.1]), st.sampled_from([2, 8, 16, 32, 128, math.inf])
)


def recipe_of(preset: str, changes: list[tuple[str, Any]]) -> Recipe:
    recipe = next(Recipe(one.settings, preset=preset) for one in list_presets() if one.name == preset)
    try:
        return dataclasses.replace(recipe, settings=replace(recipe.settings, dict(changes)))
    except SchemaError:
        assume(False)
        raise


def on(machine: Machine, recipe: Recipe) -> tuple[MemoryPlan | Finding, Cost, list[Finding]]:
    here = machine.accelerator()
    cost = estimate(recipe, plan_for_counts(recipe, 20), here).here
    return decide(Facts.here(recipe.settings, here)), cost, list(check_machine(recipe, here))


def check_words(machine: Machine, recipe: Recipe) -> None:
    """The plan has room, and what is said of it is true and helps."""
    plan, cost, findings = on(machine, recipe)
    facts = Facts.here(recipe.settings, machine.accelerator())
    for found in findings:
        text = f"{found.message} {found.why} {found.remedy}"
        assert not any(odd in text for odd in ("{", "nan", " inf ", "-inf")), text
    if isinstance(plan, Finding):
        assert (plan.severity, cost.fits) == ("error", "no")
        assert plan.remedy
        other = decide(dataclasses.replace(facts, settings=replace(facts.settings, plan.settings)))
        assert not plan.settings or not isinstance(other, Finding) or other.key != plan.key
        return
    if plan.need is None:
        return
    assert plan.fits == "no" or plan.need.training <= plan.room_gib
    assert plan.fits in ("no", "without samples") or plan.need.most <= plan.room_gib
    if plan.fits in ("yes", "with savings"):
        assert cost.vram_gib is not None
        assert cost.vram_gib[1] <= plan.room_gib + figures.GPU_CONTEXT_GIB + 0.06  # of rounding
    short = [
        found
        for found in findings
        if found.key in ("gpu_shared.too_small", "memory_host.only", "memory_host.forced") or found.code == "memory_too_small"
    ]
    assert len(short) == (plan.fits == "no"), [found.key for found in findings]
    for found in short:
        assert found.key != "memory_too_small", "it says nothing that would fit"
        if found.settings and found.variant != "both":
            other = decide(dataclasses.replace(facts, settings=replace(facts.settings, found.settings)))
            assert isinstance(other, MemoryPlan)
            assert (other.way, other.fits == "no") == (found.parameters["other"], False)
        larger = figures.card(found.parameters.get("larger") or "")
        assert larger is None or larger.memory_gib > machine.card.total_gib


def check_more(machine: Machine, recipe: Recipe) -> None:
    """A larger card, more of it free, or more main memory: no refusal, no worse fit, no longer time."""
    plan, cost, _ = on(machine, recipe)
    if isinstance(plan, Finding):
        return
    card = dataclasses.replace(machine.card, total_gib=1.3 * machine.card.total_gib)
    for more in ({"card": card}, {"free": 1.0}, {"host_gib": 2 * machine.host_gib}):
        larger, other, _ = on(dataclasses.replace(machine, **more), recipe)  # type: ignore[arg-type]  # of its fields
        assert isinstance(larger, MemoryPlan), more
        assert RANK[larger.fits] >= RANK[plan.fits], more
        if plan.base != "full" and larger.base == "full":
            continue  # closer to the base comes before speed
        if cost.time_s is not None and other.time_s is not None:  # not told where its ends are far apart
            # The number of blocks to be computed again is a guess; ends are told with two digits.
            assert all(then <= 1.06 * now for then, now in zip(other.time_s, cost.time_s, strict=True)), more


PRESETS = st.sampled_from([preset.name for preset in list_presets()])


@given(MACHINES, PRESETS, CHANGES)
def test_what_is_said_of_a_plan_is_true_and_helps(machine: Machine, preset: str, changes: list[tuple[str, Any]]) -> None:
    check_words(machine, recipe_of(preset, changes))


@given(MACHINES, PRESETS, CHANGES)
def test_more_memory_is_never_worse(machine: Machine, preset: str, changes: list[tuple[str, Any]]) -> None:
    check_more(machine, recipe_of(preset, changes))


@given(MACHINES, PRESETS, CHANGES)
def test_a_run_that_is_out_of_memory_again_and_again_comes_to_an_end(
    machine: Machine, preset: str, changes: list[tuple[str, Any]]
) -> None:
    facts = Facts.here(recipe_of(preset, changes).settings, machine.accelerator())
    tried: list[MemoryPlan] = []
    while isinstance(plan := decide(facts), MemoryPlan):
        assert plan.way not in facts.failed
        assert not tried or plan.fits != "no", "only the first may be tried in spite of the estimate"
        tried.append(plan)
        facts = dataclasses.replace(facts, failed=facts.failed | {plan.way})
    assert len(tried) <= 12
    assert not tried or plan.key == "memory.no_plan_left"
    if tried:
        found = untried(facts)
        assert found.remedy
        other = decide(dataclasses.replace(facts, settings=replace(facts.settings, found.settings)))
        assert not found.settings or isinstance(other, MemoryPlan)


@pytest.mark.long
@settings(max_examples=3000)
@given(MACHINES, PRESETS, CHANGES)
def test_many_machines(machine: Machine, preset: str, changes: list[tuple[str, Any]]) -> None:
    recipe = recipe_of(preset, changes)
    check_words(machine, recipe)
    check_more(machine, recipe)
