"""Matrices in 8 bits, and the products of a frozen Linear with them, forwards and backwards.

A weight (out, in) is kept as codes of 8 bits and one scale for each row. A product quantises the rows of its other factor as well,
so that the card multiplies 8-bit numbers: fp8 e4m3 from Ada on, int8 on older cards.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from loratui.engine.planning.rungs import BaseFormat

FP8 = torch.float8_e4m3fn
LARGEST = {FP8: 448.0, torch.int8: 127.0}
"""Largest code of each format."""
_SMALLEST = 1e-12
FEWEST_ROWS = 32
"""Inputs with fewer rows, such as those of modulation, are multiplied by the weight in the run's own format: reading the weight is all
that their product costs, and int8 products need more than 16 rows."""

FEW_ROWS = 2
"""Inputs with so few rows are multiplied number by number."""

CODES: dict[BaseFormat, torch.dtype] = {"fp8": FP8, "int8": torch.int8}


def quantised(weight: Tensor, base: BaseFormat) -> tuple[Tensor, Tensor]:
    """The codes (out, in) of a weight and the scale (out,) of each row, fp32, with weight ≈ codes · scale.

    Scales of fp8 are powers of two, so a file that is stored in fp8 without scales keeps its exact values.
    """
    dtype = CODES[base]
    scale = weight.abs().amax(1).float().div_(LARGEST[dtype]).clamp_(min=_SMALLEST)
    if dtype == FP8:
        scale = torch.exp2(torch.ceil(torch.log2(scale)))
    return _codes(weight.float() / scale[:, None], dtype), scale


def restored(codes: Tensor, scale: Tensor, dtype: torch.dtype) -> Tensor:
    """The weight (out, in) that codes stand for."""
    return (codes.float() * scale[:, None]).to(dtype)


def product(x: Tensor, codes: Tensor, scale: Tensor | None, turned: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
    """x·Wᵀ + bias (…, out) for x (…, in), in x's format. Differentiable in x alone. `turned` is codesᵀ, where it is kept.

    Without a scale, the codes are the weight itself.
    """
    if scale is None:
        return F.linear(x, codes, bias)
    rows = x.numel() // x.shape[-1]
    if rows <= FEW_ROWS:  # compiled, this reads the codes once and writes nothing else
        made = ((x.float().unsqueeze(-2) * codes.float()).sum(-1) * scale).to(x.dtype)
        return made if bias is None else made + bias
    if rows < FEWEST_ROWS:
        return F.linear(x, restored(codes, scale, x.dtype), bias)
    answer: Tensor = _Product.apply(x, codes, scale, turned, bias)  # type: ignore[no-untyped-call]  # torch gives it no types
    return answer


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, codes: Tensor, scale: Tensor, turned: Tensor | None, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(codes, scale, turned)
        return _multiplied(x.reshape(-1, x.shape[-1]), codes, scale, bias).view(*x.shape[:-1], codes.shape[0])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None, None]:
        """The gradient's columns take up the rows' scales before they are quantised: g·W = (g ∘ scale)·codes."""
        codes, scale, turned = ctx.saved_tensors
        wide = (
            torch.float32 if gradient.dtype == torch.float16 else gradient.dtype
        )  # fp16 has no room for the smallest products
        rows = gradient.reshape(-1, gradient.shape[-1]).to(wide) * scale.to(wide)
        # The products of cards want the second factor by columns. Where codesᵀ is not kept, it is made for each use.
        whole = _multiplied(rows, codes.t().contiguous() if turned is None else turned, None)
        return whole.to(gradient.dtype).view(*gradient.shape[:-1], codes.shape[1]), None, None, None, None


def _multiplied(x: Tensor, codes: Tensor, scale: Tensor | None, bias: Tensor | None = None) -> Tensor:
    """x·(codes·scale)ᵀ + bias (M, out) for x (M, in), with the rows of x quantised; no scale: 1."""
    dtype = codes.dtype
    rows = x.abs().amax(1, keepdim=True).float().mul(1 / LARGEST[dtype]).clamp(min=_SMALLEST)
    quantised_x = _codes(x.float() * rows.reciprocal(), dtype)  # a division of each number would take longer than reading it
    columns = torch.ones(1, codes.shape[0], device=x.device) if scale is None else scale[None]
    if dtype == FP8 and x.is_cuda:
        bias = None if bias is None else bias.to(torch.bfloat16)
        made = torch._scaled_mm(
            quantised_x, codes.t(), bias=bias, scale_a=rows, scale_b=columns, out_dtype=torch.bfloat16, use_fast_accum=True
        )
        return made.to(x.dtype)
    if x.is_cuda:
        made = torch._int_mm(quantised_x, codes.t()).float() * rows * columns
    else:  # the same numbers, without the speed
        made = quantised_x.float() @ codes.float().t() * rows * columns
    return (made if bias is None else made + bias).to(x.dtype)


def _codes(scaled: Tensor, dtype: torch.dtype) -> Tensor:
    """The nearest codes of numbers that are no larger than the largest code, but for rounding."""
    return scaled.to(dtype) if dtype == FP8 else scaled.round().to(dtype)
