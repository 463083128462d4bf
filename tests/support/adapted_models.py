"""Adapters on narrow models with values as after training, and files of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from loratui.engine.families.lora import LoraLayout
from loratui.engine.formats.layers import Part
from loratui.engine.formats.metadata import LoraFacts, default_layout
from loratui.engine.planning.targets import denoiser_patterns, text_patterns
from loratui.engine.training.adapters.adapter import LoraAdapter
from loratui.engine.training.adapters.build import Target, add_adapters
from loratui.engine.training.lora_file.write import Written, write_lora_file
from loratui.presets.schema import Adapter, Family, Settings


def trained(family: Family, models: dict[Part, nn.Module], settings: Adapter, *, by: float = 0.1, seed: int = 5) -> LoraAdapter:
    """An adapter on the denoiser and text encoders, every value moved."""
    targets: dict[Part, Target] = {}
    for part, model in models.items():
        layers: Any = getattr(model, "config", None)
        patterns = (
            denoiser_patterns(family, settings.targets)
            if part == "denoiser"
            else text_patterns(settings.targets, layers.num_hidden_layers)
        )
        targets[part] = Target(model, patterns, settings)
    adapter = add_adapters(targets, seed=1)
    source = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in adapter.parameters.values():
            value.add_(torch.randn(value.shape, generator=source) * by)
    return adapter


def settings_of(family: Family, adapter: Adapter) -> Settings:
    """Settings with this adapter."""
    plain = Settings()
    return replace(plain, base=replace(plain.base, family=family), adapter=adapter)


def facts(settings: Settings, layout: LoraLayout | None = None, **changes: Any) -> LoraFacts:
    """What a file says of itself."""
    known: dict[str, Any] = {
        "title": "qxz",
        "layout": layout or default_layout(settings),
        "prediction": "epsilon",
        "step": 10,
        "epoch": 1,
        "epochs": 2,
        "images": 7,
        "optimizer": "adamw",
        "precision": "float32",
    }
    return LoraFacts(settings=settings, **{**known, **changes})


def write(
    path: Path,
    family: Family,
    adapter: LoraAdapter,
    settings: Adapter,
    precision: str = "fp32",
    layout: LoraLayout | None = None,
) -> Written:
    """A file of the adapter as it is."""
    return write_lora_file(path, adapter.changes(adapter.state()), facts(settings_of(family, settings), layout), precision)
