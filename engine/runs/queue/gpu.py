"""Whether the cards that a run would train on are free: programs other than the runs of this home may use them."""

from __future__ import annotations

import os

from loratui.engine.machine import hardware
from loratui.engine.machine.accelerator import VISIBLE
from loratui.engine.machine.hardware import Gpu
from loratui.engine.planning.recipe import read_recipe
from loratui.engine.runs.directory import RunDirectory
from loratui.presets.schema import SchemaError

_FREE = 0.8
"""Share of a card's memory that must be free: a desktop takes less than the rest, and a training more."""


def taken(run: RunDirectory) -> str:
    """Who uses the GPU, in words; empty where the run can begin, and where it needs none."""
    try:
        settings = read_recipe(run.effective).settings
    except SchemaError:
        return ""  # the trainer says what is wrong with it
    if settings.memory.device == "cpu":
        return ""
    for card in _visible(hardware.gpus(hardware.NVML_COLD_S))[: settings.training.processes]:
        if card.free_gib < _FREE * card.total_gib:
            who = ", ".join(one.words for one in card.held_by) or "another program"
            return f"The GPU is in use: {who} ({card.total_gib - card.free_gib:.1f} of {card.total_gib:.1f} GiB)."
    return ""


def _visible(cards: tuple[Gpu, ...]) -> tuple[Gpu, ...]:
    """Those that CUDA_VISIBLE_DEVICES names; all where it names none."""
    named = [name.strip() for name in os.environ.get(VISIBLE, "").split(",")]
    return tuple(card for name in named for card in cards if name and name in (str(card.index), card.uuid)) or cards
