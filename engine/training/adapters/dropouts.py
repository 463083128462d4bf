"""Rank dropout and module dropout for LoRA, as sd-scripts has them; PEFT has them for LoHa and LoKr only."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from loratui.presets.schema import Adapter


def add_dropouts(layer: Any, name: str, settings: Adapter) -> None:
    """Puts the dropouts of `settings` onto one LoRA layer of PEFT; they work in training mode only.

    Draws come from torch's default generator of the device, which the trainer seeds anew for each batch.
    """
    if settings.kind not in ("lora", "locon"):
        return
    if settings.rank_dropout:
        layer.lora_A[name].register_forward_hook(_RankDropout(settings.rank_dropout))
    if settings.module_dropout:
        layer.lora_B[name].register_forward_hook(_ModuleDropout(settings.module_dropout))


class _RankDropout:
    """Leaves out ranks for each image on its own, and makes up for it by 1 / (1 − p)."""

    def __init__(self, share: float) -> None:
        self._share = share

    def __call__(self, module: nn.Module, _: Any, output: Tensor) -> Tensor:
        if not module.training:
            return output
        rank_axis = 1 if isinstance(module, nn.Conv2d) else output.dim() - 1
        shape = [1] * output.dim()
        shape[0], shape[rank_axis] = output.shape[0], output.shape[rank_axis]
        kept = torch.rand(shape, device=output.device) >= self._share
        return output * (kept.to(output.dtype) / (1 - self._share))


class _ModuleDropout:
    """Leaves out a whole layer's LoRA, for the batch."""

    def __init__(self, share: float) -> None:
        self._share = share

    def __call__(self, module: nn.Module, _: Any, output: Tensor) -> Tensor:
        if not module.training:
            return output
        kept = torch.rand((), device=output.device) >= self._share
        return output * kept.to(output.dtype)
