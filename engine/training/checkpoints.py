"""When and how a run saves what it resumes from: a snapshot at the step, written while the next steps are made."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from loratui.engine.errors import NotFiniteError
from loratui.engine.planning.disk import beside_checkpoint_bytes
from loratui.engine.planning.lora_size import size_of
from loratui.engine.training.adapters.adapter import LoraAdapter
from loratui.engine.training.background import Background
from loratui.engine.training.base_files import BaseSums
from loratui.engine.training.checkpoint import Checkpoint, prune, save_checkpoint
from loratui.engine.training.data import TrainProgress
from loratui.engine.training.ema import EMA
from loratui.engine.training.optimizers import optimizer_state
from loratui.engine.training.reporting import Reporter
from loratui.engine.training.scaling import LossScaling
from loratui.engine.training.setup import Job
from loratui.engine.training.snapshot import Buffer, Buffers, Packed, bytes_of
from loratui.presets.schema import Output

MOST_COST = 0.01
"""Share of the training's time that checkpoints may take."""


@dataclass(eq=False, kw_only=True)
class Checkpoints:
    """Saves the state of one run."""

    job: Job
    report: Reporter
    adapter: LoraAdapter
    optimizer: torch.optim.Optimizer
    stepped_over: Sequence[str]
    """Names of what the optimizer steps over."""
    ema: EMA
    scaling: LossScaling
    identity: dict[str, Any]
    """See `training.identity`."""
    base_sums: BaseSums
    write_lora: Callable[[Mapping[str, Tensor], TrainProgress], None]
    """Writes the LoRA file of a step from the weights that leave the run."""

    def __post_init__(self) -> None:
        self.background = Background("writer")
        self._saved_at = time.monotonic()
        self._stalled_s = self._written_s = 0.0
        """How long the last checkpoint held up the training, and how long it took to be on the disk."""
        self._buffers: Buffers | None = None

    def begin(self) -> None:
        """The time until the first checkpoint begins now."""
        self._saved_at = time.monotonic()

    @property
    def is_due(self) -> bool:
        """Whether the time has come for one, and none is being written."""
        due_s = interval_s(self.job.settings.output.checkpoint_every_s, self._stalled_s, self._written_s)
        return time.monotonic() - self._saved_at >= due_s and not self.background.is_busy

    def prepare(self) -> None:
        """Takes the host memory for snapshots, once the optimizer has its state. Not from another thread: pinning breaks off the
        recording of a CUDA graph."""
        if self._buffers is None:
            shipped = self.adapter.parameters if self.ema.differs else {}
            length = bytes_of(self.adapter.parameters, self._optimizer_state()[0], shipped)
            self._buffers = Buffers(length, pinned=self.job.device.type == "cuda")

    def save(
        self,
        at: TrainProgress,
        reason: str,
        *,
        epoch_loss: tuple[float, int],
        with_lora: bool = False,
        wait: bool = False,
        afterwards: Callable[[], object] = bool,  # nothing
    ) -> None:
        """Takes a snapshot of everything that a resume from `at` needs, and has it written while the training goes on; `with_lora`,
        the LoRA file of `at` too. It is reported once it is on the disk, and `afterwards` is called.

        With `wait`, and where main memory is short, it is on the disk on return. `background.look` raises what went wrong: `DiskError`,
        and `NotFiniteError` for a LoRA that is not finite.
        """
        began = time.monotonic()
        self.prepare()
        assert self._buffers is not None
        wait = wait or not self._buffers.count
        buffer = self._buffers.next(self.report.meanwhile("saving", "Waiting for the disk to take the last checkpoint"))
        try:
            snapshot = self._snapshot(at, epoch_loss, buffer)
        except BaseException:
            self._buffers.give_back(buffer)
            raise
        stalled_s = None if wait else time.monotonic() - began
        self.background.start(
            partial(self._write, snapshot, reason, began, stalled_s, buffer, with_lora=with_lora, afterwards=afterwards)
        )
        if wait:
            with self.report.meanwhile("saving", "Saving a checkpoint"):
                self.background.wait()
        self._saved_at = time.monotonic()
        self._stalled_s = self._saved_at - began

    def _snapshot(self, at: TrainProgress, epoch_loss: tuple[float, int], buffer: Buffer) -> Checkpoint:
        adapter = Packed(self.adapter.parameters, buffer.take)
        tensors, plain = self._optimizer_state()
        optimizer = Packed(tensors, buffer.take)
        shipped: Mapping[str, Tensor] = {}
        if self.ema.differs:
            with self.ema.swapped_in():
                shipped = Packed(self.adapter.parameters, buffer.take)
        scaling = self.scaling.state()
        if self.job.device.type == "cuda":
            torch.cuda.current_stream(self.job.device).synchronize()
        return Checkpoint(
            position=at,
            adapter=adapter,
            shipped=shipped,
            optimizer=optimizer,
            optimizer_plain=plain,
            scaling=scaling,
            identity=self.identity,
            epoch_loss=epoch_loss,
        )

    def _optimizer_state(self) -> tuple[dict[str, Tensor], str]:
        return optimizer_state(self.optimizer, list(self.stepped_over))

    def _write(
        self,
        snapshot: Checkpoint,
        reason: str,
        began: float,
        stalled_s: float | None,
        buffer: Buffer,
        *,
        with_lora: bool,
        afterwards: Callable[[], object],
    ) -> None:
        """Writes a snapshot, in the thread of `background`. `stalled_s`: how long the training waited, None for all the time."""
        try:
            at = snapshot.position
            for what, tensors in (("LoRA", snapshot.adapter), ("average", snapshot.shipped), ("optimizer", snapshot.optimizer)):
                if all(math.isfinite(float(value.sum())) for value in tensors.values()):
                    continue
                raise NotFiniteError(
                    f"The {what} of step {at.step} has values that are not finite; nothing was saved.",
                    "Lower the learning rate, then start a new run; the earlier checkpoint and LoRA files are good.",
                )
            known = {**snapshot.identity, **self.base_sums.known()}  # which may wait a second
            path, size = save_checkpoint(self.job.run, replace(snapshot, identity=known))
            self._written_s = time.monotonic() - began
            settings = self.job.settings
            self.report.next_bytes = size + beside_checkpoint_bytes(settings, size_of(settings))
            self.report.event(
                "checkpoint_written",
                durable=True,
                step=at.step,
                image_step=at.image_step,
                path=path.relative_to(self.job.run.path).as_posix(),
                bytes=size,
                seconds=round(self._written_s, 3),
                stalled_s=round(self._written_s if stalled_s is None else stalled_s, 3),
                reason=reason,
            )
            prune(self.job.run, self.job.settings.output.keep_checkpoints)
            afterwards()
            if with_lora:
                self.write_lora(snapshot.shipped or snapshot.adapter, at)
        finally:
            assert self._buffers is not None
            self._buffers.give_back(buffer)


def interval_s(chosen_s: float, stalled_s: float, written_s: float) -> float:
    """Seconds from one snapshot to the next. What a person chose is kept. Else work of the usual 60 s at most is at risk until the next
    snapshot is on the disk, and of more only where the training would wait for too large a share of its time."""
    usual = Output().checkpoint_every_s
    return chosen_s if chosen_s != usual else max(usual - min(written_s, usual / 2), stalled_s / MOST_COST)
