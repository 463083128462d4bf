"""What is said of a memory plan that the card or the main memory cannot hold."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest

from loratui.engine.findings import Finding
from loratui.engine.machine.accelerator import NO_GPU, Accelerator, Card
from loratui.engine.machine.gpu_holders import Holder
from loratui.engine.machine.hardware import Gpu
from loratui.engine.planning import figures
from loratui.engine.planning.memory_misfits import misfits_of, untried
from loratui.engine.planning.memory_need import Facts
from loratui.engine.planning.memory_plan import MemoryPlan, decide
from loratui.engine.planning.preflight import check_machine
from loratui.engine.planning.recipe import build_recipe
from loratui.engine.words import typed
from loratui.presets import load_preset
from loratui.presets.schema import replace

RTX3060 = Card("NVIDIA GeForce RTX 3060", 12.0, (8, 6))
RTX4090 = Card("NVIDIA GeForce RTX 4090", 24.0, (8, 9))


def said(card: Card, host_gib: float = math.inf, **sets: Any) -> list[Finding]:
    changes = {name.replace("__", "."): value for name, value in sets.items()}
    settings = replace(load_preset("flux-identity-18img").settings, changes)
    facts = Facts.here(settings, Accelerator(card, host_gib=host_gib))
    plan = decide(facts)
    assert isinstance(plan, MemoryPlan)
    return list(misfits_of(facts, plan))


def test_what_fits_is_passed_over() -> None:
    assert said(RTX4090) == said(RTX3060) == []


@pytest.mark.parametrize("way", ["kept", "partial", "checkpointing"])
def test_a_forced_plan_that_cannot_fit_says_which_would(way: str) -> None:
    (found,) = said(RTX4090, memory__plan=way)
    assert found.key == "memory_too_small.forced"
    assert dict(found.settings) == {"memory.plan": "auto"}
    assert found.message.startswith(f"The memory plan {way}")
    assert "22.7 GiB of NVIDIA GeForce RTX 4090" in found.message
    assert found.remedy == "Set memory.plan=auto; quantised-split fits here."


def test_a_limit_that_is_too_low_says_what_would_fit_without() -> None:
    (found,) = said(RTX4090, memory__limit_gib=2.0)
    assert dict(found.settings) == {"memory.limit_gib": 0.0}


def test_a_card_that_no_plan_fits_names_one_that_does() -> None:
    (found,) = said(Card("GTX 1650", 4.0, (8, 6)), dataset__resolution=512)
    assert found.key == "memory_too_small.card"
    assert "RTX 3060" in found.remedy
    small = Card("GTX 1650", 2.0, (8, 6))
    (found,) = said(small, dataset__resolution=2048, training__batch_size=16, adapter__dropout=0.1, memory__limit_gib=2.0)
    assert found.key == "memory_too_small.both"
    assert found.remedy == "Set memory.limit_gib=0 and training.batch_size=1 and use a card such as L4."
    (found,) = said(
        dataclasses.replace(small, total_gib=200.0), dataset__resolution=2048, adapter__rank=128, memory__limit_gib=0.5
    )
    assert found.key == "memory_too_small.forced"


def test_less_to_train_is_named_where_it_fits() -> None:
    (found,) = said(RTX4090, dataset__resolution=2048, training__batch_size=4, adapter__dropout=0.1)
    assert (found.key, dict(found.settings)) == ("memory_too_small.less_or_card", {"training.batch_size": 1})
    assert "swapped fits here. Or use a card such as " in found.remedy
    (found,) = said(Card("RTX 2060", 6.0, (8, 6)), training__batch_size=1)
    assert dict(found.settings) == {"dataset.resolution": 768}


def test_an_old_card_that_trains_in_fp32_alone_is_not_told_to_leave_it() -> None:
    settings = replace(load_preset("sdxl-person").settings, {"training.precision": "fp32", "memory.limit_gib": 7.2})
    facts = Facts.here(settings, Accelerator(Card("GTX 1080 Ti", 96.0, (6, 1))))
    plan = decide(facts)
    assert isinstance(plan, MemoryPlan)
    (found,) = misfits_of(facts, plan)
    assert (found.key, dict(found.settings)) == ("memory_too_small.forced", {"memory.limit_gib": 0.0})


@pytest.mark.parametrize("sets", [{"adapter__dora": True}, {"training__precision": "fp32"}])
def test_what_keeps_the_base_as_it_is_is_named_as_the_cause(sets: dict[str, Any]) -> None:
    (found,) = said(RTX4090, **sets, memory__gradient_checkpointing="on")
    ((key, value),) = {name.replace("__", "."): value for name, value in sets.items()}.items()
    assert (found.key, found.severity) == ("memory_too_small.exact", "warning")
    assert found.message.startswith(f"With {key}={typed(value)} the base stays as it is: the memory plan checkpointing")
    assert set(found.settings) == {key}
    assert "quantised fits here" in found.remedy


def test_a_run_whose_plans_failed_is_told_what_would_leave_another() -> None:
    settings = replace(load_preset("flux-identity-18img").settings, {"memory.plan": "quantised"})
    failed = frozenset({"quantised", "quantised-split"})
    facts = dataclasses.replace(Facts.here(settings, Accelerator(RTX4090)), failed=failed)
    assert untried(facts).remedy == "Set memory.plan=auto in a new run; swapped is left then."
    every = dataclasses.replace(facts, failed=failed | {"swapped", "swapped-split", "nf4", "nf4-split"})
    assert untried(every).key == "memory.no_plan_left"


def test_too_little_main_memory_to_pin_is_said() -> None:
    (found,) = said(RTX3060, host_gib=10.0)
    assert (found.key, found.severity) == ("memory_host.only", "warning")
    assert "pins 11 GiB" in found.message
    assert "Free 15 GiB" in found.remedy
    (found,) = said(Card("RTX 4080", 16.0, (8, 9)), host_gib=10.0)
    assert (found.key, found.severity) == ("memory_host", "info")
    assert "in 4 bits" in found.message
    (found,) = said(Card("RTX 4080", 16.0, (8, 9)), host_gib=10.0, memory__plan="swapped")
    assert (found.key, found.severity) == ("memory_host.forced", "warning")
    assert dict(found.settings) == {"memory.plan": "auto"}
    assert found.remedy.startswith("Set memory.plan=auto; nf4 fits here.")
    (found,) = said(RTX3060, host_gib=10.0, memory__plan="swapped")
    assert found.key == "memory_host.only", "no other plan fits"


def test_where_nothing_fits_the_smallest_plan_is_tried() -> None:
    settings = load_preset("flux-identity-18img").settings
    small = Facts.here(settings, Accelerator(Card("GTX 1650", 4.0, (8, 6))))
    for facts, way in ((small, "swapped-split"), (dataclasses.replace(small, host_gib=4.0), "nf4-split")):
        plan = decide(facts)
        assert isinstance(plan, MemoryPlan)
        assert (plan.way, plan.fits) == (way, "no")


@pytest.mark.parametrize(
    ("card", "words"), [(RTX4090, "fp8 (memory plan quantised-split)"), (RTX3060, "int8 (memory plan swapped)")]
)
def test_the_preflight_says_what_a_rounded_base_costs(card: Card, words: str) -> None:
    recipe = build_recipe("flux-identity-18img")
    (found,) = check_machine(recipe, Accelerator(card, host_gib=64.0))
    assert (found.code, found.severity) == ("base_in_few_bits", "info")
    assert words in found.message
    assert not list(check_machine(recipe, Accelerator(Card("NVIDIA H200", 140.0, (9, 0)))))


@pytest.mark.parametrize(
    ("set_", "remedy"),
    [
        ({"memory.quantise": "fp8"}, "Set memory.quantise=auto"),
        ({"memory.plan": "swapped"}, "Set memory.plan=auto"),
        ({"memory.limit_gib": 11.0}, "Set memory.limit_gib=0"),
    ],
)
def test_a_base_that_the_settings_round_needs_no_larger_card(set_: dict[str, Any], remedy: str) -> None:
    recipe = build_recipe("flux-identity-18img", sets=tuple(f"{key}={value}" for key, value in set_.items()))
    (found,) = check_machine(recipe, Accelerator(Card("NVIDIA H200", 140.0, (9, 0)), host_gib=64.0))
    assert found.key == "base_in_few_bits.forced"
    assert found.remedy.startswith(remedy)


RUN = Holder(7, "the loratui run anna", 3.0, is_run=True)


def beside(free_gib: float, *holders: Holder, card: Card = RTX4090, **sets: Any) -> tuple[list[Finding], MemoryPlan]:
    """What is said of a run on a card with so much free memory, and its plan."""
    changes = {name.replace("__", "."): value for name, value in sets.items()}
    settings = replace(load_preset("flux-identity-18img").settings, changes)
    listed = Gpu(0, card.name, card.total_gib, free_gib, "580", 0, 40, 100.0, held_by=holders)
    facts = Facts.here(settings, Accelerator(card, host_gib=64.0, listed=(listed,)))
    plan = decide(facts)
    assert isinstance(plan, MemoryPlan)
    assert plan.room_gib == pytest.approx(min(free_gib, 0.98 * card.total_gib) - figures.GPU_CONTEXT_GIB)
    return list(misfits_of(facts, plan)), plan


def test_what_others_hold_of_a_card_is_named_with_what_follows() -> None:
    held = Holder(8, "python3", 12.0)
    assert beside(23.4) == beside(23.4, Holder(9, "Xorg", 0.1))
    assert not beside(23.4)[0]
    ((found,), _) = beside(22.0, held)
    assert (found.key, found.severity) == ("gpu_shared", "info")
    assert found.message.startswith("1.5 GiB of NVIDIA GeForce RTX 4090 are held by python3 (process 8, 12.0 GiB);")
    assert found.message.endswith("this run can take 21.1 GiB.")
    ((found,), plan) = beside(12.0)
    assert (found.key, found.severity, plan.way) == ("gpu_shared.lower", "warning", "swapped")
    assert "held by other programs: the memory plan is swapped instead of quantised-split." in found.message
    ((found,), plan) = beside(3.0, held)
    assert (found.key, plan.fits) == ("gpu_shared.too_small", "no")
    assert found.remedy == "End them before the start: then quantised-split fits."


def test_another_run_on_the_card_is_named_even_where_both_fit() -> None:
    ((found,), _) = beside(23.4, RUN)
    assert (found.key, found.severity) == ("gpu_shared.run", "warning")
    assert found.message.startswith("the loratui run anna (process 7, 3.0 GiB) computes on NVIDIA GeForce RTX 4090 too")


def test_what_would_fit_without_others_is_not_said_to_be_too_large() -> None:
    (found, also), _ = beside(3.0, card=Card("GTX 1650", 4.0, (8, 6)))
    assert [found.key, also.code] == ["gpu_shared", "memory_too_small"]


def test_processes_share_main_memory_and_the_fullest_card_decides() -> None:
    settings = replace(load_preset("flux-identity-18img").settings, {"training.processes": 2})
    cards = tuple(
        Gpu(n, "RTX 4090", 24.0, free, "580", 0, 40, 100.0, held_by=(RUN,) * n) for n, free in enumerate((23.5, 11.0))
    )
    facts = Facts.here(settings, Accelerator(RTX4090, together=("a", "b"), host_gib=64.0, listed=cards))
    assert (facts.host_gib, facts.held_by) == (32.0, (RUN,))
    assert facts.room_gib == 11.0 - figures.GPU_CONTEXT_GIB
    alone = Facts.here(replace(settings, {"training.processes": 1}), Accelerator(RTX4090, host_gib=64.0, listed=cards))
    assert (alone.host_gib, alone.held_gib, alone.held_by) == (64.0, 0.0, ())


def test_the_preflight_says_it_and_no_card_has_no_main_memory_to_share() -> None:
    recipe = build_recipe("flux-identity-18img", sets=("memory.plan=kept",))
    codes = [found.code for found in check_machine(recipe, Accelerator(RTX4090, host_gib=64.0))]
    assert "memory_too_small" in codes
    assert Facts.here(recipe.settings, dataclasses.replace(NO_GPU, host_gib=1.0)).host_gib == math.inf
