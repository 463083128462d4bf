"""fp16 without vanishing gradients: the loss is multiplied before the backward pass, and the gradients divided by the same after it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

MOST_IN_A_ROW = 20
"""Attempts at one step, each with half the scale: from the initial 65 536 down to 1/16. Then the scale is not the cause."""


class LossScaling:
    """torch's gradient scaler, and the count of attempts repeated with a smaller scale.

    A step whose gradients leave the range of fp16 is not skipped: its batches are computed again with half the scale, which gives
    the same gradients where they fit. So every planned step is made, and each image is shown as planned. Other formats than fp16
    are not scaled.
    """

    def __init__(self, device: torch.device, dtype: torch.dtype) -> None:
        self.works = dtype == torch.float16
        self._scaler = torch.amp.GradScaler(device.type, enabled=self.works)
        self._in_a_row = 0
        self._before = 1.0
        """The scale of the first attempt at a step that was repeated."""
        self.repeated = 0
        """Discarded attempts of this run."""

    def scaled(self, loss: Tensor) -> Tensor:
        """The loss () to differentiate. The scale is a tensor on the device, so a recorded pass always uses the current one."""
        return self._scaler.scale(loss)

    def unscale(self, optimizer: torch.optim.Optimizer) -> None:
        """Divides the optimizer's gradients: once per attempt, before they are measured and clipped."""
        self._scaler.unscale_(optimizer)

    def is_beyond_range(self, norm: float, loss: float) -> bool:
        """Whether the attempt must be repeated: only the gradients were not finite, and a smaller scale may help."""
        if not self.works or math.isfinite(norm) or not math.isfinite(loss):
            return False
        if self._in_a_row == 0:
            self._before = self.scale
        if self._in_a_row + 1 >= MOST_IN_A_ROW:
            return False
        self._scaler.update()
        self.repeated += 1
        self._in_a_row += 1
        return True

    def stepped(self) -> None:
        """The step was made: after 2000 in a row the scale is doubled."""
        self._in_a_row = 0
        self._scaler.update()

    def left_out(self) -> None:
        """The step was not made, with no scale: the next begins with the scale from before."""
        self._scaler.update(self._before if self._in_a_row else self.scale)
        self._in_a_row = 0

    @property
    def scale(self) -> float:
        """Factor on the loss, read from the device; 1 where nothing is scaled."""
        return float(self._scaler.get_scale())

    def state(self) -> dict[str, Any]:
        """Its state as plain numbers, for a checkpoint; empty where nothing is scaled."""
        return {**self._scaler.state_dict(), "repeated": self.repeated} if self.works else {}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restores what `state` returned. The state of another number format is ignored: the scale starts new."""
        if self.works and state:
            self._scaler.load_state_dict({name: value for name, value in state.items() if name != "repeated"})
            self.repeated = int(state["repeated"])
