"""Optimizer steps that nobody waits for: the GPU itself leaves out steps that are not finite, and their figures are read later."""

from __future__ import annotations

import torch
from torch import Tensor

from loratui.engine.training.not_finite import MOST_IN_A_ROW


class Reading:
    """Values on their way from the device."""

    def __init__(self, values: Tensor) -> None:
        """`values` (n,) on any device."""
        self._event = torch.cuda.Event() if values.is_cuda else None  # type: ignore[no-untyped-call]  # torch gives it no types
        self._host = values.detach()
        if self._event is not None:
            self._host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True).copy_(values, non_blocking=True)
            self._event.record()

    def values(self) -> list[float]:
        """Waits for the values."""
        if self._event is not None:
            self._event.synchronize()
        found: list[float] = self._host.tolist()
        return found


class GuardedStep:
    """Makes the steps of an optimizer but those whose figures are not finite; after too many in a row it makes none."""

    @staticmethod
    def suits(optimizer: torch.optim.Optimizer) -> bool:
        """Whether the optimizer can leave out a step by a value on the device: torch's fused kernels can."""
        return isinstance(optimizer, torch.optim.AdamW) and bool(optimizer.param_groups[0]["fused"])

    def __init__(self, optimizer: torch.optim.Optimizer, device: torch.device) -> None:
        self._optimizer = optimizer
        self._left_out = torch.zeros((), device=device)
        """() 1 for a step that is left out."""
        self._in_a_row = torch.zeros((), device=device)
        """() How many were left out since the last that was made."""
        optimizer.found_inf = self._left_out  # type: ignore[attr-defined]  # where torch's GradScaler puts it

    def step(self, figures: Tensor) -> Reading:
        """Makes the step if its figures (n,) are finite."""
        broken = torch.isfinite(figures).all().logical_not()
        over = self._in_a_row > MOST_IN_A_ROW
        self._left_out.copy_(broken | over)
        self._in_a_row.copy_((self._in_a_row + 1) * self._left_out)
        self._optimizer.step()
        return Reading(figures)
