"""What a person should know of a memory plan that does not fit, or that main memory decided: what would fit instead."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from types import MappingProxyType
from typing import Any

from loratui.engine.findings import Finding
from loratui.engine.machine.accelerator import Card
from loratui.engine.planning import figures
from loratui.engine.planning.memory_need import Facts
from loratui.engine.planning.memory_plan import MemoryPlan, decide
from loratui.engine.planning.rungs import SWAPPED, host_gib
from loratui.presets.schema import replace

_CHOSEN = {"memory.plan": "auto", "memory.quantise": "auto", "memory.gradient_checkpointing": "auto", "memory.limit_gib": 0.0}
"""The settings that narrow the choice, as they leave it open."""


def misfits_of(facts: Facts, plan: MemoryPlan) -> Iterator[Finding]:
    """Whether the card, or the main memory beside it, has too little for a plan."""
    if plan.need is None or facts.card is None:
        return
    rung = plan.rung if plan.rung.swaps else SWAPPED
    pinned = host_gib(facts.figures, rung, facts.format_on(rung))
    needed = pinned / figures.PINNED
    short = facts.host_gib < needed
    host: dict[str, Any] = {"pinned_gib": pinned, "free_gib": facts.host_gib, "needed_gib": needed}
    if plan.fits == "no" and short and _fitting(dataclasses.replace(facts, host_gib=math.inf)):
        yield Finding.of("memory_host.only", **host)
    elif plan.fits == "no":
        yield _too_small(facts, plan, facts.card)
    elif short and plan.rung.swaps:
        yield Finding.of("memory_host.forced", settings={"memory.plan": "auto"}, **host)
    elif short and plan.rung.four_bits and facts.settings.memory.plan == "auto":
        yield Finding.of("memory_host", **host)


_OFF = MappingProxyType({"int8": 1.5, "fp8": 4.0, "nf4": 9.0})
"""Percent by which a layer's product is off, forwards and backwards alike; bf16: 0.2 (tests/engine/training/test_frozen.py)."""


def price_of(plan: MemoryPlan) -> Iterator[Finding]:
    """What a plan costs in exactness, if the base is rounded for it."""
    if plan.base != "full" and plan.fits != "no":
        yield Finding.of("base_in_few_bits", base=plan.base, plan=plan.way, off=_OFF[plan.base])


def _too_small(facts: Facts, plan: MemoryPlan, card: Card) -> Finding:
    assert plan.need is not None
    figured: dict[str, Any] = {"plan": plan.way, "need_gib": plan.need.training, "card": card.name, "room_gib": plan.room_gib}
    changes: dict[str, Any] = {}
    for key, left_open in _CHOSEN.items():
        section, name = key.split(".")
        if getattr(getattr(facts.settings, section), name) != left_open:
            changes[key] = left_open
    other = _fitting(dataclasses.replace(facts, settings=replace(facts.settings, changes))) if changes else None
    if other is not None:
        return Finding.of("memory_too_small.forced", settings=changes, other=other.way, **figured)
    larger = sorted((one for one in figures.CARDS if one.listed), key=lambda one: one.memory_gib)
    others = (Card(one.name, one.memory_gib, one.capability) for one in larger)
    elsewhere = (Facts(facts.settings, other, facts.lora) for other in others)
    fits = next((one.card.name for one in elsewhere if one.card and _fitting(one)), "")
    return Finding.of("memory_too_small.card" if fits else "memory_too_small", larger=fits, **figured)


def _fitting(facts: Facts) -> MemoryPlan | None:
    found = decide(facts)
    return found if isinstance(found, MemoryPlan) and found.fits != "no" else None
