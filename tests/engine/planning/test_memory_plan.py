"""The memory plan: one decision from facts, a name for it, and a ladder whose lower rungs take less."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from loratui.engine import families
from loratui.engine.families.spec import FamilySpec
from loratui.engine.findings import Finding
from loratui.engine.machine.accelerator import Card
from loratui.engine.planning import memory_plan
from loratui.engine.planning.memory_plan import CHECKPOINTING, KEPT, LADDER, Facts, MemoryPlan, decide, need
from loratui.presets import load_preset
from loratui.presets.schema import replace

A100 = Card("A100", 79.2, (8, 0))
T4 = Card("T4", 14.6, (7, 5))


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
        ("flux-identity-18img", A100, {"adapter__dropout": 0.1, "memory__compile": "off"}, "gpu-bf16-checkpointing"),
        (
            "sd15-portrait",
            T4,
            {"training__train_text_encoder": False, "memory__compile": "on"},
            "gpu-fp16-kept-graphs-compile-on",
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
    assert [plan.rung.name for plan in plans if isinstance(plan, MemoryPlan)] == ["kept", "checkpointing"]


def test_what_a_card_cannot_compute_is_refused() -> None:
    found = decide(facts("flux-identity-18img", T4))
    assert isinstance(found, Finding)
    assert "bf16" in found.message


@pytest.mark.parametrize("family", families.FAMILIES, ids=lambda family: family.name)
def test_a_lower_rung_takes_less_memory_and_more_time(family: FamilySpec) -> None:
    known = family.figures
    takes = [(rung.memory(known).image_gib, rung.time(known).arithmetic_s) for rung in LADDER]
    assert takes == sorted(takes, key=lambda one: one[1])
    assert takes == sorted(takes, reverse=True)


def test_a_rung_between_two_others_needs_no_figures_of_its_own() -> None:
    known = families.family("flux").figures
    half = dataclasses.replace(KEPT, name="half", recomputed=0.5).memory(known)
    assert half.image_gib == pytest.approx((known.kept.image_gib + known.again.image_gib) / 2)


def test_a_new_rung_is_a_row_of_the_ladder(monkeypatch: pytest.MonkeyPatch) -> None:
    half = dataclasses.replace(CHECKPOINTING, name="half", recomputed=0.5)
    monkeypatch.setattr(memory_plan, "LADDER", (KEPT, half, CHECKPOINTING))
    known = facts("sdxl-person", A100)
    for rung in memory_plan.LADDER:
        found = decide(dataclasses.replace(known, free_gib=need(known, rung, "bf16").training + 0.01))
        assert isinstance(found, MemoryPlan)
        assert (found.rung, found.name) == (rung, f"gpu-bf16-{rung.name}-compile-auto")
