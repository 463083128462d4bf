"""The most GPU memory that torch has held in this process, kept where its own counter must be set back."""

from __future__ import annotations

import torch

from loratui.engine.words import GIB


class PeakMemory:
    """Torch has one counter, which measuring a step needs for itself. What it showed before belongs to the run's peak all the same."""

    def __init__(self, device: torch.device) -> None:
        """Begins to count: what an earlier attempt of this process held is not part of this one."""
        self._on_gpu = device.type == "cuda"
        self._before = 0
        if self._on_gpu:
            torch.cuda.reset_peak_memory_stats()

    @property
    def gib(self) -> float | None:
        """The most so far, loading and caching included; None without a GPU."""
        return max(self._before, torch.cuda.max_memory_reserved()) / GIB if self._on_gpu else None

    def measure(self) -> None:
        """Sets torch's counter back, for what comes next."""
        if self._on_gpu:
            self._before = max(self._before, torch.cuda.max_memory_reserved())
            torch.cuda.reset_peak_memory_stats()

    def forget(self) -> None:
        """Sets torch's counter back after an attempt that failed: what it took is not what the run needs."""
        if self._on_gpu:
            torch.cuda.reset_peak_memory_stats()
