"""How far a run is, and what it reports of its steps."""

from __future__ import annotations

import dataclasses
import math
import resource
import statistics
import time
from collections import deque
from importlib.metadata import version

import torch

from loratui.engine import sealed
from loratui.engine.errors import UsageError
from loratui.engine.planning.measured import Measurement, remember, work_of
from loratui.engine.planning.precision import TORCH_NAMES
from loratui.engine.runs.loss_watch import LossWatch
from loratui.engine.training.checkpoint import Checkpoint
from loratui.engine.training.data import START, AccumulationWindow, BatchSchedule, TrainProgress
from loratui.engine.training.peak_memory import PeakMemory
from loratui.engine.training.reporting import Reporter
from loratui.engine.training.setup import Job, device_name
from loratui.engine.words import GIB

FEWEST_STEPS_TO_MEASURE = 20
"""A shorter run does not tell how long a step takes here."""


class Progress:
    """The position of one run within its schedule."""

    def __init__(self, job: Job, report: Reporter, schedule: BatchSchedule) -> None:
        """Raises `UsageError` for a schedule without steps."""
        self._job, self._report = job, report
        windows = list(schedule.windows())
        if not windows:
            raise UsageError("This run has no steps.", "Its epochs or repeats are 0; make a new plan.")
        self.total = windows[-1].after
        self.steps_per_epoch = next(w.after.step for w in windows if w.ends_epoch)
        self.at: TrainProgress = START
        self.epoch_shown = START.epoch
        """The epoch of the last step, also while its final samples are made: what a person means by "this epoch"."""
        self.is_whole = True
        """Whether the LoRA and the optimizer are those of the step `at`."""
        self.epoch_loss = (0.0, 0)
        """Sum of the losses of this epoch, and the images behind it."""
        self._image_step_s: deque[float] = deque(maxlen=1000)
        self._read_at = 0.0
        self._loss_watch = LossWatch(self.steps_per_epoch)
        self.peak = PeakMemory(job.device)

    def resume(self, stored: Checkpoint) -> None:
        """Continues from a checkpoint."""
        self.at, self.epoch_loss = stored.position, stored.epoch_loss

    def announce(self) -> None:
        """Reports what is about to be trained."""
        settings, job = self._job.settings, self._job
        self.epoch_shown = min(self.at.epoch, self.total.epoch - 1)
        self._report.event(
            "run_started",
            run_id=sealed.id_of(self._job.run.path),
            name=job.run.name,
            preset=job.preset,
            family=settings.base.family,
            base=settings.base.model,
            trigger=settings.dataset.trigger,
            images=job.trained_images,
            epochs=self.total.epoch - 1,
            image_steps=self.total.image_step,
            optimizer_steps=self.total.step,
            steps_per_epoch=self.steps_per_epoch,
            batch_size=settings.training.batch_size,
            accumulation=settings.training.accumulation,
            processes=job.world.size,
            resumed_step=self.at.step,
            device=device_name(job.device),
            dtype=TORCH_NAMES[job.memory_plan.precision],
            memory_plan=job.memory_plan.name,
            loratui=version("loratui"),
            torch=torch.__version__,
        )

    def begin_step(self) -> None:
        """The optimizer is about to change the LoRA."""
        self.is_whole = False

    def end_step(self, window: AccumulationWindow) -> None:
        """The step of a window was made."""
        self.at, self.epoch_shown = window.after, window.before.epoch
        self.is_whole = True

    def tell(
        self, window: AccumulationWindow, *, norm: float, loss: float, rate: float, began: float, left_out: bool, **more: float
    ) -> float:
        """Reports the step of a window with the sum of its images' losses; returns the seconds that it took."""
        unusual = None
        if not left_out:
            self.epoch_loss = (self.epoch_loss[0] + loss, self.epoch_loss[1] + window.images)
            unusual = self._loss_watch.add(window.after.step, loss / window.images)
        now = time.monotonic()
        step_s, self._read_at = now - max(began, self._read_at), now
        self._image_step_s.append(step_s / window.images)
        memory = {}
        if self._job.device.type == "cuda":
            memory = {"memory_gib": self.peak.gib, "allocated_gib": torch.cuda.max_memory_allocated() / GIB}
        self._report.step(
            always=window.ends_epoch or window.before.step == 0 or left_out or unusual is not None,
            step=window.after.step,
            image_step=window.after.image_step,
            epoch=window.before.epoch,
            loss=loss / window.images,
            lr=rate,
            grad_norm=norm,
            step_s=round(step_s, 6),
            **({"left_out": True} if left_out else {}),
            **memory,
            **more,
        )
        if unusual is not None:
            self._report.event("loss_unusual", **dataclasses.asdict(unusual))
            figures = {"step": unusual.step, "loss": unusual.loss, "usual": unusual.usual, "steps": unusual.steps}
            self._report.warn("loss_spike" if unusual.kind == "spike" else "loss_diverges", **figures)
        return step_s

    def end_epoch(self, epoch: int) -> None:
        """Reports an epoch whose steps are all told."""
        total, images = self.epoch_loss
        self.epoch_loss = (0.0, 0)
        at = self.at
        self._report.event(
            "epoch_finished", epoch=epoch, step=at.step, image_step=at.image_step, loss=total / images if images else math.nan
        )

    def remember_speed(self, *, compiled: bool) -> None:
        """Keeps what this run measured for the estimates, if it was long enough."""
        if len(self._image_step_s) >= FEWEST_STEPS_TO_MEASURE:
            remember(self.measured(statistics.median(self._image_step_s) * self._job.world.size, compiled=compiled))

    def measured(self, image_step_s: float, *, compiled: bool) -> Measurement:
        """The figures of this run, of each of its processes."""
        job, settings = self._job, self._job.settings
        return Measurement(
            gpu=job.card.name if job.card else "cpu",
            model=settings.base.model,
            resolution=settings.dataset.resolution,
            batch_size=settings.training.batch_size,
            image_step_s=image_step_s,
            work=work_of(settings, job.memory_plan.name),
            compiled=compiled,
            peak_vram_gib=self.peak.gib,
            peak_ram_gib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        )
