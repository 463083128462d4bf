"""fp16 without vanishing gradients: the loss is multiplied before the backward pass, and the gradients divided by the same after it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from loratui.engine.errors import NotFiniteError

MOST_IN_A_ROW = 20
"""Attempts at one step, each with half the scale: from the 65 536 that it begins with down to 1/16. Then it is no matter of scale."""


class LossScaling:
    """torch's gradient scaler, and the count of steps that had to be made again with a smaller scale.

    A step whose gradients leave the range of fp16 is not left out: its batches are computed again with half the scale, which gives the
    same gradients where they fit. So every planned step is made, and an image is seen as often as planned. In other formats than
    fp16 nothing is scaled.
    """

    def __init__(self, device: torch.device, dtype: torch.dtype) -> None:
        self.works = dtype == torch.float16
        self._scaler = torch.amp.GradScaler(device.type, enabled=self.works)
        self._in_a_row = 0
        self.repeated = 0
        """Attempts of this run that were thrown away."""

    def scaled(self, loss: Tensor) -> Tensor:
        """The loss () to take gradients of. The scale is a tensor on the device, so that a recorded pass always has the one of now."""
        return self._scaler.scale(loss)

    def unscale(self, optimizer: torch.optim.Optimizer) -> None:
        """Divides the gradients that the optimizer steps over: once for each attempt, before they are measured and clipped."""
        self._scaler.unscale_(optimizer)

    def is_beyond_range(self, norm: float, loss: float) -> bool:
        """Whether the attempt is to be thrown away and made again: the gradients alone were not finite, and a smaller scale helps."""
        if not self.works or math.isfinite(norm) or not math.isfinite(loss):
            return False
        self._scaler.update()
        self.repeated += 1
        self._in_a_row += 1
        if self._in_a_row >= MOST_IN_A_ROW:
            raise NotFiniteError(
                f"The gradients left the range of fp16 {MOST_IN_A_ROW} times in a row, the last time with a loss scale of {self.scale:g}; "
                "the step was not made.",
                "Set training.precision to fp32, or lower the learning rate, and start anew; the last checkpoint and the LoRA files are good.",
            )
        return True

    def stepped(self) -> None:
        """The step was made: after 2000 in a row the scale is doubled."""
        self._in_a_row = 0
        self._scaler.update()

    @property
    def scale(self) -> float:
        """What the loss is multiplied with; asks the device. 1 where nothing is scaled."""
        return float(self._scaler.get_scale())

    def state(self) -> dict[str, Any]:
        """All of it as plain numbers, for a checkpoint; empty where nothing is scaled."""
        return {**self._scaler.state_dict(), "repeated": self.repeated} if self.works else {}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Goes on from what `state` gave. One of another number format is left aside: the scale is found anew."""
        if self.works and state:
            self._scaler.load_state_dict({name: value for name, value in state.items() if name != "repeated"})
            self.repeated = int(state["repeated"])
