"""Adds adapters of every kind to frozen models, with PEFT."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from loratui.engine.errors import UsageError
from loratui.engine.families.stored import seen_as
from loratui.engine.formats.layers import Part
from loratui.engine.planning.targets import is_wide_convolution, rank_and_alpha
from loratui.engine.training.adapters.adapter import NAME, AdaptedLayer, LoraAdapter
from loratui.engine.training.adapters.dropouts import add_dropouts
from loratui.engine.training.noise import derived_seed
from loratui.presets.schema import Adapter


@dataclass(frozen=True)
class Target:
    """Where adapters are added in one part."""

    model: nn.Module
    patterns: tuple[str, ...]
    """Each must match the full path of at least one module (see `planning.targets`)."""
    settings: Adapter


def add_adapters(targets: Mapping[Part, Target], *, seed: int) -> LoraAdapter:
    """Adds an adapter to every module that the patterns match and freezes the rest of the models.

    One factor of each adapter starts at 0, so the model is unchanged at first. The starting values depend only on `seed`.
    Raises `UsageError` if a pattern matches nothing.
    """
    return LoraAdapter([layer for part, target in targets.items() for layer in _add(part, target, seed)])


def matching_modules(model: nn.Module, patterns: tuple[str, ...]) -> dict[str, nn.Module]:
    """Linear and convolution modules whose path matches `patterns`, in the model's order. Raises `UsageError` for a pattern
    without a match: otherwise a misspelt name would silently train less."""
    matched: dict[str, nn.Module] = {}
    unused = set(patterns)
    for path, module in model.named_modules():
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            for pattern in patterns:
                if re.fullmatch(pattern, path):
                    matched[path] = module
                    unused.discard(pattern)
    if unused:
        raise UsageError(
            f"adapter.targets: no layer of this base matches {sorted(unused)[0]}.", "Choose another set, such as attention."
        )
    return matched


def _add(part: Part, target: Target, seed: int) -> list[AdaptedLayer]:
    from peft import inject_adapter_in_model
    from peft.tuners.tuners_utils import BaseTunerLayer

    model, settings = target.model, target.settings
    modules = matching_modules(model, target.patterns)
    wide = {path for path, one in modules.items() if isinstance(one, nn.Conv2d) and tuple(one.kernel_size) != (1, 1)}
    assert all(is_wide_convolution(path) == (path in wide) for path in modules)
    model.requires_grad_(False)
    with torch.random.fork_rng(devices=[]), seen_as(model, next(model.parameters()).dtype):
        torch.manual_seed(derived_seed(seed, *(("adapter",) if part == "denoiser" else ("adapter", part))))
        inject_adapter_in_model(_config(settings, list(modules)), model, adapter_name=NAME)
    layers = [AdaptedLayer(part, path, one) for path, one in model.named_modules() if isinstance(one, BaseTunerLayer)]
    assert [one.path for one in layers] == list(modules)
    for one in layers:
        for parameter in one.parameters.values():
            # PEFT makes them in the base's format, in which small updates vanish.
            parameter.data = parameter.data.float()
            parameter.requires_grad_(True)
        add_dropouts(one.layer, NAME, settings)
    return layers


def _config(settings: Adapter, paths: list[str]) -> Any:
    """PEFT's configuration for modules with exactly these paths."""
    from peft import LoHaConfig, LoKrConfig, LoraConfig

    each = {path: rank_and_alpha(settings, path) for path in paths}
    rank, alpha = rank_and_alpha(settings, "")
    common: dict[str, Any] = {
        "r": rank,
        # A list would also match every module whose path only ends like this.
        "target_modules": "|".join(re.escape(path) for path in paths),
        "rank_pattern": {re.escape(path): r for path, (r, _) in each.items() if r != rank},
        "alpha_pattern": {re.escape(path): a for path, (_, a) in each.items() if a != alpha},
    }
    if settings.kind in ("lora", "locon"):
        return LoraConfig(**common, lora_alpha=alpha, lora_dropout=settings.dropout, use_dora=settings.dora)
    common |= {"alpha": alpha, "rank_dropout": settings.rank_dropout, "module_dropout": settings.module_dropout}
    if settings.kind == "loha":
        return LoHaConfig(**common)
    return LoKrConfig(
        **common,
        decompose_factor=settings.factor,
        decompose_both=settings.decompose_both,
        rank_dropout_scale=True,
        init_weights="lycoris",
    )
