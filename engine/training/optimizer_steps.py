"""The optimizer steps of a run: for each window forward and backward passes, the clipped gradients, and the step itself."""

from __future__ import annotations

import contextlib
import functools
import itertools
import math
import time
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from loratui.engine import families
from loratui.engine.machine.gpu_faults import is_out_of_memory
from loratui.engine.planning.memory_need import decoding_gib
from loratui.engine.training import speed
from loratui.engine.training.checkpoint import Checkpoint
from loratui.engine.training.control_queue import ControlQueue
from loratui.engine.training.cuda_graph import CudaGraphStep
from loratui.engine.training.data import AccumulationWindow, BatchSchedule
from loratui.engine.training.diffusion_loss import DiffusionLoss, TrainingBatch
from loratui.engine.training.ema import EMA
from loratui.engine.training.flat_parameters import FlatParameters, keeps_small_apart, state_side_by_side
from loratui.engine.training.frozen.fit import Fit
from loratui.engine.training.guarded_step import GuardedStep, Reading
from loratui.engine.training.loaded import Loaded
from loratui.engine.training.not_finite import NotFinite
from loratui.engine.training.optimizers import (
    build_optimizer,
    learning_rate_factor,
    load_optimizer_state,
    set_learning_rate,
    warmup_steps,
)
from loratui.engine.training.progress import Progress
from loratui.engine.training.reporting import Reporter
from loratui.engine.training.scaling import LossScaling
from loratui.presets.schema import OptimizerSection


@dataclass(frozen=True)
class _Unread:
    """A step whose figures may still be on their way."""

    window: AccumulationWindow
    rate: float
    began: float
    """On the monotonic clock."""
    reading: Reading


