"""Finds what is unusual in the losses of a run: a single step far beyond all others, and a loss that rises to stay.

The loss of one diffusion step says little: by the noise level alone it varies a hundredfold. So both rules work on logarithms, with
medians, against the scatter of this very run, and are silent until they know it.
"""

from __future__ import annotations

import math
import statistics
from collections import deque
from dataclasses import dataclass
from typing import Literal

SETTLED_STEPS = 200
"""No step is a spike before so many were seen, and before every image was."""
SPIKE_SCATTERS = 6.0
"""A spike is so many scatters above the median,"""
SPIKE_TIMES = 3.0
"""and so many times the largest loss before it."""
LOOKS_STEPS = (50, 400)
"""The median of so many steps is one look at where the loss stands: the short one is quick, the long one sees less."""
BLOCKS_IN_A_ROW = 2
"""So many looks must agree that it has risen."""
RISE_ERRORS = 6.0
"""A rise is so many standard errors of a look above the lowest that the loss was,"""
RISE_TIMES = 1.5
"""and at least so many times that."""
_REFERENCE_BLOCKS = 3
_MOST_SPIKES = 20
_SPIKES_APART = 50
_AGAIN_TIMES = 2.0
"""A loss that diverges is told again when it is so many times what was told."""
_LEAST = 1e-30


@dataclass(frozen=True, slots=True)
class Unusual:
    """Something in the loss that a person should look at."""

    kind: Literal["spike", "divergence"]
    step: int
    loss: float
    """Of the step; the median of the last ones where it diverges."""
    usual: float
    """What it was before."""
    steps: int
    """How many steps this is said of."""


class LossWatch:
    """Takes in the losses of one trainer's steps."""

    def __init__(self, steps_per_epoch: int = 0) -> None:
        self._settled = max(SETTLED_STEPS, steps_per_epoch)
        self._seen = 0
        self._largest = self._told = -math.inf
        self._last: deque[float] = deque(maxlen=SETTLED_STEPS)
        self._spikes: deque[int] = deque(maxlen=_MOST_SPIKES)
        self._looks = [_Look(steps) for steps in LOOKS_STEPS]

    def add(self, step: int, loss: float) -> Unusual | None:
        """Takes in the finite loss of a step, and says what is unusual about it."""
        value = math.log(max(loss, _LEAST))
        found = self._spike(step, value)
        self._seen += 1
        self._largest = max(self._largest, value)
        self._last.append(value)
        for look in self._looks:
            risen = look.add(value)
            if risen and risen.median > self._told + math.log(_AGAIN_TIMES):
                self._told = risen.median
                found = Unusual("divergence", step, math.exp(risen.median), math.exp(risen.lowest), risen.steps)
        return found

    def _spike(self, step: int, value: float) -> Unusual | None:
        if self._seen < self._settled or value <= self._largest + math.log(SPIKE_TIMES):
            return None
        usual, scatter = _centre_of(self._last)
        enough = len(self._spikes) < _MOST_SPIKES and (not self._spikes or step - self._spikes[-1] >= _SPIKES_APART)
        if value <= usual + SPIKE_SCATTERS * scatter or not enough:
            return None
        self._spikes.append(step)
        return Unusual("spike", step, math.exp(value), math.exp(usual), 1)


@dataclass(frozen=True, slots=True)
class _Risen:
    """A loss that has risen to stay, in logarithms."""

    median: float
    lowest: float
    steps: int


class _Look:
    """Where the loss stands, by the medians of blocks of so many steps."""

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._block: list[float] = []
        self._medians: deque[float] = deque(maxlen=_REFERENCE_BLOCKS)
        self._scatters: deque[float] = deque(maxlen=20)
        self._lowest = math.inf
        self._risen = 0

    def add(self, value: float) -> _Risen | None:
        """Takes in the logarithm of a loss; says at the end of a block if it has risen."""
        self._block.append(value)
        if len(self._block) < self._steps:
            return None
        median, scatter = _centre_of(self._block)
        self._block = []
        error = 1.2533 * statistics.median([*self._scatters, scatter]) / math.sqrt(self._steps)
        rise = max(math.log(RISE_TIMES), RISE_ERRORS * error)
        self._risen = self._risen + 1 if median > self._lowest + rise else 0
        if self._risen:
            return _Risen(median, self._lowest, self._risen * self._steps) if self._risen >= BLOCKS_IN_A_ROW else None
        self._scatters.append(scatter)
        self._medians.append(median)
        if len(self._medians) == _REFERENCE_BLOCKS:
            self._lowest = min(self._lowest, statistics.fmean(self._medians))
        return None


def _centre_of(values: deque[float] | list[float]) -> tuple[float, float]:
    """Median, and the scatter around it as a standard deviation, by the median distance."""
    median = statistics.median(values)
    return median, 1.4826 * statistics.median(abs(value - median) for value in values)
