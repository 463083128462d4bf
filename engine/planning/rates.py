"""What a LoRA really learns with: the learning rate, scaled by alpha and rank, in numbers and in words."""

from __future__ import annotations

import math

from loratui.engine.planning.family_rules import ONE_RATE
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
    """`alpha 16 / rank 32 × 0.0004`."""
    adapter = settings.adapter
    root = "√" if adapter.rank_stabilised else ""
    return f"alpha {adapter.effective_alpha:g} / {root}rank {adapter.rank} × {settings.optimizer.learning_rate:g}"


def rate_in_words(settings: Settings) -> str:
    """`effective 2e-4 (alpha 16 / rank 32 × 4e-4)`, to stand beside the learning rate; for an adaptive optimizer, who finds it."""
    if settings.optimizer.name in ONE_RATE:
        scale = lora_scale(settings.adapter)
        return f"{settings.optimizer.name} finds the rate; alpha / rank scales the effect by {scale:.3g}"
    return f"effective {effective_learning_rate(settings):.3g} = {scale_in_words(settings)}"
