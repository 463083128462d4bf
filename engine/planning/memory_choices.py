"""Which memory plans a recipe's settings leave open, and which of the settings narrow the choice."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import combinations
from typing import Any

from loratui.engine.findings import Finding
from loratui.engine.planning.rungs import LADDER, Rung
from loratui.engine.words import typed
from loratui.presets.schema import Settings, get, replace

MEMORY: Mapping[str, Any] = {
    "memory.plan": "auto",
    "memory.quantise": "auto",
    "memory.gradient_checkpointing": "auto",
    "memory.limit_gib": 0.0,
}
"""The settings made to narrow the choice, as they leave it open."""

EXACT: Mapping[str, Any] = {"adapter.dora": False, "training.precision": "auto"}
"""The settings that need the base as it is, as they leave the choice open: DoRA reads the base's weights themselves, and fp32 is asked
for by those who want no rounding."""


def narrowing(settings: Settings) -> dict[str, Any]:
    """The settings that narrow the choice of this recipe, as they would leave it open."""
    exact = {key: value for key, value in EXACT.items() if key in _exact(settings)}
    return {key: value for key, value in MEMORY.items() if get(settings, key) != value} | exact


def rungs(settings: Settings) -> tuple[Rung, ...]:
    """The rungs that the settings leave open, the fastest first."""
    return tuple(rung for rung in LADDER if _is_open(settings, rung))


def splits(settings: Settings) -> tuple[bool, ...]:
    """Whether batches may be split. Not where a text encoder's gradients flow through the whole batch, or dropout draws for it."""
    whole = settings.adapter.drops or settings.training.train_text_encoder
    return (False, True) if settings.training.batch_size > 1 and not whole else (False,)


def is_recordable(settings: Settings, recomputed: float) -> bool:
    """Whether a step is the same computation on other tensors each time. PEFT decides on the CPU what a LoHa or LoKr drops, and torch
    cannot draw again within a recording what a block that is `recomputed` has drawn."""
    return not settings.adapter.drops or (settings.adapter.kind in ("lora", "locon") and not recomputed)


def contradiction(settings: Settings) -> Finding:
    """Which settings of a recipe leave no rung, and the fewest that must be left open."""
    narrowed = narrowing(settings)
    clash = fewest(narrowed, lambda kept: not rungs(replace(settings, _without(narrowed, kept))))
    memory = {key: value for key, value in narrowed.items() if key in MEMORY}
    opened = fewest(memory, lambda some: bool(rungs(replace(settings, some))))
    exact = fewest(
        {key: value for key, value in narrowed.items() if key in EXACT}, lambda some: bool(rungs(replace(settings, some)))
    )
    return Finding.of(
        "memory.contradiction_exact" if exact else "memory.contradiction",
        settings=opened,
        clash=written(settings, clash or narrowed),
        exact=exact or {},
    )


def fewest(changes: Mapping[str, Any], suffices: Callable[[dict[str, Any]], bool]) -> dict[str, Any] | None:
    """The fewest of these changes that suffice, the first of them rather than the last; None if not even all do."""
    some = (dict(chosen) for count in range(1, len(changes) + 1) for chosen in combinations(changes.items(), count))
    return next((chosen for chosen in some if suffices(chosen)), None)


def written(settings: Settings, keys: Mapping[str, Any]) -> list[str]:
    """Such as `memory.plan=kept`."""
    return [f"{key}={typed(get(settings, key))}" for key in keys]


def _without(changes: Mapping[str, Any], kept: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in changes.items() if key not in kept}


def _exact(settings: Settings) -> set[str]:
    wanted = {"adapter.dora": settings.adapter.dora, "training.precision": settings.training.precision == "fp32"}
    return {key for key, exact in wanted.items() if exact}


def _is_open(settings: Settings, rung: Rung) -> bool:
    memory, least, most = settings.memory, *rung.recomputed
    if memory.plan not in ("auto", rung.name):
        return False
    if {"on": most < 1, "off": least > 0 or 0 < most < 1}.get(memory.gradient_checkpointing, False):
        return False
    if rung.four_bits:  # a format of its own
        return memory.quantise == "auto" and not _exact(settings)
    if rung.quantised:
        return (memory.quantise != "off" or rung.swaps) and not _exact(settings)
    return memory.quantise in ("auto", "off")
