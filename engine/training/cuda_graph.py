"""Forward and backward passes recorded as CUDA graphs and replayed: the GPU is given a whole pass at once and never waits for Python."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from loratui.engine.machine.gpu_faults import is_gpu_lost, is_out_of_memory
from loratui.engine.training.diffusion_loss import TrainingBatch
from loratui.engine.training.reporting import Reporter

EAGER = 2
"""Passes over a shape before it is recorded: they choose kernels, compile, and load what must not be loaded while recording."""
MOST = 32
"""Shapes that are recorded; each graph keeps its list of some ten thousand kernels."""

_NO_ROOM = "there is too little memory"

Compute = Callable[[TrainingBatch], Tensor]
"""Adds the gradients of a batch to those that are there, and returns its (B,) losses without gradients."""

Shape = tuple[tuple[str, tuple[int, ...], torch.dtype], ...]


class CudaGraphStep:
    """A `Compute` that does the same as the one it is given.

    Where it is `wanted`, a batch whose tensors have shapes that came before is computed by replaying a recording. That needs a
    computation without dropout, whose every input is in the batch and whose every output has a fixed place. All recordings
    share their memory, which is as much as one pass needs; what they return must be used before the next call.
    """

    def __init__(self, compute: Compute, report: Reporter, *, wanted: bool) -> None:
        self._compute, self._report = compute, report
        self.wanted = wanted
        self._met: Counter[Shape] = Counter()
        self._recordings: dict[Shape, _Recording] = {}

    def __call__(self, batch: TrainingBatch) -> Tensor:
        if not self.wanted:
            return self._compute(batch)
        shape = _shape(batch)
        if shape not in self._recordings:
            self._met[shape] += 1
            if self._met[shape] <= EAGER or len(self._recordings) >= MOST or not self._record(shape, batch):
                return self._launch(batch)
        return self._recordings[shape].replay(batch)

    @property
    def any(self) -> bool:
        """Whether something is recorded."""
        return bool(self._recordings)

    def forget(self) -> None:
        """Gives the memory of all recordings back; they are made again when their shapes come again."""
        self._met.clear()
        if self._recordings:
            self._recordings.clear()
            torch.cuda.empty_cache()

    def _launch(self, batch: TrainingBatch) -> Tensor:
        """As it would be without recordings, which give way if their memory is needed: a shape that comes late needs its own."""
        try:
            return self._compute(batch)
        except Exception as error:
            if not (self._recordings and is_out_of_memory(error)):
                raise
        # Not within the handler: the error holds on to all that the failed pass had made. It had added no gradient yet.
        self._stop(_NO_ROOM)
        return self._compute(batch)

    def _record(self, shape: Shape, batch: TrainingBatch) -> bool:
        """Records the pass over `batch`, without computing anything; False, with a warning, if it cannot be done here."""
        before = next(iter(self._recordings.values()), None)
        try:
            self._recordings[shape] = _Recording.of(self._compute, batch, before)
        except Exception as error:
            if is_gpu_lost(error):
                raise
            self._stop(_NO_ROOM if is_out_of_memory(error) else _first_line(error))
            return False
        return True

    def _stop(self, reason: str) -> None:
        self.wanted = False
        self.forget()
        self._report.warn("not_recorded", reason=reason)


@dataclass(frozen=True)
class _Recording:
    graph: torch.cuda.CUDAGraph
    inputs: dict[str, Tensor]
    """Where the recorded kernels look for the batch."""
    losses: Tensor
    """Where they leave its losses."""

    @classmethod
    def of(cls, compute: Compute, batch: TrainingBatch, before: _Recording | None) -> _Recording:
        """A recording in the memory of the one `before`."""
        inputs = {name: value.detach().clone() for name, value in batch.tensors().items()}
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=None if before is None else before.graph.pool()):
            losses = compute(batch.with_tensors(inputs))
        return cls(graph, inputs, losses)

    def replay(self, batch: TrainingBatch) -> Tensor:
        given = batch.tensors()
        torch._foreach_copy_(list(self.inputs.values()), [given[name] for name in self.inputs])
        self.graph.replay()
        return self.losses


def _shape(batch: TrainingBatch) -> Shape:
    return tuple((name, tuple(value.shape), value.dtype) for name, value in batch.tensors().items())


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
