"""The LoRA of a frozen Linear as further columns or rows of its weight, so that one product makes both.

A Linear of a large transformer reads and writes some hundred megabytes, and what its LoRA adds is as large as its output. As products
of their own, the LoRA's two are little work, but they move all of that a second time. With W (out, in), A (rank, in) and B (out, rank):

- A wide output, out > in: [x | x·Aᵀ]·[W | B]ᵀ is the answer, and g·[W | B] holds the gradients of x and of x·Aᵀ.
- A wide input, in > out: x·[W ; A]ᵀ holds the answer of the base and x·Aᵀ, and [g | g·B]·[W ; A] is the gradient of x.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from loratui.engine.training.frozen.formats import FEWEST_ROWS, FP8, LARGEST, product, quantised
from loratui.engine.training.frozen.linear import FrozenLinear

MULTIPLES = {torch.bfloat16: 64, torch.float16: 64, torch.float32: 64, FP8: 128}
"""Appended columns come in multiples of so many: rows of another length slow a card's products down by a fifth."""

MOST = 1 / 12
"""Largest share of the narrow side that may be appended: the product of the base grows by it."""

USUAL_TIMES = 16.0
"""B in fp8 is divided by its row's scale and by this, and x·Aᵀ is multiplied by it: so B may have larger values than W. By more where
B has still larger values, by less where its largest code would fall below `LEAST_CODE`."""

LEAST_CODE = 8.0
"""Codes of B a thousand times smaller are rounded to 0, and A gets no gradient from them. In its first steps, B is that small beside W."""

_LEAST_TIMES = 2.0**-100
"""Where B is 0, as at first."""

FLATTEST = 1 / 8
"""Least scale of a row in fp8 beside the largest, where the row also has values of B: a row of zeros would leave no room for them."""


class AppendedLinear(FrozenLinear):
    """A frozen Linear with room for the values of LoRAs, which `refresh` puts there."""

    times: Tensor | None
    """(padded rank,) What x·Aᵀ is multiplied by, and B divided by; None where B has no scale to share."""

    def __init__(self, base: FrozenLinear, rank: int) -> None:
        """Takes a copy of the base's weight; see `suits`."""
        codes, scale = base.codes, base.scale
        columns = base.out_features >= base.in_features
        if columns and scale is not None:
            codes, scale = _without_tiny_scales(codes, scale)
        more = _padded(rank, codes.dtype)
        wide = torch.zeros(
            codes.shape[0] + more * (not columns), codes.shape[1] + more * columns, dtype=codes.dtype, device=codes.device
        )
        wide[: codes.shape[0], : codes.shape[1]] = codes
        if scale is not None and not columns:
            scale = torch.cat([scale, torch.ones(more, device=scale.device)])
        super().__init__(wide, scale, base.bias, base.dtype)
        self.out_features, self.in_features = base.out_features, base.in_features
        self.columns = columns
        """Whether B stands in further columns; else A stands in further rows."""
        in_fp8 = columns and scale is not None
        self.register_buffer(
            "times", torch.full((more,), USUAL_TIMES, device=codes.device) if in_fp8 else None, persistent=False
        )

    @staticmethod
    def suits(base: FrozenLinear, rank: int) -> bool:
        """Whether one product is faster than three, by the shape and format of a Linear."""
        narrow, wide = sorted((base.out_features, base.in_features))
        return base.codes.dtype in MULTIPLES and wide > narrow and _padded(rank, base.codes.dtype) <= narrow * MOST

    @torch.no_grad()
    def refresh(
        self, downs: Sequence[Tensor], ups: Sequence[Tensor], scales: Sequence[float], *, compiled: bool = False
    ) -> None:
        """Puts the present values of the LoRAs of several layers, whose outputs lie side by side, where the products read them.

        `downs` (rank, in) each, `ups` (out of one, rank) each. `compiled`: in fewer launches.
        """
        row, at = 0, 0
        for down, up, by in zip(downs, ups, scales, strict=True):
            rows, low = slice(row, row + len(up)), slice(at, at + len(down))
            row, at = rows.stop, low.stop
            if self.columns:
                columns = slice(self.in_features + low.start, self.in_features + low.stop)
                if self.scale is None or self.times is None:
                    self._put(rows, columns, up * by)
                else:
                    codes, times = (_compiled() if compiled else _in_fp8)(up, by / self.scale[rows])
                    self._put(rows, columns, codes)
                    self.times[low] = times
            else:
                appended = slice(self.out_features + low.start, self.out_features + low.stop)
                if self.scale is None:
                    self._put(appended, slice(None), down)
                else:
                    codes, self.scale[appended] = quantised(down, "fp8")
                    self._put(appended, slice(None), codes)

    def _put(self, rows: slice, columns: slice, values: Tensor) -> None:
        self.codes[rows, columns] = values.to(self.codes.dtype)
        if self.turned is not None:
            self.turned[columns, rows] = self.codes[rows, columns].t()

    def forward(self, x: Tensor) -> Tensor:
        """x·Wᵀ + bias, without the LoRA."""
        x = x.to(self.dtype)
        codes = self.codes[: self.out_features, : self.in_features]
        scale = None if self.scale is None else self.scale[: self.out_features]
        turned = None if self.turned is None else self.turned[: self.in_features, : self.out_features]
        return product(x, codes, scale, turned, self.bias)

    def changed(self, x: Tensor, down: Tensor, up: Tensor) -> Tensor:
        """x·(W + up·down)ᵀ + bias for x (…, in), by the values of the last `refresh`. `down` (rank, in) and `up` (out, rank), which is
        scaled, have the same values: they are what gets the gradients."""
        x = x.to(self.dtype)
        if x.numel() // x.shape[-1] < FEWEST_ROWS:
            made = self.forward(x)
            return made + F.linear(F.linear(x, down.to(x.dtype)), up.to(x.dtype))
        rows = x.reshape(-1, x.shape[-1])
        more = self.codes.shape[1] - self.in_features if self.columns else self.codes.shape[0] - self.out_features
        padding = more - len(down)
        down, up = F.pad(down.to(x.dtype), (0, 0, 0, padding)), F.pad(up.to(x.dtype), (0, padding))
        if self.columns:
            low = F.linear(rows, down)
            wide = torch.cat([rows, low if self.times is None else low * self.times.to(low.dtype)], 1)
            answer = _with_gradient_for(up, product(wide, self.codes, self.scale, self.turned, self.bias), low)
        else:
            made, low = torch.split_with_sizes(product(rows, self.codes, self.scale, self.turned), [self.out_features, more], 1)
            answer = made + F.linear(_with_gradient_for(down, low, rows), up, self.bias)
        return answer.view(*x.shape[:-1], self.out_features)


