"""The demo as a draft: an invented person on an embedded base."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from loratui.tui.wizard.draft import Draft


def demo_draft(preset: str = "demo", changes: Mapping[str, Any] = MappingProxyType({})) -> Draft:
    """The demo with everything chosen: preset, images, trigger, class word, and changes to the preset."""
    from loratui.engine.dataset.scan import scan
    from loratui.engine.planning.recipe import build_recipe
    from loratui.presets.bases import DEMO_CLASS, DEMO_TRIGGER, demo_dataset

    folder = demo_dataset()
    recipe = build_recipe(preset, dataset=folder, trigger=DEMO_TRIGGER, class_word=DEMO_CLASS)
    return Draft(recipe.with_changes(changes) if changes else recipe, scan(folder))
