"""What a LoRA really learns with: the learning rate, scaled by alpha and rank, in numbers and in words."""

from __future__ import annotations

import math

from loratui.engine.planning.family_rules import ONE_RATE
from loratui.engine.words import short
from loratui.presets.schema import Adapter, Settings


def effective_learning_rate(settings: Settings) -> float:
    """alpha / rank × learning rate (rank-stabilised: alpha / √rank): what a LoRA really learns with."""
    return lora_scale(settings.adapter) * settings.optimizer.learning_rate


def lora_scale(adapter: Adapter) -> float:
    """Factor on the LoRA's effect: alpha / rank, or alpha / √rank if rank-stabilised."""
    return adapter.effective_alpha / (math.sqrt(adapter.rank) if adapter.rank_stabilised else adapter.rank)


def alpha_in_words(adapter: Adapter) -> str:
    """`8 (follows rank)`, `16 (follows rank × 0.5)`, or the number that was set."""
    ratio = "" if adapter.alpha_ratio == 1 else f" × {adapter.alpha_ratio:g}"
    return f"{adapter.effective_alpha:g}" + ("" if adapter.alpha else f" (follows rank{ratio})")


def scale_in_words(settings: Settings) -> str:
    """`alpha 16 / rank 32 × 4e-4`: what the effective learning rate is made of."""
    adapter = settings.adapter
    root = "√" if adapter.rank_stabilised else ""
    return f"alpha {adapter.effective_alpha:g} / {root}rank {adapter.rank} × {short(settings.optimizer.learning_rate)}"


def rate_in_words(settings: Settings) -> str:
    """`effective 2e-4`, to stand beside the learning rate; for an optimizer that finds the rate, by how much that is scaled."""
    if settings.optimizer.name in ONE_RATE:
        return f"{settings.optimizer.name} finds the rate, scaled by {short(lora_scale(settings.adapter))}"
    return f"effective {short(effective_learning_rate(settings))}"


def learning_in_words(settings: Settings) -> str:
    """`Rank 8, alpha 8 (follows rank). Learning rate 1e-4, effective 1e-4.`"""
    return (
        f"Rank {settings.adapter.rank}, alpha {alpha_in_words(settings.adapter)}. "
        f"Learning rate {short(settings.optimizer.learning_rate)}, {rate_in_words(settings)}."
    )
