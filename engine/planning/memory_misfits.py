"""What a person should know of a memory plan that does not fit, or that main memory decided: what would fit instead."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from loratui.engine.findings import Finding
from loratui.engine.machine.accelerator import Card
from loratui.engine.planning import figures
from loratui.engine.planning.memory_choices import EXACT, fewest, narrowing, written
from loratui.engine.planning.memory_need import Facts
from loratui.engine.planning.memory_plan import MemoryPlan, decide
from loratui.engine.planning.rungs import SWAPPED, host_gib
from loratui.presets.schema import Settings, get, replace

_LESS: Mapping[str, tuple[Any, ...]] = {
    "training.train_text_encoder": (False,),
    "training.batch_size": (1,),
    "dataset.resolution": (1024, 768, 512),
}
"""What else may make a run fit, the least first: settings with the values to be tried."""


def misfits_of(facts: Facts, plan: MemoryPlan) -> Iterator[Finding]:
    """Whether the card, or the main memory beside it, has too little for a plan, and what other programs hold of the card."""
    if facts.card is None:
        return
    others = list(shared(facts, facts.card, plan))
    yield from others
    if plan.need is None or (others and others[0].variant == "too_small"):
        return
    rung = plan.rung if plan.rung.swaps else SWAPPED
    pinned = host_gib(facts.figures, rung, facts.format_on(rung))
    needed = pinned / figures.PINNED
    short = facts.host_gib < needed
    host: dict[str, Any] = {"pinned_gib": pinned, "free_gib": facts.host_gib, "needed_gib": needed}
    if plan.fits == "no":
        figured = {"plan": plan.way, "need_gib": plan.need.training, "card": facts.card.name, "room_gib": plan.room_gib}
        yield _too_small(facts, figured, host if short else None)
    elif short and plan.rung.four_bits and facts.settings.memory.plan == "auto":
        yield Finding.of("memory_host", **host)


def shared(facts: Facts, card: Card, plan: MemoryPlan) -> Iterator[Finding]:
    """What other programs hold of the card, and which plan a run would have without them."""
    runs = [holder.words for holder in facts.held_by if holder.is_run]
    if not (facts.held_gib or runs):
        return
    alone = decide(facts.alone)
    figured: dict[str, Any] = {
        "card": card.name,
        "held_gib": facts.whole_gib - facts.room_gib,
        "room_gib": facts.room_gib,
        "holders": holders_of(facts),
        "plan": plan.way,
        "other": alone.way if isinstance(alone, MemoryPlan) else "",
    }
    if plan.fits == "no" and isinstance(alone, MemoryPlan) and alone.fits != "no":
        yield Finding.of("gpu_shared.too_small", **figured)
    elif plan.way != figured["other"]:
        yield Finding.of("gpu_shared.lower", **figured)
    elif runs:
        yield Finding.of("gpu_shared.run", runs=runs, **figured)
    else:
        yield Finding.of("gpu_shared", **figured)


def holders_of(facts: Facts) -> list[str]:
    """The other programs on the card, in words."""
    return [holder.words for holder in facts.held_by] or ["other programs"]


def _too_small(facts: Facts, figured: Mapping[str, Any], host: Mapping[str, Any] | None) -> Finding:
    """What would fit instead: with other choices of memory, with more main memory, with less to train, or on another card. `host` are
    the figures of main memory, if there is too little to swap."""
    narrowed = narrowing(facts.settings)
    changes = _fewest(facts, narrowed)
    enough = host is not None and _fitting(dataclasses.replace(facts, host_gib=math.inf)) is not None
    if changes is not None:
        fits: dict[str, Any] = {"settings": changes, "other": _way_of(_with(facts, changes))}
        if host is not None and enough:
            return Finding.of("memory_host.forced", **fits, **host)
        if exact := written(facts.settings, {key: value for key, value in changes.items() if key in EXACT}):
            return Finding.of("memory_too_small.exact", exact=exact, **fits, **figured)
        return Finding.of("memory_too_small.forced", **fits, **figured)
    if host is not None and enough:
        return Finding.of("memory_host.only", **host)
    larger = _larger(facts)
    reduced = [narrowed | less for less in _less(facts.settings)]
    less = next((found for some in reduced if (found := _fewest(facts, some))), None)
    if less is not None:
        key = "memory_too_small.less_or_card" if larger else "memory_too_small.less"
        return Finding.of(key, settings=less, other=_way_of(_with(facts, less)), larger=larger, **figured)
    if larger:
        return Finding.of("memory_too_small.card", larger=larger, **figured)
    both = next(((some, card) for some in (narrowed, *reduced) if some and (card := _larger(_with(facts, some)))), None)
    if both is None:
        return Finding.of("memory_too_small", **figured)
    return Finding.of("memory_too_small.both", settings=both[0], larger=both[1], **figured)


def _larger(facts: Facts) -> str:
    """The smallest of the cards that are usually rented, and have more memory, on which a recipe fits; empty where none does."""
    assert facts.card is not None
    for one in sorted(figures.CARDS, key=lambda one: one.memory_gib):
        card = Card(one.name, one.memory_gib, one.capability)
        if one.listed and one.memory_gib > facts.card.total_gib and _fitting(Facts(facts.settings, card, facts.lora)):
            return one.name
    return ""


def _less(settings: Settings) -> Iterator[dict[str, Any]]:
    """Changes with which less is trained, the least first, each with those before it."""
    changes: dict[str, Any] = {}
    for key, values in _LESS.items():
        for value in (one for one in values if one < get(settings, key)):
            changes[key] = value
            yield dict(changes)


def _fewest(facts: Facts, changes: Mapping[str, Any]) -> dict[str, Any] | None:
    """The fewest of some changes with which a recipe fits, if it fits with all, or with all but those of number format and adapter:
    an old card may train in fp32 alone."""
    plain = {key: value for key, value in changes.items() if key not in EXACT}
    if not changes or all(_fitting(_with(facts, some)) is None for some in (changes, plain)):
        return None
    return fewest(changes, lambda some: _fitting(_with(facts, some)) is not None)


def _with(facts: Facts, changes: Mapping[str, Any]) -> Facts:
    return dataclasses.replace(facts, settings=replace(facts.settings, changes))


def _way_of(facts: Facts) -> str:
    plan = _fitting(facts)
    return plan.way if plan else ""


def _fitting(facts: Facts) -> MemoryPlan | None:
    found = decide(facts)
    return found if isinstance(found, MemoryPlan) and found.fits != "no" else None


def untried(facts: Facts, *, unpinned: bool = False) -> Finding:
    """That every memory plan which the settings allow has failed, and what would leave another. `unpinned`: the last one failed
    because main memory could not be pinned."""
    changes = _fewest(facts, narrowing(facts.settings))
    if unpinned and changes is None:
        return Finding.of("memory.no_plan_left_unpinned")
    if facts.held_gib and not unpinned:
        return Finding.of("memory.no_plan_left_shared", held_gib=facts.held_gib, holders=holders_of(facts))
    if changes is None:
        return Finding.of("memory.no_plan_left")
    key = "memory.no_plan_left_pinning" if unpinned else "memory.no_plan_left_forced"
    return Finding.of(key, settings=changes, other=_way_of(_with(facts, changes)))


_OFF = MappingProxyType({"int8": 1.5, "fp8": 4.0, "nf4": 9.0})
"""Percent by which a layer's product is off, forwards and backwards alike; bf16: 0.2 (tests/engine/training/test_frozen.py)."""


_ROUND = ("memory.plan", "memory.quantise", "memory.limit_gib")
"""Settings by which a base may be rounded that the card has room for."""


def price_of(plan: MemoryPlan, settings: Settings) -> Iterator[Finding]:
    """What a plan costs in exactness, if the base is rounded for it."""
    if plan.base != "full" and plan.fits != "no":
        figured: dict[str, Any] = {"base": plan.base, "plan": plan.way, "off": _OFF[plan.base]}
        forced = {key: auto for key, auto in narrowing(settings).items() if key in _ROUND}
        yield (
            Finding.of("base_in_few_bits.forced", **figured, settings=forced)
            if forced
            else Finding.of("base_in_few_bits", **figured)
        )
