"""The smoothed loss: the one figure of the loss that lists, dashboard and status show alike."""

from __future__ import annotations

import math
from dataclasses import dataclass

LARGEST = 1e100
"""Larger figures count as this, so no sum of them is infinite and every range can be drawn."""


@dataclass(slots=True)
class SmoothedLoss:
    """An exponential moving average of the losses of optimizer steps, without the pull towards 0 at its start.

    The correction is that of Adam's moments (Kingma and Ba, 2015, section 3). The time constant is a fiftieth of the run, and
    at least ten steps. Steps that were not told decay it as the told ones do.
    """

    last_step: int = 0
    total: float = 0.0
    weight: float = 0.0

    @property
    def value(self) -> float | None:
        """The smoothed loss now; None before the first finite loss."""
        return self.total / self.weight if self.weight > 0 else None

    def add(self, step: int, loss: float | None, optimizer_steps: int) -> None:
        """Takes in the loss of optimizer step `step` (from 1) of a run of `optimizer_steps`; None or a number that is not
        finite changes nothing but the place."""
        if loss is not None and math.isfinite(loss):
            loss = max(-LARGEST, min(LARGEST, loss))
            kept = math.exp(-max(1, step - self.last_step) / max(10.0, optimizer_steps / 50))
            self.total = self.total * kept + loss * (1 - kept)
            self.weight = self.weight * kept + (1 - kept)
        self.last_step = max(self.last_step, step)
