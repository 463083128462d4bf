"""How fast steps are made and how long the rest takes: an estimate that follows what changes and ignores what only jitters."""

from __future__ import annotations

import math
import statistics
from collections import deque
from dataclasses import dataclass

LONGEST_SILENCE_S = 10.0
"""A trainer that lives writes at least each 5 s; of a longer gap (a suspended machine, a set clock) no more than this counts."""

_RECENT_STEPS = 120
_SHOWN_STEPS = 30
_OUTLIER = 5.0
"""A step counts at most so many times the median: one long one (a suspended trainer) says nothing of the next."""
_FEWEST_STEPS = 10
_FEWEST_S = 8.0
_SETTLED = 0.15
"""The estimate is sure while its newest value differs from the settled one by no more than this share."""


@dataclass(frozen=True, slots=True)
class TimeLeft:
    """An estimate of what is left."""

    seconds: float
    sure: bool
    """Whether it rests on enough steps and does not move any more."""


class StepTimes:
    """The mean time of the last steps, with each cut at some times their median; constant work for each."""

    def __init__(self) -> None:
        self._times: deque[float] = deque()
        self._sum = 0.0
        self._most = math.inf
        self._until_median = 0

    def add(self, step_s: float) -> None:
        """A step that took so long, seconds, above 0."""
        if self._until_median <= 0 or len(self._times) < _FEWEST_STEPS:
            self._look_at_the_median(step_s)
        self._until_median -= 1
        kept = min(step_s, self._most)
        self._times.append(kept)
        self._sum += kept
        if len(self._times) > _RECENT_STEPS:
            self._sum -= self._times.popleft()

    @property
    def last(self) -> float:
        """The last step's; only once there is one."""
        return self._times[-1]

    @property
    def mean(self) -> float | None:
        """Over the last steps; None before the first."""
        return max(self._sum, 0.0) / len(self._times) if self._times else None

    def _look_at_the_median(self, newest: float) -> None:
        self._until_median = _SHOWN_STEPS // 2
        self._most = _OUTLIER * statistics.median([*self._times, newest])
        # A first step that loads and compiles is long; it is cut as soon as the others show it.
        self._times = deque(min(time, self._most) for time in self._times)
        self._sum = math.fsum(self._times)


class EtaEstimator:
    """Counts working time by the times of the events; pauses between two trainers belong to nothing.

    The time left is steps at their mean time, plus what lies between steps (samples, checkpoints) at its share, measured
    over whole epochs so that it does not rise and fall within each; and its end is low-passed, so that it does not jump.
    """

    def __init__(self, worked_s: float = 0.0) -> None:
        self._times = StepTimes()
        self._shown: deque[float] = deque(maxlen=_SHOWN_STEPS)
        self.worked_s = worked_s
        """Working time of all trainers of the run, seconds."""
        self._last_ts: float | None = None
        self._restart_counts()

    def restart(self, ts: float) -> None:
        """A trainer starts at `ts`: the time before it belongs to nothing. The rate is kept until there is a new one."""
        self._restart_counts()
        self._last_ts = ts

    def _restart_counts(self) -> None:
        self._first_step = self._last_step = 0
        self._between_s = 0.0
        self._pending_s = 0.0
        self._share_s: float | None = None
        self._epoch_over = False
        self._steps = 0
        self._steps_s = 0.0
        self._clock_s = 0.0
        """Time of this trainer's steps; the predicted end is a time of this clock."""
        self._end_s: float | None = None
        self._left_s: float | None = None
        self._goal: int | None = None
        """The step with which the run ends, as far as it is known."""

    def tick(self, ts: float, longest_s: float = LONGEST_SILENCE_S) -> None:
        """Any event: the time since the one before it passed while the trainer worked, of a gap at most `longest_s`."""
        if self._last_ts is not None:
            passed = min(max(0.0, ts - self._last_ts), longest_s)
            self._pending_s += passed
            self.worked_s += passed
        self._last_ts = ts

    def step(self, step: int, step_s: float | None, steps_left: int) -> None:
        """An optimizer step that took `step_s` seconds; steps that were not written took as long."""
        if step_s is not None and math.isfinite(step_s) and step_s > 0:
            self._times.add(step_s)
            self._shown.append(step_s)
        if self._last_step and step > self._last_step and self._shown:
            made = step - self._last_step
            self._between_s += max(0.0, self._pending_s - made * self._times.last)
            self._steps += made
            self._steps_s += self._pending_s
            if self._epoch_over:
                self._share_s = self._between_s / (step - self._first_step)
                self._epoch_over = False
        else:
            self._first_step = step
        self._settle(
            step + steps_left, steps_left, max(self._pending_s, max(1, step - self._last_step) * (self._times.mean or 0.0))
        )
        self._pending_s = 0.0
        self._last_step = max(step, 1)

    def end_epoch(self) -> None:
        """An epoch is over: with the next step, what lies between its steps is known in full."""
        self._epoch_over = True

    @property
    def step_s(self) -> float | None:
        """Mean seconds of the last steps, outliers cut."""
        if not self._shown:
            return None
        most = _OUTLIER * statistics.median(self._shown)
        return sum(min(value, most) for value in self._shown) / len(self._shown)

    @property
    def steps_per_s(self) -> float | None:
        """Optimizer steps a second, of the last steps."""
        return 1.0 / self.step_s if self.step_s else None

    def time_left(self) -> TimeLeft | None:
        """The estimate after the last step; None before the first."""
        if self._left_s is None or self._end_s is None:
            return None
        seconds = max(0.0, self._end_s - self._clock_s) if self._left_s else 0.0
        enough = self._steps >= _FEWEST_STEPS and self._steps_s >= _FEWEST_S
        moving = abs(seconds - self._left_s) > _SETTLED * max(seconds, self._left_s, 20.0)
        return TimeLeft(seconds, enough and not moving)

    def _settle(self, goal: int, steps_left: int, passed_s: float) -> None:
        """Lets the predicted end follow the newest prediction; the nearer the end, the more quickly."""
        self._clock_s += passed_s
        mean = self._times.mean
        if mean is None:
            return
        made = self._last_step - self._first_step
        share = self._share_s if self._share_s is not None else self._between_s / made if made > 0 else 0.0
        self._left_s = max(0, steps_left) * (mean + share)
        newest = self._clock_s + self._left_s
        # A person wants it to end sooner, or later after all: that is no drift to be smoothed.
        another_end, self._goal = goal != self._goal, goal
        if self._end_s is None or another_end or self._steps < _FEWEST_STEPS:
            self._end_s = newest
            return
        lag_s = min(60.0, max(2.0, self._left_s / 10))
        taken = 1.0 - math.exp(-passed_s / lag_s)
        self._end_s += taken * (newest - self._end_s)