class _WithGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, trained: Tensor, made: Tensor, given: Tensor) -> Tensor:  # noqa: ARG004 - for its gradient alone
        ctx.save_for_backward(given)
        return made.view_as(made)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        (given,) = ctx.saved_tensors
        return gradient.t() @ given, gradient, None


def _with_gradient_for(trained: Tensor, made: Tensor, given: Tensor) -> Tensor:
    """`made` (M, n), which is given·trainedᵀ and more, but was computed from a copy of `trained` (n, k). `given` is (M, k)."""
    found: Tensor = _WithGradient.apply(trained, made, given.detach())  # type: ignore[no-untyped-call]  # torch gives it no types
    return found


def _padded(rank: int, dtype: torch.dtype) -> int:
    multiple = MULTIPLES[dtype]
    return -(-rank // multiple) * multiple


def _in_fp8(up: Tensor, by: Tensor) -> tuple[Tensor, Tensor]:
    """The codes of up·by (out, rank), by (out,), over a power of two, and that number."""
    values = up * by[:, None]
    largest = values.abs().amax()
    least = torch.maximum(largest / LARGEST[FP8], (largest / LEAST_CODE).clamp(max=USUAL_TIMES))
    times = torch.exp2(torch.ceil(torch.log2(least))).clamp(min=_LEAST_TIMES)
    return (values / times).to(FP8), times


@functools.cache
def _compiled() -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """`_in_fp8` in two launches; made when it is first needed, for it takes seconds to import."""
    return torch.compile(_in_fp8, dynamic=False)


def _without_tiny_scales(codes: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """The same weight in fp8, with no row's scale far below the others': a row of zeros would leave no room for B."""
    least = scale.clamp(min=float(scale.max()) * FLATTEST)
    return (codes.float() * (scale / least)[:, None]).to(codes.dtype), least
