"""The speed of a run and the time left: an estimate that follows real changes and ignores jitter."""

from __future__ import annotations

import math
import statistics
from collections import deque
from dataclasses import dataclass, field

LONGEST_SILENCE_S = 10.0
"""A live trainer writes at least every 5 s; of a longer gap (a suspended machine, a stopped trainer) only this much counts."""

_RECENT_STEPS = 120
_SHOWN_STEPS = 30
_OUTLIER = 5.0
"""A step counts as at most this many medians: a long step (a suspended trainer) says nothing about the next."""
_FEWEST_STEPS = 10
_FEWEST_S = 8.0
_SETTLED = 0.15
"""The estimate is sure while its newest value is within this share of the smoothed value."""

_NO_TIME_S = 1e9
"""No step takes that long, whatever a log says, and sums of such figures overflow."""


@dataclass(frozen=True, slots=True)
class TimeLeft:
    """An estimate of the time left."""

    seconds: float
    sure: bool
    """Whether it rests on enough steps and no longer moves."""


@dataclass(slots=True)
class StepTimes:
    """The mean time of the last steps, each cut at some multiple of their median, in constant work per step."""

    times: deque[float] = field(default_factory=lambda: deque(maxlen=_RECENT_STEPS))
    total: float = 0.0
    most: float = math.inf
    until_median: int = 0

    def add(self, step_s: float) -> None:
        """Takes in the seconds of a step, above 0."""
        if self.until_median <= 0 or len(self.times) < _FEWEST_STEPS:
            self._update_median(step_s)
        self.until_median -= 1
        kept = min(step_s, self.most)
        self.total += kept - (self.times[0] if len(self.times) == _RECENT_STEPS else 0.0)
        self.times.append(kept)

    @property
    def last(self) -> float:
        """Seconds of the last step; 0 before the first."""
        return self.times[-1] if self.times else 0.0

    @property
    def mean(self) -> float | None:
        """Mean seconds of the last steps; None before the first."""
        return max(self.total, 0.0) / len(self.times) if self.times else None

    def _update_median(self, newest: float) -> None:
        self.until_median = _SHOWN_STEPS // 2
        self.most = _OUTLIER * statistics.median([*self.times, newest])
        # A first step that loads and compiles is long; the steps after it cut it.
        self.times = deque((min(time, self.most) for time in self.times), _RECENT_STEPS)
        self.total = math.fsum(self.times)


@dataclass(slots=True)
class _OfTrainer:
    """What was counted since the present trainer started."""

    first_step: int = 0
    last_step: int = 0
    between_s: float = 0.0
    """Time between its steps: samples, checkpoints."""
    pending_s: float = 0.0
    """Time since its last step."""
    share_s: float | None = None
    """Mean time between two steps, over the finished epochs."""
    epoch_over: bool = False
    steps: int = 0
    steps_s: float = 0.0
    clock_s: float = 0.0
    """Time of its steps; `end_s` is a time of this clock."""
    end_s: float | None = None
    left_s: float | None = None
    goal: int | None = None
    """The step with which the run ends, as far as known."""


@dataclass(slots=True)
class EtaEstimator:
    """Counts working time by the times of the events (`Event.at`), without the pauses between two trainers.

    The time left is the steps at their mean time, plus the time between steps (samples, checkpoints), measured over whole
    epochs so that it does not rise and fall within each. The predicted end is low-passed, so it does not jump.
    The fields are part of `state.json`, so a restarted trainer goes on counting.
    """

    worked_s: float = 0.0
    """Working time of all trainers of the run, seconds."""
    last_ts: float | None = None
    times: StepTimes = field(default_factory=StepTimes)
    shown: deque[float] = field(default_factory=lambda: deque(maxlen=_SHOWN_STEPS))
    trainer: _OfTrainer = field(default_factory=_OfTrainer)

    def restart(self, ts: float) -> None:
        """A trainer starts at `ts`: the time before it does not count. The rate is kept until there is a new one."""
        self.trainer, self.last_ts = _OfTrainer(), ts

    def tick(self, ts: float, longest_s: float = LONGEST_SILENCE_S, *, waited: bool = False) -> None:
        """Any event: the trainer worked since the event before it; a gap counts as at most `longest_s`. Time in which it `waited` is
        paid for, but says nothing about the time left."""
        if self.last_ts is not None:
            passed = min(max(0.0, ts - self.last_ts), longest_s)
            self.trainer.pending_s += 0.0 if waited else passed
            self.worked_s += passed
        self.last_ts = ts

    def step(self, step: int, step_s: float | None, steps_left: int) -> None:
        """An optimizer step of `step_s` seconds; steps missing from the log count as much."""
        now = self.trainer
        if step_s is not None and 0 < step_s < _NO_TIME_S:
            self.times.add(step_s)
            self.shown.append(step_s)
        if now.last_step and step > now.last_step and self.shown:
            made = step - now.last_step
            now.between_s += max(0.0, now.pending_s - made * self.times.last)
            now.steps += made
            now.steps_s += now.pending_s
            if now.epoch_over and step > now.first_step:
                now.share_s = now.between_s / (step - now.first_step)
                now.epoch_over = False
        else:
            now.first_step = step
        passed_s = max(now.pending_s, max(1, step - now.last_step) * (self.times.mean or 0.0))
        self._settle(step + steps_left, steps_left, passed_s)
        now.pending_s = 0.0
        now.last_step = max(step, 1)

    def end_epoch(self) -> None:
        """An epoch is over: the next step completes the time between its steps."""
        self.trainer.epoch_over = True

    @property
    def step_s(self) -> float | None:
        """Mean seconds of the last steps, with outliers cut."""
        if not self.shown:
            return None
        most = _OUTLIER * statistics.median(self.shown)
        return sum(min(value, most) for value in self.shown) / len(self.shown)

    @property
    def steps_per_s(self) -> float | None:
        """Optimizer steps a second, of the last steps."""
        return 1.0 / self.step_s if self.step_s else None

    def time_left(self) -> TimeLeft | None:
        """The estimate after the last step; None before the first."""
        now = self.trainer
        if now.left_s is None or now.end_s is None:
            return None
        seconds = max(0.0, now.end_s - now.clock_s) if now.left_s else 0.0
        enough = now.steps >= _FEWEST_STEPS and now.steps_s >= _FEWEST_S
        moving = abs(seconds - now.left_s) > _SETTLED * max(seconds, now.left_s, 20.0)
        return TimeLeft(seconds, enough and not moving)

    def _settle(self, goal: int, steps_left: int, passed_s: float) -> None:
        """Lets the predicted end follow the newest prediction; the nearer the end, the more quickly."""
        now, mean = self.trainer, self.times.mean
        now.clock_s += passed_s
        if mean is None:
            return
        made = now.last_step - now.first_step
        share = now.share_s if now.share_s is not None else now.between_s / made if made > 0 else 0.0
        now.left_s = max(0, steps_left) * (mean + share)
        newest = now.clock_s + now.left_s
        # If a person moves the end, the estimate jumps: that is no drift to smooth.
        another_end, now.goal = goal != now.goal, goal
        if now.end_s is None or another_end or now.steps < _FEWEST_STEPS:
            now.end_s = newest
            return
        lag_s = min(60.0, max(2.0, now.left_s / 10))
        taken = 1.0 - math.exp(-passed_s / lag_s)
        now.end_s += taken * (newest - now.end_s)
