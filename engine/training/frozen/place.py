"""Puts a denoiser with its LoRA where its memory plan wants it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from loratui.engine.families.model import Joiner as Joins
from loratui.engine.families.spec import FamilySpec
from loratui.engine.families.stored import weight_on
from loratui.engine.planning.memory_plan import MemoryPlan
from loratui.engine.planning.rungs import BaseFormat
from loratui.engine.training.adapters.adapter import LoraAdapter
from loratui.engine.training.frozen.blocks import Blocks
from loratui.engine.training.frozen.joined import Joiner, make_lean
from loratui.engine.training.frozen.linear import FrozenLinear
from loratui.engine.training.frozen.swap import BlockSwap, side_by_side


def place(
    denoiser: nn.Module,
    adapter: LoraAdapter,
    plan: MemoryPlan,
    spec: FamilySpec,
    join: Callable[[nn.Module, Joins], None],
    *,
    device: torch.device,
    dtype: torch.dtype,
    draws: bool,
) -> Blocks:
    """Moves the denoiser to `device`, quantises its large blocks and swaps them, as the plan says.

    `spec` is that of its family, `join` the model's `join_projections`; `draws` tells whether a step draws random numbers within blocks.
    At first every block is computed again and none stays on the card, where the plan leaves it open.
    """
    blocks = Blocks(denoiser, spec.blocks, spec.pass_order, on_card=device.type == "cuda", draws=draws)
    joiner = Joiner(appends=plan.appends)
    if plan.joins:
        for one in adapter.layers:
            make_lean(one.layer)
        if not plan.on_host:
            for module, _ in blocks.large:
                join(module, joiner)
    if plan.on_host:
        trained = {id(module) for one in adapter.layers for module in one.layer.modules()}
        trained -= {id(one.layer.base_layer) for one in adapter.layers}
        swap = BlockSwap(device) if plan.rung.swaps else None
        for module, _ in blocks.large:  # one after the other: the card may have room for few
            _freeze(module, trained, plan.base, device, dtype)
            if plan.joins:
                join(module, joiner)
            if swap is not None:
                swap.add(module)
            elif not plan.two_copies:
                _pack(module, device)
            for layer in (one for one in module.modules() if plan.two_copies and isinstance(one, FrozenLinear)):
                layer.keep_turned()
        for parameter in denoiser.parameters():
            # A file's own format, kept so far to save memory; 4-bit weights are bytes, and those of a LoRA are fp32.
            if parameter.is_floating_point() and parameter.dtype != dtype and not parameter.requires_grad:
                parameter.data = weight_on(parameter, device, dtype)
        denoiser.to(device)
        if swap is not None:
            blocks.swap_by(swap)
    if device.type == "cuda":
        denoiser.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # what a card's convolutions compute in
    if plan.appends:
        # Not compiled before the blocks are: a machine without a C compiler trains without.
        denoiser.register_forward_pre_hook(lambda *_: joiner.refresh(compiled=blocks.compiled))
    blocks.recompute(len(blocks.blocks) if plan.recomputed else 0)
    return blocks


def _pack(block: nn.Module, device: torch.device) -> None:
    """Puts a block's weights side by side into memory of their own. Where they were made, they lie between what making them took, and
    no step could have all of that."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    side_by_side(block, lambda length: torch.empty(length, dtype=torch.uint8, device=device))


def _freeze(block: nn.Module, trained: set[int], base: BaseFormat, device: torch.device, dtype: torch.dtype) -> None:
    """Replaces every Linear of a block's base; those of a LoRA stay as they are."""
    for parent in list(block.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Linear) and id(child) not in trained:
                setattr(parent, name, _frozen(child, base, device, dtype))


def _frozen(linear: nn.Linear, base: BaseFormat, device: torch.device, dtype: torch.dtype) -> nn.Module:
    return _in_4_bits(linear, device, dtype) if base == "nf4" else FrozenLinear.of(linear, base, device, dtype)


def _in_4_bits(linear: nn.Linear, device: torch.device, dtype: torch.dtype) -> nn.Module:
    """The Linear in NF4 by bitsandbytes, which quantises a weight when it comes to the card."""
    from bitsandbytes.nn import Linear4bit, Params4bit

    made: Any = Linear4bit(
        linear.in_features,
        linear.out_features,
        bias=linear.bias is not None,
        compute_dtype=dtype,
        quant_type="nf4",
        device="meta",
    )
    made.support_avx512bf16_for_cpu = False  # its faster products there want widths that are multiples of 64
    weight = weight_on(linear.weight, device, dtype)
    made.weight = Params4bit(weight, requires_grad=False, quant_type="nf4", module=made).to(device)
    if linear.bias is not None:
        made.bias = nn.Parameter(linear.bias.detach().to(device).to(dtype), requires_grad=False)
    return _In4Bits(made, torch.empty(weight.shape, dtype=dtype, device="meta"))


class _In4Bits(nn.Module):
    """A layer of bitsandbytes, whose own weight has another shape than PEFT's LoHa and LoKr look for."""

    def __init__(self, layer: nn.Module, weight: Tensor) -> None:
        super().__init__()
        self.layer, self.weight = layer, weight

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.layer(x)
        return made
