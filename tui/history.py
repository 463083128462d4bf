"""What a run's steps add up to over time, in bounded memory: the loss by step, its smoothed course, and the pace."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

LONGEST_SILENCE_S = 10.0
"""A trainer that lives writes at least each 5 s; of a longer gap (a suspended machine, a set clock) no more than this counts."""

_RECENT_STEPS = 30


@dataclass(slots=True)
class Bin:
    """The losses of some neighbouring steps. `count` is 0 where none of them was finite: a gap in the curve."""

    low: float = math.inf
    high: float = -math.inf
    total: float = 0.0
    count: int = 0
    smoothed: float | None = None
    """The smoothed loss after the last step of the bin."""

    @property
    def mean(self) -> float | None:
        """Mean of the finite losses; None in a gap."""
        return self.total / self.count if self.count else None

    def merge(self, later: Bin) -> None:
        """Takes in the bin that follows this one."""
        self.low = min(self.low, later.low)
        self.high = max(self.high, later.high)
        self.total += later.total
        self.count += later.count
        if later.smoothed is not None:
            self.smoothed = later.smoothed


class LossHistory:
    """Loss by optimizer step in at most `capacity` bins of equal width; when they are full, neighbours merge.

    The smoothed loss is an exponential moving average without the pull towards 0 at its start (as Adam corrects
    its moments: Kingma and Ba, 2015, section 3), with a time constant of `smoothing_steps`.
    """

    def __init__(self, capacity: int = 1024, smoothing_steps: float = 20.0) -> None:
        self.capacity = capacity
        self.smoothing_steps = smoothing_steps
        self.bins: list[Bin] = []
        self.steps_per_bin = 1
        self.last_step = 0
        self._sum = 0.0
        self._weight = 0.0

    @property
    def smoothed(self) -> float | None:
        """The smoothed loss now; None before the first finite loss."""
        return self._sum / self._weight if self._weight > 0 else None

    def add(self, step: int, loss: float | None) -> None:
        """Takes in the loss after optimizer step `step` (from 1); None or a number that is not finite leaves a gap."""
        if step < 1:
            return
        place = self._place(step)
        while len(self.bins) <= place:
            self.bins.append(Bin())
        if loss is not None and math.isfinite(loss):
            self._smooth(loss, max(1, step - self.last_step))
            there = self.bins[place]
            there.low, there.high = min(there.low, loss), max(there.high, loss)
            there.total += loss
            there.count += 1
            there.smoothed = self.smoothed
        self.last_step = max(self.last_step, step)

    def drop_after(self, step: int) -> None:
        """Forgets what came after `step`: a resumed trainer makes those steps again."""
        if step >= self.last_step:
            return
        keep = -(-step // self.steps_per_bin)
        del self.bins[keep:]
        self.last_step = step
        before = next((b.smoothed for b in reversed(self.bins) if b.smoothed is not None), None)
        self._sum, self._weight = (before, 1.0) if before is not None else (0.0, 0.0)

    def _place(self, step: int) -> int:
        while (place := (step - 1) // self.steps_per_bin) >= self.capacity:
            self._halve()
        return place

    def _halve(self) -> None:
        self.steps_per_bin *= 2
        merged = self.bins[::2]
        for at, later in enumerate(self.bins[1::2]):
            merged[at].merge(later)
        self.bins = merged

    def _smooth(self, loss: float, steps: int) -> None:
        kept = math.exp(-steps / self.smoothing_steps)
        self._sum = self._sum * kept + loss * (1 - kept)
        self._weight = self._weight * kept + (1 - kept)


class Pace:
    """How fast steps are made, and how long the rest takes.

    The rate is that of the steps alone. The time left also counts what lies between steps (samples, checkpoints) at
    its share so far, and neither knows of pauses: `restart` begins a new count.
    """

    def __init__(self) -> None:
        self._recent: deque[float] = deque(maxlen=_RECENT_STEPS)
        self.restart()

    def restart(self) -> None:
        """A trainer starts: the time before it belongs to nothing. The rate is kept until there is a new one."""
        self._last_ts: float | None = None
        self._first_step = 0
        self._last_step = 0
        self._between_s = 0.0
        self._pending_s = 0.0

    def tick(self, ts: float) -> None:
        """Any event: the time since the one before it passed while the trainer worked."""
        if self._last_ts is not None:
            self._pending_s += min(max(0.0, ts - self._last_ts), LONGEST_SILENCE_S)
        self._last_ts = ts

    def step(self, step: int, step_s: float | None) -> None:
        """An optimizer step that took `step_s` seconds; steps that were not written took as long."""
        if step_s is not None and math.isfinite(step_s) and step_s > 0:
            self._recent.append(step_s)
        if self._last_step and step > self._last_step and self._recent:
            spent = (step - self._last_step) * self._recent[-1]
            self._between_s += max(0.0, self._pending_s - spent)
        else:
            self._first_step = step
        self._pending_s = 0.0
        self._last_step = max(step, 1)

    @property
    def step_s(self) -> float | None:
        """Mean seconds of the last steps."""
        return sum(self._recent) / len(self._recent) if self._recent else None

    @property
    def steps_per_s(self) -> float | None:
        """Optimizer steps a second, of the last steps."""
        return 1.0 / self.step_s if self.step_s else None

    def seconds_left(self, steps: int) -> float | None:
        """Seconds that so many more steps take; None before the first step."""
        if self.step_s is None:
            return None
        made = self._last_step - self._first_step
        between_s = self._between_s / made if made > 0 else 0.0
        return max(0, steps) * (self.step_s + between_s)