class OptimizerSteps:
    """Makes the steps of one run, and reports each: where the device guards it, once the next is under way."""

    def __init__(
        self,
        loaded: Loaded,
        progress: Progress,
        schedule: BatchSchedule,
        report: Reporter,
        control: ControlQueue,
        *,
        optimizer: OptimizerSection,
        stored: Checkpoint | None,
    ) -> None:
        """`optimizer` names the one in use, never `auto`. The values of `stored` are taken over by `load_state`."""
        job, self._loaded, self._progress, self._schedule, self._control = loaded.job, loaded, progress, schedule, control
        self._job, settings = job, job.settings
        self._adapter, self._blocks = loaded.adapter, loaded.blocks
        self.compiling = speed.Compiling(job.memory_plan, families.family(settings.base.family).figures, report)
        self.scaling = LossScaling(job.device, job.dtype)
        self.not_finite = NotFinite(job.ledger.images, job.dtype, report)
        self.fit = Fit(job.memory_plan, loaded.blocks, decoding_gib(settings, tiled=job.memory_plan.vae_tiled), progress.peak)
        apart = keeps_small_apart(optimizer.name, stored.optimizer if stored else {})
        self.flat_parameters = FlatParameters(loaded.adapter.parameters, small_apart=apart)
        self.stepped_over = self.flat_parameters.for_optimizer(optimizer.name)
        self.optimizer = build_optimizer(optimizer, self.stepped_over, job.device)
        guards = GuardedStep.suits(self.optimizer) and not self.scaling.works
        self.guarded = GuardedStep(self.optimizer, job.device) if guards else None
        self.ema = EMA(self.flat_parameters.tensors, self.optimizer, settings.training.ema_decay)
        self.diffusion_loss = DiffusionLoss(job, loaded.model, loaded.latents, loaded.texts)
        several = (
            len({entry.bucket for entry in job.ledger.images if not entry.held_out}) > 1
            and job.memory_plan.rung.recomputed[1] > 0
        )
        first = progress.steps_per_epoch * settings.training.accumulation if several else 0  # by then each bucket was seen
        self.graph_step = CudaGraphStep(
            self._add_gradients, report, wanted=job.memory_plan.cuda_graphs, first=first, make_room=self.fit.make_room
        )
        self._unread: _Unread | None = None
        """The last step, while its figures are not read."""

    def load_state(self, stored: Checkpoint) -> None:
        """Takes over the values of a checkpoint. Raises `UsageError` if they belong to other layers."""
        self._adapter.load_state(stored.adapter)
        self.ema.load_state(stored.shipped)
        tensors = stored.optimizer
        if self.stepped_over.keys() == self.flat_parameters.parts.keys():
            tensors = state_side_by_side(tensors, self.flat_parameters)
        load_optimizer_state(self.optimizer, list(self.stepped_over), tensors, stored.optimizer_plain)
        self.scaling.load_state(stored.scaling)

    # ---- before and after a step

    def compile_if_due(self, window: AccumulationWindow) -> None:
        """Compiles the base's blocks before the step of `window`, once that pays."""
        if self.compiling.is_due(self._progress.total.step - self._progress.at.step):
            self.settle()
            self.graph_step.forget(computes_otherwise=True)
            self.fit.again()
            alike = self.diffusion_loss.has_one_shape(self._schedule.windows())
            # Compiling takes up to minutes, and nothing of it is saved. Several processes end between two steps, where they agree on it.
            with self._control.at_once() if self._job.world.size == 1 else contextlib.nullcontext():
                self.compiling.compile(self._blocks, functools.partial(self._try_compiled, window), one_shape=alike)

    def fit_blocks(self, window: AccumulationWindow) -> None:
        """Fits the blocks into the card by the step that was just made, where it is the first of its kind."""
        if self.fit.due:
            self.settle()
            if self.graph_step.any:  # a step of many batches is recorded within itself
                self.graph_step.forget()
            print(f"memory: {self.fit.after_a_step(self.times_larger(window))}", flush=True)

    def after_samples(self) -> None:
        """Prepares for the next step, after the denoiser has made samples."""
        if self.fit.due:
            self._progress.peak.measure()  # what a sample took says nothing of a step
        if self._blocks.swap is not None:
            self._blocks.swap.bring(0)  # where a step begins, and a recording of it

    def times_larger(self, window: AccumulationWindow) -> float:
        """How many times the pixels of a window's largest batch the largest batch of the run has."""
        split, entries = self._job.memory_plan.split, self._job.ledger.images

        def pixels(batches: Iterable[tuple[int, ...]]) -> int:
            buckets = ([entries[i].bucket for i in batch] for batch in batches)
            return max(each[0].width * each[0].height * (1 if split else len(each)) for each in buckets)

        return pixels(batch for one in self._schedule.windows() for batch in one.batches) / pixels(window.batches)

    # ---- one step

    def make(self, window: AccumulationWindow, following: AccumulationWindow | None = None) -> None:
        """One optimizer step. The `following` one is prepared while the GPU works on this one."""
        began = time.monotonic()
        chosen, schedule = self._job.settings.optimizer, self._job.settings.schedule
        behind = schedule.continue_step if schedule.continue_run and chosen.continued == "restart" else 0
        total_steps = self._progress.total.step - behind
        factor = learning_rate_factor(
            window.before.step - behind,
            total_steps,
            scheduler=chosen.scheduler,
            warmup_steps=warmup_steps(chosen, total_steps),
            cycles=chosen.cycles,
        )
        rate = set_learning_rate(self.optimizer, factor)
        figures = self._forward_backward(window, following)
        if self.guarded is not None:
            # Nobody waits: the GPU leaves out what is not finite, and works on while the figures of the step before are told.
            self._progress.begin_step()
            reading = self.guarded.step(figures)
            self._made(window)
            before, self._unread = self._unread, _Unread(window, rate, began, reading)
            if before is not None:
                self._tell(before)
            return
        norm, total = figures.tolist()
        while self.scaling.is_beyond_range(norm, total):
            self._stop_within_a_step()
            norm, total = self._forward_backward(window, following).tolist()
        if math.isfinite(norm) and math.isfinite(total):
            self._progress.begin_step()
            self.optimizer.step()
            self.scaling.stepped()
        else:
            self.scaling.left_out()
        self._made(window)
        self._tell(_Unread(window, rate, began, Reading(torch.tensor([norm, total], dtype=torch.float64))))

    def settle(self) -> None:
        """Reads the figures of the last step, before anything but the next step is done."""
        unread, self._unread = self._unread, None
        if unread is not None:
            self._tell(unread)

    def _made(self, window: AccumulationWindow) -> None:
        self.ema.update(window.after.step)
        self._progress.end_step(window)

    def _tell(self, step: _Unread) -> None:
        """Reports a step. Raises `NotFiniteError` where too many in a row were left out."""
        norm, total = step.reading.values()
        left_out = self.not_finite.leaves_out(step.window, norm, total)
        scaling = {"repeated": self.scaling.repeated} if self.scaling.works else {}
        figures = {"norm": norm, "loss": total, "rate": step.rate, "began": step.began}
        step_s = self._progress.tell(step.window, left_out=left_out, **figures, **scaling)
        self.compiling.note(step_s)

    # ---- its gradients

    def _forward_backward(self, window: AccumulationWindow, following: AccumulationWindow | None) -> Tensor:
        """The gradients of a step, clipped; returns (2,) their norm before clipping, and the sum of the images' losses. A new shape may
        compile here for a minute."""
        with self._cut_off():
            return self._gradients(window, following)

    def _cut_off(self) -> contextlib.AbstractContextManager[None]:
        """What computes gradients can be cut off, but not while a recording keeps the GPU from anything else, nor where other processes
        wait for this one."""
        alone = self._job.world.size == 1
        return self._control.cut_off(lambda: alone and not self.graph_step.is_recording)

    def _gradients(self, window: AccumulationWindow, following: AccumulationWindow | None) -> Tensor:
        self._adapter.train()
        self.flat_parameters.zero_gradients()
        summed = torch.zeros((), device=self._job.device)
        for number, _ in self._job.world.share(window.batches):
            if number:  # a long window must not delay a stop; a resume computes its gradients again
                self._stop_within_a_step()
            batch = self.diffusion_loss.prepare(*_draw_of(window, number))
            for part in batch.split() if self._job.memory_plan.split else (batch,):
                summed += self.graph_step(part).sum()
        if following is not None:
            for number, _ in itertools.islice(self._job.world.share(following.batches), 1):
                self.diffusion_loss.look_ahead(*_draw_of(following, number))
        self.flat_parameters.add_over(self._job.group, summed)
        self.scaling.unscale(self.optimizer)
        limit = self._job.settings.training.max_grad_norm or math.inf
        return torch.stack([self.flat_parameters.clip_gradients(limit), summed])

    def _stop_within_a_step(self) -> None:
        """Raises `Interrupted` if an end was requested. Several processes end between two steps, where they agree on it."""
        if self._job.world.size == 1:
            self._control.stop_if_asked()

    def _add_gradients(self, batch: TrainingBatch) -> Tensor:
        """Adds a batch's gradients to the existing ones; returns its (B,) losses. Out of memory, it tries again with the least."""
        try:
            return self._computed(batch)
        except Exception as error:
            if self.graph_step.is_recording and self._blocks.swap is not None:
                self._blocks.swap.join()
            if not is_out_of_memory(error) or self.graph_step.is_recording or self.graph_step.any or not self.fit.shrink():
                raise
        # Not within the handler: the error keeps everything the failed pass made. No gradient was added yet.
        return self._computed(batch)

    def _computed(self, batch: TrainingBatch) -> Tensor:
        if not self.graph_step.is_recording:  # a replay sets the seed itself
            batch.seed_draws()
        losses = self.diffusion_loss.compute(batch)
        loss = self.scaling.scaled(losses.sum() / batch.window_images)
        found = torch.autograd.grad(loss, list(self.flat_parameters.tensors.values()), allow_unused=True)
        self.flat_parameters.add_gradients(found)
        return losses.detach()

    def _try_compiled(self, window: AccumulationWindow) -> None:
        if self._job.ahead is not None:
            self._job.ahead.wait()
        self._try(window)

    def _try(self, window: AccumulationWindow) -> None:
        """Computes the gradients of a window's first batch as a trial: every step sets gradients to 0 first."""
        self._adapter.train()
        batch = self.diffusion_loss.prepare(*_draw_of(window, 0))
        self._computed(batch.split()[0] if self._job.memory_plan.split else batch)


def _draw_of(window: AccumulationWindow, number: int) -> tuple[tuple[int, ...], int, int, tuple[int, ...]]:
    """The arguments of `DiffusionLoss.prepare` for a batch of a window: its images, its number in the run, the images of the whole
    window, which divide the losses so that short batches and windows keep their exact mean, and how often each was shown."""
    return window.batches[number], window.before.micro_step + number, window.images, window.shown[number]
