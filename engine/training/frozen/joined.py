"""LoRA on Linears that read the same input, such as an attention's q, k and v, as one product of the base and one of the LoRA; on
large transformers as one product of both.

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
from loratui.engine.training.frozen.appended import AppendedLinear
from loratui.engine.training.frozen.linear import FrozenLinear


class LeanLinear(PeftLinear):  # type: ignore[misc]  # PEFT gives it no types
    """PEFT's layer without what a plain LoRA does not need: the scale is multiplied into the small factor, not into the output."""

    def forward(self, x: Tensor, *_: Any, **__: Any) -> Tensor:
        """What the base and the LoRA make of x (…, in)."""
        return _answer(self.base_layer, [self], x)


class JoinedLinear(nn.Module):
    """Several Linears with LoRA that read the same input, in place of each. Its output is theirs, side by side."""

    def __init__(self, layers: Sequence[LeanLinear]) -> None:
        """Takes over the bases of the layers, which cannot be called any more."""
        super().__init__()
        self.base = FrozenLinear.beside_each_other([_frozen(layer.base_layer) for layer in layers])
        self._layers = tuple(layers)  # a tuple: they are children of other modules already
        for layer in layers:
            layer.base_layer = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(…, out of all) for x (…, in)."""
        return _answer(self.base, self._layers, x)


class JoinedPart(nn.Module):
    """One of several modules that read the same input, and that a block calls one after the other, each once: the first computes the
    outputs of all."""

    def __init__(self, own: Sequence[LeanLinear], whole: JoinedLinear | None, sizes: Sequence[int], made: list[Tensor]) -> None:
        """`whole` for the first; `sizes` are those of all outputs, and `made`, which all share, is where they lie until they are wanted."""
        super().__init__()
        self.own = nn.ModuleList(own)  # which may have been this module's place in the block
        self.whole = whole
        self._sizes, self._made = list(sizes), made

    def forward(self, x: Tensor) -> Tensor:
        """(…, own out) for x (…, in)."""
        if self.whole is not None:
            self._made.clear()  # of a pass that was broken off
            self._made.extend(self.whole(x).split(self._sizes, -1))
        return self._made.pop(0)


def is_plain(layer: nn.Module) -> bool:
    """Whether a layer is a LoRA on a Linear, and nothing more: no dropout, no DoRA."""
    if not isinstance(layer, PeftLinear) or layer.use_dora[NAME] or layer.lora_variant:
        return False
    hooked = layer.lora_A[NAME]._forward_hooks or layer.lora_B[NAME]._forward_hooks
    return isinstance(layer.lora_dropout[NAME], nn.Identity) and not hooked


class Joiner:
    """Joins the layers of one denoiser; see `families.model.Joiner`."""

    def __init__(self, *, appends: bool) -> None:
        """`appends`: whether there is room for LoRAs beside the weights of their bases."""
        self._appends = appends
        self._appended: list[tuple[AppendedLinear, tuple[LeanLinear, ...]]] = []

    def joined(self, *groups: Sequence[nn.Module], appended: bool = False) -> list[nn.Module]:
        return [self._join(layers, appended=appended) for layers in _joinable(groups)]

    def in_turn(self, *groups: Sequence[nn.Module]) -> list[nn.Module]:
        own = _joinable(groups)
        if not own:
            return []
        whole = self._join([layer for layers in own for layer in layers], appended=True)
        sizes, made = [sum(layer.out_features for layer in layers) for layers in own], list[Tensor]()
        return [JoinedPart(layers, None if n else whole, sizes, made) for n, layers in enumerate(own)]

    def append(self, *layers: nn.Module) -> None:
        for one in layers:
            for (layer,) in _joinable([[one]]):  # or none
                layer.base_layer = self._with_room(_frozen(layer.base_layer), [layer])

    def refresh(self, *, compiled: bool = False) -> None:
        """Puts the present values of all appended LoRAs where the products read them; `compiled`: in fewer launches."""
        for base, layers in self._appended:
            downs = [layer.lora_A[NAME].weight for layer in layers]
            ups = [layer.lora_B[NAME].weight for layer in layers]
            base.refresh(downs, ups, [layer.scaling[NAME] for layer in layers], compiled=compiled)

    def _join(self, layers: Sequence[LeanLinear], *, appended: bool) -> JoinedLinear:
        made = JoinedLinear(layers)
        if appended:
            made.base = self._with_room(made.base, layers)
        return made

    def _with_room(self, base: FrozenLinear, layers: Sequence[LeanLinear]) -> FrozenLinear:
        rank = sum(layer.r[NAME] for layer in layers)
        if not self._appends or not AppendedLinear.suits(base, rank):
            return base
        self._appended.append((AppendedLinear(base, rank), tuple(layers)))
        return self._appended[-1][0]


def make_lean(layer: nn.Module) -> None:
    """Has a plain LoRA computed by `LeanLinear`."""
    if is_plain(layer):
        layer.__class__ = LeanLinear


def _joinable(groups: Sequence[Sequence[nn.Module]]) -> list[list[LeanLinear]]:
    """The groups, if each of their layers has a plain LoRA on a base that is not in 4 bits; else none."""
    lean = [
        [layer for layer in group if isinstance(layer, LeanLinear) and type(layer.base_layer) in (nn.Linear, FrozenLinear)]
        for group in groups
    ]
    return lean if list(map(len, lean)) == list(map(len, groups)) else []


def _answer(base: nn.Module, layers: Sequence[LeanLinear], x: Tensor) -> Tensor:
    """What a base and the LoRAs of its layers make of x (…, in), side by side."""
    if any(layer.disable_adapters for layer in layers):  # all or none
        made: Tensor = base(x)
        return made
    down = torch.cat([layer.lora_A[NAME].weight for layer in layers])
    ups = [layer.lora_B[NAME].weight * layer.scaling[NAME] for layer in layers]
    up = ups[0] if len(ups) == 1 else torch.block_diag(*ups)  # type: ignore[no-untyped-call]  # torch gives it no types
    if isinstance(base, AppendedLinear):
        return base.changed(x, down, up)
    made = base(x)
    x = x.to(made.dtype)
    return made + F.linear(F.linear(x, down.to(x.dtype)), up.to(x.dtype))


def _frozen(base: nn.Module) -> FrozenLinear:
    if isinstance(base, FrozenLinear):
        return base
    assert isinstance(base, nn.Linear)
    return FrozenLinear(base.weight.detach(), None, None if base.bias is None else base.bias.detach(), base.weight.dtype)
