"""The memory plan: one decision from facts, a name for it, and a ladder whose lower rungs take less."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from loratui.engine import families
from loratui.engine.families.spec import FamilySpec
from loratui.engine.findings import Finding
from loratui.engine.machine.accelerator import Card
from loratui.engine.planning.memory_need import Facts, need
from loratui.engine.planning.memory_plan import MemoryPlan, decide, rungs
from loratui.engine.planning.rungs import KEPT, LADDER, Rung
from loratui.presets import load_preset
from loratui.presets.schema import replace

A100 = Card("A100", 79.2, (8, 0))
T4 = Card("T4", 14.6, (7, 5))
RTX3090 = Card("RTX 3090", 24.0, (8, 6))
RTX4090 = Card("RTX 4090", 24.0, (8, 9))


def facts(preset: str, card: Card | None, **sets: Any) -> Facts:
    return Facts.of(
        replace(load_preset(preset).settings, {name.replace("__", "."): value for name, value in sets.items()}), card
    )


@pytest.mark.parametrize(
    ("preset", "card", "sets", "name"),
    [
        ("sdxl-person", A100, {}, "gpu-bf16-kept-compile-auto"),  # its text encoders are trained: no graphs
        ("sdxl-person", A100, {"training__train_text_encoder": False}, "gpu-bf16-kept-graphs-compile-auto"),
        ("flux-identity-18img", A100, {"training__batch_size": 1}, "gpu-bf16-kept-graphs-compile-auto"),
        ("flux-identity-18img", A100, {"adapter__dropout": 0.1, "memory__compile": "off"}, "gpu-bf16-partial"),
        (
            "sd15-portrait",
            T4,
            {"training__train_text_encoder": False, "memory__compile": "on"},
            "gpu-fp16-kept-graphs-compile-on",
        ),
        ("flux-identity-18img", RTX4090, {}, "gpu-bf16-quantised-fp8-graphs-compile-auto"),
        ("flux-identity-18img", RTX3090, {}, "gpu-bf16-quantised-int8-graphs-compile-auto"),
        ("flux-identity-18img", RTX3090, {"memory__quantise": "off"}, "gpu-bf16-swapped-graphs-compile-auto"),
        ("flux-identity-18img", A100, {}, "gpu-bf16-kept-split-graphs-compile-auto"),
        ("flux-identity-18img", A100, {"memory__quantise": "int8"}, "gpu-bf16-quantised-int8-graphs-compile-auto"),
        ("flux-identity-18img", A100, {"memory__plan": "nf4"}, "gpu-bf16-nf4-graphs-compile-auto"),
        ("flux-identity-18img", A100, {"memory__limit_gib": 7.2}, "gpu-bf16-swapped-int8-split-graphs-compile-auto"),
        (
            "sdxl-person",
            RTX4090,
            {"memory__limit_gib": 4.4, "training__train_text_encoder": False},
            "gpu-bf16-swapped-fp8-split-graphs-compile-auto",
        ),
        ("sd15-portrait", T4, {"memory__cuda_graphs": "off", "memory__compile": "off"}, "gpu-fp16-kept"),
        ("demo", None, {"memory__compile": "on"}, "cpu-fp32-kept"),
        ("demo", None, {"memory__gradient_checkpointing": "on"}, "cpu-fp32-checkpointing"),
    ],
)
def test_a_plan_follows_from_the_facts_and_has_a_name(preset: str, card: Card | None, sets: dict[str, Any], name: str) -> None:
    found = decide(facts(preset, card, **sets))
    assert isinstance(found, MemoryPlan)
    assert found.name == name


def test_what_others_hold_of_a_card_is_left_to_them() -> None:
    known = facts("sdxl-person", A100)
    taken = need(known, KEPT, "bf16").training
    plans = [decide(dataclasses.replace(known, free_gib=free)) for free in (taken + 0.1, taken - 0.1)]
    assert [plan.rung.name for plan in plans if isinstance(plan, MemoryPlan)] == ["kept", "partial"]


def test_as_few_blocks_as_possible_are_computed_again() -> None:
    known = facts("sdxl-person", A100)
    least, most = (need(known, LADDER[1], "bf16", share).training for share in (0.0, 0.9))
    shares = [decide(dataclasses.replace(known, free_gib=most + (least - most) * part)) for part in (0.01, 0.5, 0.99)]
    assert [plan.recomputed for plan in shares if isinstance(plan, MemoryPlan)] == pytest.approx([0.891, 0.45, 0.009])


def test_a_rung_that_failed_is_not_taken_again() -> None:
    known = facts("flux-identity-18img", RTX4090)
    ways = []
    while isinstance(found := decide(known), MemoryPlan):
        ways.append(found.way)
        known = dataclasses.replace(known, failed=known.failed | {found.way})
    assert ways == ["quantised", "quantised-split", "swapped", "swapped-split", "nf4", "nf4-split"]
    assert found.key == "memory.no_plan_left"


def test_blocks_are_swapped_only_where_they_can_be_pinned() -> None:
    known = dataclasses.replace(facts("flux-identity-18img", RTX4090), free_gib=10.9)
    plans = [decide(dataclasses.replace(known, host_gib=free)) for free in (32.0, 12.0)]
    assert [plan.rung.name for plan in plans if isinstance(plan, MemoryPlan)] == ["swapped", "nf4"]


@pytest.mark.parametrize(
    ("sets", "key"),
    [
        ({"memory__quantise": "fp8"}, "memory.no_fp8"),
        ({"memory__plan": "kept", "memory__quantise": "int8"}, "memory.contradiction"),
        ({"memory__plan": "kept", "memory__gradient_checkpointing": "on"}, "memory.contradiction"),
        ({"memory__plan": "partial", "memory__gradient_checkpointing": "off"}, "memory.contradiction"),
        ({"memory__plan": "swapped", "adapter__dora": True}, "memory.contradiction"),
        ({"memory__quantise": "int8", "training__precision": "fp32"}, "memory.contradiction"),
    ],
)
def test_settings_that_leave_no_plan_are_refused(sets: dict[str, Any], key: str) -> None:
    known = facts("flux-identity-18img", A100, **sets)
    found = decide(known)
    assert isinstance(found, Finding)
    assert found.key == key
    assert isinstance(decide(dataclasses.replace(known, settings=replace(known.settings, found.settings))), MemoryPlan)


def test_what_a_card_cannot_compute_is_refused() -> None:
    found = decide(facts("flux-identity-18img", T4))
    assert isinstance(found, Finding)
    assert "bf16" in found.message


@pytest.mark.parametrize("family", families.FAMILIES, ids=lambda family: family.name)
def test_a_lower_rung_takes_less_memory(family: FamilySpec) -> None:
    known = facts(family.default_preset, RTX4090)
    takes = [need(known, rung, "bf16").training for rung in LADDER if rung.name != "nf4"]
    assert takes == sorted(takes, reverse=True)
    assert [rung.name for rung in rungs(known.settings)] == [rung.name for rung in LADDER]


def test_a_rung_between_two_others_needs_no_figures_of_its_own() -> None:
    known = families.family("flux").figures
    half = Rung("half", (0.5, 0.5)).memory(known, 0.5)
    assert half.image_gib == pytest.approx((known.kept.image_gib + known.again.image_gib) / 2)
