"""The memory plan: one decision from facts, a name for it, and a ladder whose lower rungs take less."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from loratui.engine import families
from loratui.engine.families.spec import FamilySpec
from loratui.engine.findings import Finding
from loratui.engine.machine.accelerator import Card
from loratui.engine.planning.memory_choices import rungs
from loratui.engine.planning.memory_need import Facts, need
from loratui.engine.planning.memory_plan import MemoryPlan, decide
from loratui.engine.planning.rungs import CHECKPOINTING, KEPT, LADDER, PARTIAL, SWAPPED, Rung
from loratui.engine.words import GIB
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
        ("sdxl-person", A100, {}, "gpu-bf16-kept-graphs-compile-auto"),  # with its text encoders
        ("sdxl-person", A100, {"training__train_text_encoder": False}, "gpu-bf16-kept-graphs-compile-auto"),
        ("flux-identity-18img", A100, {"training__batch_size": 1}, "gpu-bf16-kept-graphs-compile-auto"),
        ("sd15-portrait", A100, {"adapter__dropout": 0.1, "memory__compile": "off"}, "gpu-bf16-kept-graphs"),
        # torch cannot draw again within a recording what a block that is computed again has drawn.
        ("flux-identity-18img", A100, {"adapter__dropout": 0.1, "memory__compile": "off"}, "gpu-bf16-partial"),
        # PEFT decides on the CPU what a LoHa drops.
        ("sd15-portrait", A100, {"adapter__kind": "loha", "adapter__module_dropout": 0.1}, "gpu-bf16-kept-compile-auto"),
        (
            "sd15-portrait",
            A100,
            {"adapter__kind": "loha", "adapter__module_dropout": 0.0},
            "gpu-bf16-kept-graphs-compile-auto",
        ),
        (
            "sd15-portrait",
            T4,
            {"training__train_text_encoder": False, "memory__compile": "on"},
            "gpu-fp16-kept-graphs-compile-on",
        ),
        ("flux-identity-18img", RTX4090, {}, "gpu-bf16-quantised-fp8-split-graphs-compile-auto"),
        ("flux-identity-18img", RTX3090, {}, "gpu-bf16-quantised-int8-split-graphs-compile-auto"),
        ("flux-identity-18img", RTX3090, {"memory__quantise": "off"}, "gpu-bf16-swapped-graphs-compile-auto"),
        ("flux-identity-18img", A100, {}, "gpu-bf16-kept-split-graphs-compile-auto"),
        ("flux-identity-18img", A100, {"memory__quantise": "int8"}, "gpu-bf16-quantised-int8-split-graphs-compile-auto"),
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


def test_batches_are_split_where_that_spares_many_blocks() -> None:
    known = facts("flux-identity-18img", A100, memory__plan="partial", training__batch_size=4)
    room = [
        need(known, PARTIAL, "bf16", share, split=split).training for share, split in ((0.5, True), (0.02, True), (0.1, False))
    ]
    plans = [
        decide(dataclasses.replace(known, free_gib=one + 0.01, card=dataclasses.replace(A100, total_gib=300.0))) for one in room
    ]
    assert [(p.split, round(p.recomputed, 2)) for p in plans if isinstance(p, MemoryPlan)] == [
        (True, 0.5),
        (True, 0.02),
        (False, 0.1),
    ]
    launched = dataclasses.replace(known, settings=replace(known.settings, {"memory.cuda_graphs": "off"}))
    plan = decide(dataclasses.replace(launched, free_gib=room[2] - 1.0, card=dataclasses.replace(A100, total_gib=300.0)))
    assert isinstance(plan, MemoryPlan)
    assert not plan.split, "each image would be launched by the CPU"


def test_what_keeps_a_copy_of_the_lora_is_counted() -> None:
    """A moving average is one, and while it is used the trained values are kept beside it; a schedule-free optimizer swaps too."""
    copy = facts("flux-identity-18img", A100).lora.parameters * 4 / GIB
    found = {
        name: need(facts("flux-identity-18img", A100, **{"optimizer__name": "adamw", **sets}), KEPT, "bf16").training
        for name, sets in (
            ("plain", {}),
            ("ema", {"training__ema_decay": 0.99}),
            ("free", {"optimizer__name": "adamw_schedule_free"}),
        )
    }
    assert found["ema"] - found["plain"] == pytest.approx(2 * copy)
    assert found["free"] - found["plain"] == pytest.approx(2 * copy), "its own average, and a copy while it is in use"


def test_text_encoders_in_fp32_are_streamed_where_they_are_too_large() -> None:
    card = Card("RTX 5090", 16.0, (12, 0))
    plans = [decide(facts("flux-identity-18img", card, training__precision=one)) for one in ("auto", "fp32")]
    assert [plan.text_streamed for plan in plans if isinstance(plan, MemoryPlan)] == [False, True]


def test_a_plan_with_which_samples_fit_comes_first() -> None:
    known = facts("sdxl-person", RTX4090, training__train_text_encoder=False, training__batch_size=1, dataset__resolution=512)
    whole = need(known, CHECKPOINTING, "bf16")
    assert whole.training < whole.most
    plans = [decide(dataclasses.replace(known, free_gib=free)) for free in (whole.most - 0.1, whole.most + 0.1)]
    assert [(p.rung.quantised, p.fits) for p in plans if isinstance(p, MemoryPlan)] == [
        (True, "with savings"),
        (False, "with savings"),
    ]


def test_a_rung_that_failed_is_not_taken_again() -> None:
    known = facts("flux-identity-18img", RTX4090)
    ways = []
    while isinstance(found := decide(known), MemoryPlan):
        ways.append(found.way)
        known = dataclasses.replace(known, failed=known.failed | {found.way})
    assert ways == ["quantised-split", "swapped", "swapped-split", "nf4", "nf4-split"]
    assert found.key == "memory.no_plan_left"


def test_blocks_are_swapped_only_where_they_can_be_pinned() -> None:
    known = dataclasses.replace(facts("flux-identity-18img", RTX4090), free_gib=10.9)
    plans = [decide(dataclasses.replace(known, host_gib=free)) for free in (32.0, 12.0)]
    assert [plan.rung.name for plan in plans if isinstance(plan, MemoryPlan)] == ["swapped", "nf4"]


def test_the_exact_setting_that_leaves_no_plan_may_go_too() -> None:
    found = decide(facts("flux-identity-18img", A100, memory__plan="swapped", adapter__dora=True))
    assert isinstance(found, Finding)
    assert found.remedy == "Set memory.plan=auto, or adapter.dora=false."


def test_a_base_in_a_chosen_format_is_never_put_into_4_bits() -> None:
    known = dataclasses.replace(facts("flux-identity-18img", RTX4090, memory__quantise="fp8"), free_gib=10.9, host_gib=4.0)
    plan = decide(known)
    assert isinstance(plan, MemoryPlan)
    assert (plan.base, plan.fits) == ("fp8", "no")


def test_a_forced_plan_that_cannot_be_pinned_splits_no_batch_for_that() -> None:
    known = facts("flux-identity-18img", RTX4090, memory__plan="swapped", training__batch_size=2)
    assert need(known, SWAPPED, "bf16").training < known.room_gib
    plan = decide(dataclasses.replace(known, host_gib=8.0))
    assert isinstance(plan, MemoryPlan)
    assert (plan.way, plan.fits) == ("swapped", "no")


@pytest.mark.parametrize(
    ("sets", "key", "said"),
    [
        ({"memory__quantise": "fp8"}, "memory.no_fp8", "A100 does not multiply in fp8"),
        (
            {"memory__plan": "kept", "memory__quantise": "int8"},
            "memory.contradiction",
            "memory.plan=kept and memory.quantise=int8 contradict each other",
        ),
        (
            {"memory__plan": "kept", "memory__gradient_checkpointing": "on", "memory__limit_gib": 20.0},
            "memory.contradiction",
            "memory.plan=kept and memory.gradient_checkpointing=on contradict",
        ),
        (
            {"memory__plan": "partial", "memory__gradient_checkpointing": "off"},
            "memory.contradiction",
            "memory.plan=partial and memory.gradient_checkpointing=off contradict",
        ),
        (
            {"memory__plan": "nf4", "memory__quantise": "int8"},
            "memory.contradiction",
            "memory.plan=nf4 and memory.quantise=int8 contradict each other",
        ),
        (
            {"memory__plan": "swapped", "adapter__dora": True, "memory__gradient_checkpointing": "on"},
            "memory.contradiction_exact",
            "memory.plan=swapped and adapter.dora=true contradict each other",
        ),
        (
            {"memory__quantise": "int8", "training__precision": "fp32"},
            "memory.contradiction_exact",
            "memory.quantise=int8 and training.precision=fp32 contradict each other",
        ),
    ],
)
def test_settings_that_leave_no_plan_are_refused(sets: dict[str, Any], key: str, said: str) -> None:
    known = facts("flux-identity-18img", A100, **sets)
    found = decide(known)
    assert isinstance(found, Finding)
    assert found.key == key
    assert said in found.message
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
