"""Opens screens by name."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from loratui.engine.runs.directory import RunDirectory
    from loratui.tui.screens.base import LoratuiScreen

_SCREENS = {
    "home": ("runs.home_screen", "HomeScreen"),
    "queue": ("runs.queue_screen", "QueueScreen"),
    "sweep": ("runs.sweep_screen", "SweepScreen"),
    "preset": ("wizard.preset_screen", "PresetScreen"),
    "base": ("wizard.base_screen", "BaseModelScreen"),
    "dataset": ("dataset.overview_screen", "DatasetScreen"),
    "plan": ("wizard.plan_screen", "PlanScreen"),
    "samples": ("wizard.samples_screen", "SamplesScreen"),
    "preflight": ("wizard.preflight_screen", "PreflightScreen"),
    "training": ("runs.training_screen", "TrainingScreen"),
    "validation": ("validation.validation_screen", "ValidationScreen"),
}
"""Name of a screen -> its module and class, imported when first shown, so the first screen appears at once."""
_OF_A_RUN = ("training", "validation")


def make_screen(name: str, run: RunDirectory | None) -> LoratuiScreen[Any]:
    """A new screen; the list of runs if the name is unknown or the run is missing."""
    if name in _OF_A_RUN and run is None:
        name = "home"
    module, class_name = _SCREENS.get(name, _SCREENS["home"])
    cls = getattr(importlib.import_module(f"loratui.tui.{module}"), class_name)
    made: LoratuiScreen[Any] = cls(run) if name in _OF_A_RUN else cls()
    return made
