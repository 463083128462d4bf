"""What is said of a memory plan that the card or the main memory cannot hold."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest

from loratui.engine.findings import Finding
from loratui.engine.machine.accelerator import NO_GPU, Accelerator, Card
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
    assert found.remedy == "Set memory.plan=auto; quantised fits here."


def test_a_limit_that_is_too_low_says_what_would_fit_without() -> None:
    (found,) = said(RTX4090, memory__limit_gib=2.0)
    assert dict(found.settings) == {"memory.limit_gib": 0.0}


def test_a_card_that_no_plan_fits_names_one_that_does() -> None:
    (found,) = said(Card("GTX 1650", 4.0, (8, 6)), dataset__resolution=512)
    assert found.key == "memory_too_small.card"
    assert "RTX 3060" in found.remedy
    (found,) = said(Card("GTX 1650", 2.0, (8, 6)), dataset__resolution=2048, training__batch_size=16, adapter__dropout=0.1)
    assert found.key == "memory_too_small"
    assert "GiB of GTX 1650" in found.message


def test_less_to_train_is_named_where_it_fits() -> None:
    (found,) = said(RTX4090, dataset__resolution=2048, training__batch_size=4, adapter__dropout=0.1)
    assert (found.key, dict(found.settings)) == ("memory_too_small.less_or_card", {"training.batch_size": 1})
    assert "swapped fits here. Or use a card such as " in found.remedy
    (found,) = said(Card("RTX 2060", 6.0, (8, 6)), training__batch_size=1)
    assert dict(found.settings) == {"dataset.resolution": 768}


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


@pytest.mark.parametrize(("card", "words"), [(RTX4090, "fp8 (memory plan quantised)"), (RTX3060, "int8 (memory plan swapped)")])
def test_the_preflight_says_what_a_rounded_base_costs(card: Card, words: str) -> None:
    recipe = build_recipe("flux-identity-18img")
    (found,) = check_machine(recipe, Accelerator(card, host_gib=64.0))
    assert (found.code, found.severity) == ("base_in_few_bits", "info")
    assert words in found.message
    assert not list(check_machine(recipe, Accelerator(Card("NVIDIA H200", 140.0, (9, 0)))))


def test_the_preflight_says_it_and_no_card_has_no_main_memory_to_share() -> None:
    recipe = build_recipe("flux-identity-18img", sets=("memory.plan=kept",))
    codes = [found.code for found in check_machine(recipe, Accelerator(RTX4090, host_gib=64.0))]
    assert "memory_too_small" in codes
    assert Facts.here(recipe.settings, dataclasses.replace(NO_GPU, host_gib=1.0)).host_gib == math.inf
