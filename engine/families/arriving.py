"""A part's tensors on their way to the device, while other parts are loaded and compute.

The threads here build no module. accelerate and transformers change torch for the whole process while they build one, so one thread alone
may do that.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import torch
from torch import Tensor

THREADS = 4
"""They move tensors; one alone waits for the disk and for the link in turn."""


class Arriving:
    """Moves the tensors that `read` finds to a device and a number format. Errors are raised where they are asked for."""

    def __init__(self, read: Callable[[], Mapping[str, Tensor]], device: torch.device, dtype: torch.dtype) -> None:
        self._read, self._device, self._dtype = read, device, dtype
        self._ended = threading.Event()
        self._movers = ThreadPoolExecutor(THREADS, "moves-tensors")
        self._reader = ThreadPoolExecutor(1, "reads-tensors")
        self._found: Future[dict[str, Tensor]] | None = self._reader.submit(self._bring)

    def take(self) -> dict[str, Tensor]:
        """All tensors, once they are there. They can be taken once, so nothing here keeps their memory."""
        found, self._found = self._found, None
        assert found is not None, "the tensors are taken once"
        return found.result()

    def end(self) -> None:
        """Moves no further tensors, and waits for those that are moved just now."""
        self._ended.set()
        for pool in (self._movers, self._reader):
            pool.shutdown(cancel_futures=True)

    def _bring(self) -> dict[str, Tensor]:
        read = self._read()
        return dict(zip(read, self._movers.map(self._moved, read.values()), strict=True))

    def _moved(self, value: Tensor) -> Tensor:
        return value if self._ended.is_set() else value.to(self._device, self._dtype)


@contextmanager
def arriving(read: Callable[[], Mapping[str, Tensor]], device: torch.device, dtype: torch.dtype) -> Iterator[Arriving]:
    """The tensors that `read` finds are brought until the block ends."""
    on_their_way = Arriving(read, device, dtype)
    try:
        yield on_their_way
    finally:
        on_their_way.end()
