"""A frozen Linear whose weight is quantised, or moves between host memory and the card."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from loratui.engine.families.stored import weight_on
from loratui.engine.planning.rungs import BaseFormat
from loratui.engine.training.frozen.formats import product, quantised

WEIGHT = ("codes", "scale")
"""The buffers that make up a weight; without a scale, `codes` is the weight itself."""


class FrozenLinear(nn.Module):
    """In place of an `nn.Linear` below a LoRA. Its weight is a buffer, so it can be replaced by another of its shape at any time."""

    codes: Tensor
    scale: Tensor | None
    bias: Tensor | None
    turned: Tensor | None
    """codesᵀ, where both are kept: more memory for a shorter step, and the same numbers."""

    def __init__(self, codes: Tensor, scale: Tensor | None, bias: Tensor | None, dtype: torch.dtype) -> None:
        """`dtype` is what its inputs are cast to, and what its outputs have."""
        super().__init__()
        self.dtype = dtype
        self.out_features, self.in_features = codes.shape
        for name, value in (("codes", codes), ("scale", scale), ("bias", bias), ("turned", None)):
            self.register_buffer(name, value, persistent=False)

    @classmethod
    @torch.no_grad()
    def of(cls, linear: nn.Linear, base: BaseFormat, device: torch.device, dtype: torch.dtype) -> FrozenLinear:
        """The Linear on `device`, quantised there. Its own weight may lie anywhere, in any format of floating-point numbers."""
        weight = weight_on(linear.weight, device, dtype)
        bias = None if linear.bias is None else linear.bias.detach().to(device).to(dtype)
        codes, scale = (weight, None) if base == "full" else quantised(weight, base)
        return cls(codes, scale, bias, dtype)

    @classmethod
    def beside_each_other(cls, layers: Sequence[FrozenLinear]) -> FrozenLinear:
        """One layer with the outputs of all, in their order. They are of one format, and read inputs of one width."""
        first = layers[0]
        biases = [layer.bias for layer in layers]
        zeros = [torch.zeros(layer.out_features, dtype=first.dtype, device=first.codes.device) for layer in layers]
        bias = None
        if any(one is not None for one in biases):
            bias = torch.cat([zero if one is None else one for one, zero in zip(biases, zeros, strict=True)])
        scales = [layer.scale for layer in layers if layer.scale is not None]
        return cls(torch.cat([layer.codes for layer in layers]), torch.cat(scales) if scales else None, bias, first.dtype)

    @property
    def weight(self) -> Tensor:
        """What PEFT reads the shape of: (out, in)."""
        return self.codes

    def keep_turned(self) -> None:
        """Keeps codesᵀ too."""
        self.turned = self.codes.t().contiguous() if self.scale is not None else None

    def forward(self, x: Tensor) -> Tensor:
        """x·Wᵀ + bias."""
        return product(x.to(self.dtype), self.codes, self.scale, self.turned, self.bias)

    def _apply(self, fn: Any, recurse: bool = True) -> FrozenLinear:  # noqa: ARG002 - torch's signature
        """Nothing: a model that is moved or cast leaves its frozen weights where they are."""
        return self
