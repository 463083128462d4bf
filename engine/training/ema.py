"""The average over the steps from which samples and files are made, where they do not use the trained values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from loratui.engine.errors import UsageError
from loratui.engine.machine.gpu_faults import is_gpu_lost

WARM_UP = 10
"""The average follows the first steps faster: its decay at step t is at most (1 + t) / (10 + t)."""


class EMA:
    """Keeps the moving average of the trained values, or uses that of a schedule-free optimizer."""

    def __init__(self, parameters: Mapping[str, nn.Parameter], optimizer: torch.optim.Optimizer, decay: float) -> None:
        """`decay` 0: no own average."""
        self._parameters = dict(parameters)
        self._optimizer = optimizer
        self._decay = decay
        self._average = {name: value.detach().clone() for name, value in parameters.items()} if decay else {}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Adds the values after optimizer step `step` (from 1): a ← d·a + (1 − d)·w."""
        decay = min(self._decay, (1 + step) / (WARM_UP + step))
        if self._average:
            torch._foreach_lerp_(list(self._average.values()), [self._parameters[name] for name in self._average], 1 - decay)

    @contextmanager
    def swapped_in(self) -> Iterator[None]:
        """Within the block the parameters hold the averaged values; afterwards the trained ones, bit for bit."""
        if not self.differs:
            yield
            return
        trained = {name: value.detach().clone() for name, value in self._parameters.items()}
        lost = False
        try:
            if self._schedule_free:
                self._optimizer.eval()  # type: ignore[attr-defined]  # such optimizers have it
            with torch.no_grad():
                for name, average in self._average.items():
                    self._parameters[name].copy_(average)
            yield
        except Exception as error:
            lost = is_gpu_lost(error)  # a further call may never return, and nothing on it is saved
            raise
        finally:
            # Copied back: the optimizer's own way back loses bits, and sampling must not change the training.
            with torch.no_grad():
                for name, value in trained.items() if not lost else ():
                    self._parameters[name].copy_(value)
            for group in self._optimizer.param_groups if self._schedule_free else ():
                group["train_mode"] = True

    @property
    def differs(self) -> bool:
        """Whether the shipped values are not the trained ones."""
        return bool(self._average) or self._schedule_free

    @property
    def _schedule_free(self) -> bool:
        return "train_mode" in self._optimizer.param_groups[0]

    def shipped(self) -> dict[str, Tensor]:
        """A copy on the CPU, by parameter, of the values that leave the run."""
        with self.swapped_in():
            return {name: value.detach().to("cpu", copy=True) for name, value in self._parameters.items()}

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Restores what `shipped` returned, if an own average is kept. Raises `UsageError` if it belongs to other layers."""
        if not self._average:  # a schedule-free optimizer's follows from its own state
            return
        if tensors.keys() != self._average.keys():
            raise UsageError("The checkpoint's moving average belongs to other layers.", "Start a new run.")
        for name, value in tensors.items():
            self._average[name].copy_(value)
