"""The demo as a draft: an invented person on an embedded base."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from loratui.engine.machine import accelerator, hardware
from loratui.tui.wizard.draft import Draft

PROCESSES = 2
"""Of the demo on a CPU: as many as a step has images. One thread each, since the base's operations are too small to share: on two
cores, a step of 2 images took 0.115 s in one process of two threads, 0.093 s in one of one thread, and 0.066 s in two processes."""


def shared_by_cores(changes: Mapping[str, Any]) -> dict[str, Any]:
    """`changes`, and those that divide the demo's batch between processes if a CPU of several cores will train it."""
    on_cpu = changes.get("memory.device") == "cpu" or not accelerator.has_gpu(hardware.listing())
    if not on_cpu or hardware.allowed_cpus() < PROCESSES:
        return dict(changes)
    divided = {"training.batch_size": 1, "training.processes": PROCESSES, "memory.device": "cpu", "memory.threads": 1}
    return {**divided, **changes}


def demo_draft(preset: str = "demo", changes: Mapping[str, Any] = MappingProxyType({})) -> Draft:
    """The demo with everything chosen: preset, images, trigger, class word, and changes to the preset."""
    from loratui.engine.dataset.scan import scan
    from loratui.engine.planning.recipe import build_recipe
    from loratui.presets.bases import DEMO_CLASS, DEMO_TRIGGER, demo_dataset

    folder = demo_dataset()
    recipe = build_recipe(preset, dataset=folder, trigger=DEMO_TRIGGER, class_word=DEMO_CLASS)
    return Draft(recipe.with_changes(changes) if changes else recipe, scan(folder))
