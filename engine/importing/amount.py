"""How another trainer counts its optimizer steps, and which image-steps make loratui's come out the same."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Counts = Literal["bucketed", "joined", "dropped", "loop", "rounds"]
"""How an epoch's batches are counted: each bucket rounded up; all images together, in fractions; each bucket rounded down; not at
all, since a total is given; or each bucket rounded up and a step for each whole window of batches over all epochs."""


@dataclass(frozen=True)
class Amount:
    """What a file says of how long is trained."""

    batch: int = 1
    accumulation: int = 1
    processes: int = 1
    repeats: int = 0
    """0: the numbers in the folders' names, or 1."""
    epochs: int = 0
    steps: int = 0
    """Optimizer steps in all; 0: the epochs decide."""
    counts: Counts = "bucketed"
    formula: str = ""
    """In words, with its source."""
    warmup: float = 0.0
    """Optimizer steps of the warm-up, or a share of all below 1."""
    warmup_key: str = ""
    share: float = 1.0
    """Times as many images an epoch as whole repeats give."""

    @property
    def window(self) -> int:
        """Batches behind an optimizer step."""
        return self.accumulation * self.processes

    def total(self, buckets: Sequence[int]) -> int | None:
        """Optimizer steps for image-steps an epoch in each bucket; None where they are needed and unknown."""
        if self.steps:
            return self.steps
        if not self.epochs or not buckets:
            return None
        if self.counts == "joined":
            return math.ceil(sum(buckets) / self.batch / self.accumulation * self.epochs)  # whatever the number of processes
        if self.counts == "dropped":
            return sum(int(n * self.share) // (self.batch * self.processes) for n in buckets) * self.epochs // self.accumulation
        batches = sum(math.ceil(n / self.batch) for n in buckets)
        return math.ceil(batches / self.window) * self.epochs


def image_steps_for(steps: int, buckets: Sequence[int], batch: int, window: int) -> int:
    """Image-steps after which loratui has made exactly so many optimizer steps (`planning.schedule.count_steps`): whole epochs, and
    of the last one full batches first, then the short ones, longest first."""
    batches = sum(math.ceil(n / batch) for n in buckets)
    an_epoch, per_epoch = sum(buckets), math.ceil(batches / window)
    whole, rest = divmod(steps, per_epoch)
    left = min(rest * window, batches)
    full = sum(n // batch for n in buckets)
    short = sorted((n % batch for n in buckets if n % batch), reverse=True)
    return whole * an_epoch + min(left, full) * batch + sum(short[: max(0, left - full)])
