"""The smoothed loss: the one figure of the loss that lists, dashboard and status show alike."""

from __future__ import annotations

import math

_LARGEST = 1e100
"""Larger losses are taken for this, so that no sum of them is infinite."""


class SmoothedLoss:
    """An exponential moving average of the losses of optimizer steps, without the pull towards 0 at its start.

    The correction is that of Adam's moments (Kingma and Ba, 2015, section 3). The time constant is a fiftieth of the run, and
    at least ten steps. Steps that were not told decay it as the told ones do.
    """

    def __init__(self, steps: float = 20.0) -> None:
        self.steps = steps
        """The time constant, in optimizer steps."""
        self.last_step = 0
        self._sum = 0.0
        self._weight = 0.0

    @property
    def value(self) -> float | None:
        """The smoothed loss now; None before the first finite loss."""
        return self._sum / self._weight if self._weight > 0 else None

    def plan(self, optimizer_steps: int) -> None:
        """Takes the time constant from the length of the run."""
        self.steps = max(10.0, optimizer_steps / 50)

    def go_on_from(self, step: int, value: float | None) -> None:
        """Goes on from what it was after a step."""
        self.last_step = step
        self._sum, self._weight = (value, 1.0) if value is not None else (0.0, 0.0)

    def add(self, step: int, loss: float | None) -> None:
        """Takes in the loss of an optimizer step (from 1); None or a number that is not finite changes nothing but the place."""
        if loss is not None and math.isfinite(loss):
            loss = max(-_LARGEST, min(_LARGEST, loss))
            kept = math.exp(-max(1, step - self.last_step) / self.steps)
            self._sum = self._sum * kept + loss * (1 - kept)
            self._weight = self._weight * kept + (1 - kept)
        self.last_step = max(self.last_step, step)
