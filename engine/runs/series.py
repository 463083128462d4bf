"""Curves of a run in bounded memory: figures by optimizer step, of which neighbours merge when there are too many."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from loratui.engine.runs.smoothing import LARGEST


@dataclass(slots=True)
class Bin:
    """The values of some neighbouring steps. `count` is 0 where none of them was finite: a gap in the curve."""

    total: float = 0.0
    count: int = 0
    smoothed: float | None = None
    """The smoothed value after the last step of the bin; None in curves without one."""

    @property
    def mean(self) -> float | None:
        """Mean of the finite values; None in a gap."""
        return self.total / self.count if self.count else None

    def take(self, value: float, smoothed: float | None) -> None:
        """Takes in one more step."""
        self.total += value
        self.count += 1
        self.smoothed = smoothed

    def merge(self, later: Bin) -> None:
        """Takes in the bin that follows this one."""
        self.total += later.total
        self.count += later.count
        if later.smoothed is not None:
            self.smoothed = later.smoothed


def merged(parts: Iterable[Bin]) -> Bin:
    """One bin for several that follow each other."""
    whole = Bin()
    for part in parts:
        whole.merge(part)
    return whole


class Series:
    """A figure by optimizer step in at most `capacity` bins of equal width; when they are full, neighbours merge."""

    def __init__(self, capacity: int = 1024) -> None:
        self.capacity = capacity
        self.bins: list[Bin] = []
        self.steps_per_bin = 1
        self.last_step = 0

    def at(self, step: int) -> Bin | None:
        """The bin of a step (from 1), or the nearest one before it that is no gap."""
        place = min((max(1, step) - 1) // self.steps_per_bin, len(self.bins) - 1)
        return next((self.bins[at] for at in range(place, -1, -1) if self.bins[at].count), None)

    def add(self, step: int, value: float | None, smoothed: float | None = None) -> None:
        """Takes in the value of optimizer step `step` (from 1); None or a number that is not finite leaves a gap."""
        if step < 1:
            return
        place = self._place(step)
        while len(self.bins) <= place:
            self.bins.append(Bin())
        if value is not None and math.isfinite(value):
            self.bins[place].take(max(-LARGEST, min(LARGEST, value)), smoothed)
        self.last_step = max(self.last_step, step)

    def drop_after(self, step: int) -> None:
        """Forgets what came after `step`: a resumed trainer makes those steps again."""
        if step < self.last_step:
            del self.bins[-(-step // self.steps_per_bin) :]
            self.last_step = step

    def _place(self, step: int) -> int:
        while (place := (step - 1) // self.steps_per_bin) >= self.capacity:
            self.steps_per_bin *= 2
            kept = self.bins[::2]
            for at, later in enumerate(self.bins[1::2]):
                kept[at].merge(later)
            self.bins = kept
        return place
