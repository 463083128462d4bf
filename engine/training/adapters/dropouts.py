"""Rank dropout and module dropout for LoRA, as in sd-scripts; PEFT has them only for LoHa and LoKr."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from loratui.presets.schema import Adapter


def add_dropouts(layer: Any, name: str, settings: Adapter) -> None:
    """Adds the dropouts of `settings` to a LoRA layer of PEFT. They draw from the device's default generator, in training only."""
    if settings.kind not in ("lora", "locon"):
        return
    if settings.rank_dropout:
        layer.lora_A[name].register_forward_hook(_Dropout(settings.rank_dropout, whole_layer=False))
    if settings.module_dropout:
        layer.lora_B[name].register_forward_hook(_Dropout(settings.module_dropout, whole_layer=True))


class _Dropout:
    """Drops ranks for each image separately and scales the rest by 1 / (1 − p), or a whole layer's LoRA for the batch."""

    def __init__(self, share: float, *, whole_layer: bool) -> None:
        self._share, self._whole_layer = share, whole_layer

    def __call__(self, module: nn.Module, _: Any, output: Tensor) -> Tensor:
        if not module.training:
            return output
        rank_axis = 1 if isinstance(module, nn.Conv2d) else output.dim() - 1
        shape = [] if self._whole_layer else [n if axis in (0, rank_axis) else 1 for axis, n in enumerate(output.shape)]
        kept = (torch.rand(shape, device=output.device) >= self._share).to(output.dtype)
        return output * (kept if self._whole_layer else kept / (1 - self._share))
