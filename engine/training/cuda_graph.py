"""Forward and backward passes recorded as CUDA graphs and replayed: the GPU gets a whole pass at once and never waits for Python."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from loratui.engine.machine.gpu_faults import is_gpu_lost, is_out_of_memory
from loratui.engine.training.diffusion_loss import TrainingBatch
from loratui.engine.training.reporting import Reporter, first_line

EAGER = 2
"""Passes over a shape before it is recorded: they choose kernels, compile, and load what recording must not load."""
MOST = 32
"""Limit for recorded shapes; each graph keeps a list of some ten thousand kernels."""

_NO_ROOM = "there is too little memory"

Compute = Callable[[TrainingBatch], Tensor]
"""Adds the gradients of a batch to the existing ones, and returns its (B,) losses without gradients."""

Shape = tuple[tuple[str, tuple[int, ...], torch.dtype], ...]


class CudaGraphStep:
    """A `Compute` with the same result as the given one.

    Where it is `wanted`, a batch with known tensor shapes is computed by replaying a recording. That needs a computation
    with every input in the batch and every output at a fixed address, which draws by the device's default generator alone: torch
    hands a replay the seed that is set before it. All recordings share the memory of one pass, so their results must be used
    before the next call.

    A pass that is not recorded needs memory of its own beside that of the recordings. Where memory is short, nothing is recorded
    before `first` passes, so that every shape can have had its first passes by then.
    A recording cannot use all memory that is free, so one may fail where the pass itself fits: `make_room` has passes take less
    from then on, and says whether they do; the next pass is recorded then.
    """

    def __init__(
        self,
        compute: Compute,
        report: Reporter,
        *,
        wanted: bool,
        first: int = 0,
        make_room: Callable[[], bool] = lambda: False,
    ) -> None:
        self._compute, self._report, self._first, self._make_room = compute, report, first, make_room
        self.wanted = wanted
        self._met: Counter[Shape] = Counter()
        self._passes = 0
        self._recordings: dict[Shape, _Recording] = {}
        self._recording = False

    def __call__(self, batch: TrainingBatch) -> Tensor:
        if not self.wanted:
            return self._compute(batch)
        shape = _shape(batch)
        self._passes += 1
        if shape not in self._recordings:
            self._met[shape] += 1
            early = self._met[shape] <= EAGER or self._passes <= self._first
            if early or len(self._recordings) >= MOST or not self._record(shape, batch):
                return self._launch(batch)
        return self._recordings[shape].replay(batch)

    @property
    def is_recording(self) -> bool:
        """Whether a pass is being recorded at this moment."""
        return self._recording

    @property
    def any(self) -> bool:
        """Whether a shape is recorded."""
        return bool(self._recordings)

    def forget(self, *, computes_otherwise: bool = False) -> None:
        """Frees the memory of all recordings; each is made again when its shape returns: at once, unless passes are computed by other
        kernels from now on."""
        if computes_otherwise:
            self._met.clear()
            self._passes = 0
        if self._recordings:
            self._recordings.clear()
            torch.cuda.empty_cache()

    def _launch(self, batch: TrainingBatch) -> Tensor:
        """Computes without a recording; frees the recordings if a new shape needs their memory. They are made again at once, and with
        them that of the new shape after its first passes; more shapes than can be recorded would never end that."""
        try:
            return self._compute(batch)
        except Exception as error:
            if not (self._recordings and is_out_of_memory(error)):
                raise
        # Not within the handler: the error keeps everything the failed pass made. No gradient was added yet.
        if self._met[_shape(batch)] > EAGER:
            self._stop(_NO_ROOM)
        self.forget()
        return self._compute(batch)

    def _record(self, shape: Shape, batch: TrainingBatch) -> bool:
        """Records the pass over `batch` without computing it; False if that is impossible now, and with a warning if it is here."""
        before, began = next(iter(self._recordings.values()), None), time.monotonic()
        self._recording, stream, reason = True, torch.cuda.current_stream(), ""
        try:
            self._recordings[shape] = _Recording.of(self._compute, batch, before)
        except Exception as error:
            # A recording that was broken off may end in an error of its own, which leaves torch on the recording's stream.
            torch.cuda.set_stream(stream)
            if is_gpu_lost(error):
                raise
            short = any(is_out_of_memory(one) for one in (error, error.__context__) if one is not None)
            reason = _NO_ROOM if short else first_line(error)
        finally:
            self._recording = False
        if reason:  # not within the handler: the error keeps everything the failed recording made
            self.forget()
            if reason != _NO_ROOM or not self._make_room():
                self._stop(reason)
            return False
        print(f"recorded a step in {time.monotonic() - began:.1f} s", flush=True)
        return True

    def _stop(self, reason: str) -> None:
        self.wanted = False
        self.forget()
        self._report.warn("not_recorded", reason=reason)


@dataclass(frozen=True)
class _Recording:
    graph: torch.cuda.CUDAGraph
    inputs: dict[str, Tensor]
    """Where the recorded kernels read the batch."""
    losses: Tensor
    """Where they write its losses."""

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
        batch.seed_draws()
        self.graph.replay()
        return self.losses


def _shape(batch: TrainingBatch) -> Shape:
    return tuple((name, tuple(value.shape), value.dtype) for name, value in batch.tensors().items())
