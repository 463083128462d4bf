"""A LoRA file of any program on a base exactly as it is, whatever its layers, ranks and scales."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from loratui.engine import families
from loratui.engine.errors import UsageError
from loratui.engine.families.model import Model
from loratui.engine.formats.layers import Part
from loratui.engine.training.adapters.adapter import LoraAdapter
from loratui.engine.training.adapters.build import Target, add_adapters
from loratui.engine.training.adapters.weight_delta import WeightDelta
from loratui.engine.training.lora_file.init_from import fit
from loratui.engine.training.lora_file.layouts import is_finite
from loratui.engine.training.lora_file.read import read_lora
from loratui.presets.schema import Settings, replace


def add_from_file(path: Path, model: Model, settings: Settings) -> tuple[LoraAdapter, bool]:
    """The adapter of a file on its base, and whether it changes anything. `settings` has its kind and ranks (`planning.lora_match`).

    Raises `UsageError` for a file with layers that cannot be computed, and for values that are not finite.
    """
    spec = families.family(settings.base.family)
    of: Any = model.denoiser
    config = {name: list(value) if isinstance(value, tuple) else value for name, value in dict(of.config).items()}
    known: dict[Part, Mapping[str, nn.Module]] = {"denoiser": dict(model.denoiser.named_modules())}
    layers: list[tuple[Part, str]] = [("denoiser", layer.name) for layer in spec.layers(config)]
    if settings.training.train_text_encoder:
        known |= {part: dict(encoder.named_modules()) for part, encoder in model.text_encoders.items()}
        layers += [
            (part, name)
            for part, modules in known.items()
            for name, module in modules.items()
            if part != "denoiser" and isinstance(module, nn.Linear)
        ]
    found = read_lora(path, settings.base.family, layers)
    if found.unread:
        name = next(iter(found.unread.values()))[0]
        raise UsageError(
            f"{path}: loratui cannot compute with its {name}.", "Convert it to a plain LoRA, or choose another file."
        )
    for (_, layer), change in found.changes.items():
        if not all(is_finite(value) for value in change.tensors.values()):
            raise UsageError(f"{path}: some of its values for {layer} are not finite; the file is unusable.")
    adapter = add_adapters(_targets(found.changes, known, settings), seed=0)
    state = adapter.state()
    for (part, layer), own in adapter.changes(state).items():
        fitted = fit(found.changes[part, layer], own)
        if fitted is None or fitted[1]:
            raise UsageError(f"{path}: its {layer} is of another kind or shape than the other layers.", "Choose another file.")
        state |= {f"{part}.{layer}.{name}": value for name, value in fitted[0].tensors.items()}
    adapter.load_state(state)
    return adapter, any(change.norm() for change in found.changes.values())


def _targets(
    changes: Mapping[tuple[Part, str], WeightDelta], known: Mapping[Part, Mapping[str, nn.Module]], settings: Settings
) -> dict[Part, Target]:
    """Exactly the layers of a file, at the highest of its ranks, in which lower ones are embedded."""
    rank = max((change.rank for change in changes.values()), default=settings.adapter.rank)
    lokr = settings.adapter.kind == "lokr"  # whose shapes depend on the rank
    of = replace(
        settings,
        {
            "adapter.rank": settings.adapter.rank if lokr else rank,
            "adapter.alpha": 0.0,
            "adapter.alpha_ratio": 1.0,
            "adapter.conv_rank": 0,
            "adapter.conv_alpha": 0.0,
            "adapter.rank_stabilised": False,
            "adapter.dropout": 0.0,
            "adapter.rank_dropout": 0.0,
            "adapter.module_dropout": 0.0,
        },
    ).adapter
    targets: dict[Part, Target] = {}
    for part, modules in known.items():
        paths = [name for name in modules if (part, name) in changes]
        if paths:
            targets[part] = Target(modules[""], ("|".join(map(re.escape, paths)),), of)
    return targets
