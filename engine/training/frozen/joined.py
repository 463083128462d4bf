"""LoRA on Linears that read the same input, such as an attention's q, k and v, as one product of the base and one of the LoRA.

The trained values stay where they are, in PEFT's layers; only the computation is another one. Its results differ by rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from peft.tuners.lora.layer import Linear as PeftLinear
from torch import Tensor, nn

from loratui.engine.training.adapters.adapter import NAME
from loratui.engine.training.frozen.linear import FrozenLinear


class LeanLinear(PeftLinear):  # type: ignore[misc]  # PEFT gives it no types
    """PEFT's layer without what a plain LoRA does not need: the scale is multiplied into the small factor, not into the output."""

    def forward(self, x: Tensor, *_: Any, **__: Any) -> Tensor:
        """What the base and the LoRA make of x (…, in)."""
        made: Tensor = self.base_layer(x)
        return made if self.disable_adapters else made + _change([self], x.to(made.dtype))


class JoinedLinear(nn.Module):
    """Several Linears with LoRA that read the same input, in place of each. Its output is theirs, side by side."""

    def __init__(self, layers: Sequence[LeanLinear]) -> None:
        """Takes over the bases of the layers, which cannot be called any more."""
        super().__init__()
        bases = [_frozen(layer.base_layer) for layer in layers]
        self.base = FrozenLinear.beside_each_other(bases)
        self._layers = tuple(layers)  # a tuple: they are children of the attention already
        for layer in layers:
            layer.base_layer = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(…, out of all) for x (…, in)."""
        made: Tensor = self.base(x)
        if any(layer.disable_adapters for layer in self._layers):  # all or none
            return made
        return made + _change(self._layers, x.to(made.dtype))


def is_plain(layer: nn.Module) -> bool:
    """Whether a layer is a LoRA on a Linear, and nothing more: no dropout, no DoRA."""
    if not isinstance(layer, PeftLinear) or layer.use_dora[NAME] or layer.lora_variant:
        return False
    hooked = layer.lora_A[NAME]._forward_hooks or layer.lora_B[NAME]._forward_hooks
    return isinstance(layer.lora_dropout[NAME], nn.Identity) and not hooked


def joined(*groups: Sequence[nn.Module]) -> list[nn.Module]:
    """A `JoinedLinear` for each group; none where a layer has no LoRA, or is more than a plain one. See `families.model.Joined`."""
    lean = [[layer for layer in group if isinstance(layer, LeanLinear) and _is_joinable(layer.base_layer)] for group in groups]
    return [JoinedLinear(layers) for layers in lean] if list(map(len, lean)) == list(map(len, groups)) else []


def _is_joinable(base: nn.Module) -> bool:
    return type(base) in (nn.Linear, FrozenLinear)  # and not one in 4 bits


def make_lean(layer: nn.Module) -> None:
    """Has a plain LoRA computed by `LeanLinear`."""
    if is_plain(layer):
        layer.__class__ = LeanLinear


def _change(layers: Sequence[LeanLinear], x: Tensor) -> Tensor:
    """What the LoRAs of the layers add, side by side, as two products."""
    down = torch.cat([layer.lora_A[NAME].weight for layer in layers])
    ups = [layer.lora_B[NAME].weight * layer.scaling[NAME] for layer in layers]
    up = ups[0] if len(ups) == 1 else torch.block_diag(*ups)  # type: ignore[no-untyped-call]  # torch gives it no types
    return F.linear(F.linear(x, down.to(x.dtype)), up.to(x.dtype))


def _frozen(base: nn.Module) -> FrozenLinear:
    if isinstance(base, FrozenLinear):
        return base
    assert isinstance(base, nn.Linear)
    return FrozenLinear(base.weight.detach(), None, None if base.bias is None else base.bias.detach(), base.weight.dtype)
