"""One training run: set up, then forward, backward and step for each window, with what is due after it."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import math
import resource
import statistics
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from loratui.engine import families
from loratui.engine.errors import ExitCode, LoratuiError, NotFiniteError, UsageError
from loratui.engine.machine.gpu_faults import is_out_of_memory
from loratui.engine.planning.measured import Measurement, remember, work_of
from loratui.engine.planning.memory_need import decoding_gib
from loratui.engine.planning.order import OrderEntry
from loratui.engine.planning.precision import TORCH_NAMES
from loratui.engine.runs.control import Command
from loratui.engine.runs.probe import BaseRead, keep_base_read
from loratui.engine.runs.times_shown import record_times_shown
from loratui.engine.training import class_images, speed
from loratui.engine.training.artifacts import Artifacts
from loratui.engine.training.base_check import look_at_the_base
from loratui.engine.training.cache import LatentCache, LiveTexts, TextCache
from loratui.engine.training.checkpoint import Checkpoint, newest_good
from loratui.engine.training.control_queue import ControlQueue, Interrupted
from loratui.engine.training.cuda_graph import CudaGraphStep
from loratui.engine.training.data import START, AccumulationWindow, BatchSchedule, TrainProgress
from loratui.engine.training.diffusion_loss import DiffusionLoss, TrainingBatch, captions_to_encode
from loratui.engine.training.ema import EMA
from loratui.engine.training.flat_parameters import FlatParameters, keeps_small_apart
from loratui.engine.training.frozen.fit import Fit
from loratui.engine.training.guarded_step import GuardedStep, Reading
from loratui.engine.training.identity import check_identity, identity_of, surroundings_differ
from loratui.engine.training.live_overrides import Answer, LiveOverrides
from loratui.engine.training.lora_file.init_from import init_from
from loratui.engine.training.optimizers import (
    build_optimizer,
    learning_rate_factor,
    load_optimizer_state,
    set_learning_rate,
    warmup_steps,
)
from loratui.engine.training.reporting import Reporter
from loratui.engine.training.sampler import prompts_to_encode
from loratui.engine.training.scaling import LossScaling
from loratui.engine.training.setup import Job, add_adapter, device_name, load_base, place_on_card
from loratui.engine.words import GIB, count


@dataclass(frozen=True)
class _Unread:
    """A step whose figures may still be on their way."""

    window: AccumulationWindow
    rate: float
    began: float
    """On the monotonic clock."""
    reading: Reading


FEWEST_STEPS_TO_MEASURE = 20
"""A shorter run does not tell how long a step takes here."""


class Trainer:
    """The training of one run. `run()` does everything and returns how it ended."""

    def __init__(self, job: Job, report: Reporter, control: ControlQueue) -> None:
        self.job, self.report, self.control = job, report, control
        settings = self.settings = job.settings
        self.entries = job.ledger.images
        self.batch_schedule = BatchSchedule(
            [OrderEntry(i, entry.bucket, entry.repeats) for i, entry in enumerate(self.entries)],
            seed=settings.training.seed,
            epochs=settings.schedule.epochs,
            batch_size=settings.training.batch_size,
            window_batches=settings.training.window_batches,
            image_steps=settings.schedule.image_steps,
        )
        windows = list(self.batch_schedule.windows())
        if not windows:
            raise UsageError("This run has no steps.", "Its epochs or repeats are 0; make a new plan.")
        self.total = windows[-1].after
        self.steps_per_epoch = next(w.after.step for w in windows if w.ends_epoch)
        self.overrides = LiveOverrides(job, report)
        self.epoch_loss = (0.0, 0)
        self.at: TrainProgress = START
        self.epoch_shown = START.epoch
        """The epoch of the last step, also while its final samples are made: what a person means by "this epoch"."""
        self._is_whole = True
        """Whether the LoRA and the optimizer are those of the step `at`."""
        self.checkpointed_at = time.monotonic()
        self.image_step_s: deque[float] = deque(maxlen=1000)
        self._unread: _Unread | None = None
        """The last step, while its figures are not read."""
        self._read_at = 0.0
        self.compiling = speed.Compiling(job.memory_plan, families.family(settings.base.family).figures, report)
        self.scaling = LossScaling(job.device, job.dtype)

    # ---- from start to end

    def run(self) -> ExitCode:
        """Trains to the end, or until a person ends the run. Errors are raised."""
        with self.control.at_once():
            self._set_up()
        self.checkpointed_at = time.monotonic()
        with contextlib.suppress(Interrupted):  # it cuts off only what is discarded: a sample, or a window without its step
            self._train()
        if self.control.ending is not None and self.at != self.total:
            return self._end_early(self.control.ending)
        self._finish()
        return ExitCode.DONE

    def _set_up(self) -> None:
        stored = newest_good(self.job.run, lambda what: self.report.warn("bad_checkpoint", problem=what))
        used = stored.identity.get("optimizer_used", "") if stored else ""
        identity = self.identity = identity_of(self.job, used)
        if stored is not None:
            check_identity(stored.identity, identity)
            self.at, self.epoch_loss = stored.position, stored.epoch_loss
        self._announce()
        self.overrides.announce()
        self._load(stored)
        if stored is not None:
            self.adapter.load_state(stored.adapter)
            self.ema.load_state(stored.shipped)
            load_optimizer_state(self.optimizer, list(self.stepped_over), stored.optimizer, stored.optimizer_plain)
            self.scaling.load_state(stored.scaling)
            if differing := surroundings_differ(stored.identity, identity):
                variant = ".base_format" if "base format" in differing else ""
                self.report.warn(f"other_surroundings{variant}", differing=differing)
        else:
            if self.job.world.size != self.settings.training.processes:
                self.report.warn("other_processes", planned=self.settings.training.processes, here=self.job.world.size)
            self._check_the_base()
        self.artifacts = Artifacts(
            job=self.job,
            report=self.report,
            control=self.control,
            overrides=self.overrides,
            model=self.model,
            adapter=self.adapter,
            optimizer=self.optimizer,
            stepped_over=list(self.stepped_over),
            ema=self.ema,
            scaling=self.scaling,
            texts=self.texts,
            identity=identity,
        )

    def _train(self) -> None:
        self._catch_up()
        self.report.phase("training", "")
        for window, following in _with_next(self.batch_schedule.windows(self.at)):
            if self._must_end(window):
                return
            if self.compiling.is_due(self.total.step - self.at.step):
                self._settle()
                self.graph_step.forget(computes_otherwise=True)
                self.fit.again()
                alike = self.diffusion_loss.has_one_shape(self.batch_schedule.windows())
                self.compiling.compile(self.blocks, functools.partial(self._try, window), one_shape=alike)
            self._step(window, following)
            self._fit(window)
            if window.ends_epoch:
                self._end_epoch(window)
            elif time.monotonic() - self.checkpointed_at >= self.settings.output.checkpoint_every_s:
                self._checkpoint("time")
            if self._sample_is_due(window):
                self._sample()

    def _catch_up(self) -> None:
        """Makes what was due at this step and is missing: samples before the first step, or what a kill prevented
        after the checkpoint."""
        last = next((window for window in self.batch_schedule.windows() if window.after == self.at), None)
        if last is not None and self._lora_is_due(last) and not self.artifacts.has_lora(self.at):
            self._write_lora()
        due = self.settings.samples.before_training if last is None else self._sample_is_due(last)
        if due and not self.artifacts.has_samples(self.at):
            self._sample()

    def _load(self, stored: Checkpoint | None) -> None:
        job, settings, report = self.job, self.settings, self.report
        self.model = load_base(job)
        self.latents = LatentCache(job.run.cache, self.model, on_disk=settings.memory.cache_latents)
        trains_text = settings.training.train_text_encoder
        self.texts = (LiveTexts if trains_text else TextCache)(job.run.cache, self.model)
        texts = captions_to_encode(job) + prompts_to_encode(self.overrides.prompts)
        report.phase("caching", "Encoding captions")
        with job.team.writer_first():
            self.texts.fill(texts, self._caching("captions"))
        if cut := self.texts.cut():
            report.warn("captions_cut", texts=len(cut), most=max(cut.values()))
        self._free_text_encoders()
        placed = job.memory_plan.on_host and bool(class_images.missing(self.entries))
        if placed:  # in host memory the base makes no images
            self._place()
        with job.team.writer_first():
            if wanted := class_images.missing(self.entries):
                report.phase("sampling", f"Making {count(len(wanted), 'image')} of the class")
                with self.adapter.strength(0.0) if placed else contextlib.nullcontext():
                    class_images.make(wanted, settings, self.model, self.texts, self._caching("images of the class"))
            report.phase("caching", "Encoding images")
            flips = (False, True) if settings.dataset.flip else (False,)
            self.latents.fill(self.entries, flips, self._caching("images"))
        if self.model.encodes_on_cpu:
            report.warn("images_on_cpu")
        self.model.free_vae()
        if not placed:
            self._place()
        self.fit = Fit(job.memory_plan, self.blocks, decoding_gib(settings, tiled=job.memory_plan.vae_tiled))
        if stored is None and settings.adapter.start_from:
            began = init_from(Path(settings.adapter.start_from), settings.base.family, self.adapter)
            for line in began.listed():  # the warning names a few, log/trainer.log all
                print(line, flush=True)
            report.warn("started_from", path=settings.adapter.start_from, taken=" ".join(began.sentences()))
        optimizer = self.identity["optimizer_used"]
        apart = keeps_small_apart(optimizer, stored.optimizer if stored else {})
        self.flat_parameters = FlatParameters(self.adapter.parameters, small_apart=apart)
        self.stepped_over = self.flat_parameters.for_optimizer(optimizer)
        self.optimizer = build_optimizer(dataclasses.replace(settings.optimizer, name=optimizer), self.stepped_over, job.device)
        guards = GuardedStep.suits(self.optimizer) and not self.scaling.works
        self.guarded = GuardedStep(self.optimizer, job.device) if guards else None
        self.ema = EMA(self.flat_parameters.tensors, self.optimizer, settings.training.ema_decay)
        self.diffusion_loss = DiffusionLoss(job, self.model, self.latents, self.texts)
        several = len({entry.bucket for entry in self.entries}) > 1 and job.memory_plan.rung.recomputed[1] > 0
        first = self.steps_per_epoch * settings.training.accumulation if several else 0  # by then each bucket was seen
        self.graph_step = CudaGraphStep(self._add_gradients, report, wanted=job.memory_plan.cuda_graphs, first=first)

    def _free_text_encoders(self) -> None:
        """Drops the text encoders that are not trained."""
        self.model.free_text_encoders(but=self.model.text_encoders if self.settings.training.train_text_encoder else ())

    def _place(self) -> None:
        """Adds the LoRA to the base, and puts both where the memory plan wants them."""
        job = self.job
        self.report.phase("loading", f"Loading {self.settings.base.model}")
        print(f"memory plan: {job.memory_plan.name}", flush=True)
        self.adapter = add_adapter(job, self.model)
        self.blocks = place_on_card(job, self.model, self.adapter)
        if job.mixed:
            speed.let_autocast_cast(self.model.denoiser)

    def _check_the_base(self) -> None:
        """Reads a base that the preflight's real step has not read, and ends a run whose base is not what it was taken for."""
        run = self.job.run
        if not self.job.world.is_writer or self.settings.base.check == "off" or run.base_readings.exists():
            return
        read = self.read_the_base()
        if read.mistaken:
            raise UsageError(read.message, read.remedy)
        keep_base_read(run, read)

    def read_the_base(self) -> BaseRead:
        """Reports how the base predicts the images without the LoRA, and what it was probably mistaken for."""
        self.report.phase("loading", "Checking the base on your images")
        with self.adapter.strength(0.0):
            found = look_at_the_base(
                self.model, self.entries, self.settings, self.latents, self.texts, self.diffusion_loss.autocast()
            )
        if self.job.device.type == "cuda":  # the training does not need that memory
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self.job.device)
        self.report.event("base_read", **dataclasses.asdict(found))
        return found

    def _caching(self, what: str) -> Any:
        def progress(done: int, total: int) -> None:
            self.report.progress(done, total, what)
            self.control.stop_if_asked()

        return progress

    def _announce(self) -> None:
        settings, job = self.settings, self.job
        self.epoch_shown = min(self.at.epoch, self.total.epoch - 1)
        self.report.event(
            "run_started",
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

    # ---- one step

    def _times_larger(self, window: AccumulationWindow) -> float:
        """How many times the pixels of a window's largest batch the largest batch of the run has."""
        split = self.job.memory_plan.split

        def pixels(batches: Iterable[tuple[int, ...]]) -> int:
            buckets = ([self.entries[i].bucket for i in batch] for batch in batches)
            return max(each[0].width * each[0].height * (1 if split else len(each)) for each in buckets)

        return pixels(batch for one in self.batch_schedule.windows() for batch in one.batches) / pixels(window.batches)

    def _step(self, window: AccumulationWindow, following: AccumulationWindow | None = None) -> None:
        """One optimizer step. The `following` one is prepared while the GPU works on this one."""
        began = time.monotonic()
        settings, at = self.settings, window.before
        factor = learning_rate_factor(
            at.step,
            self.total.step,
            scheduler=settings.optimizer.scheduler,
            warmup_steps=warmup_steps(settings.optimizer, self.total.step),
            cycles=settings.optimizer.cycles,
        )
        rate = set_learning_rate(self.optimizer, factor)
        figures = self._forward_backward(window, following)
        if self.guarded is not None:
            # Nobody waits: the GPU leaves out what is not finite, and works on while the figures of the step before are told.
            self._is_whole = False
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
        self._require_finite(window, norm, total)
        self._is_whole = False
        self.optimizer.step()
        self.scaling.stepped()
        self._made(window)
        self._tell(_Unread(window, rate, began, Reading(torch.tensor([norm, total], dtype=torch.float64))))

    def _fit(self, window: AccumulationWindow) -> None:
        """Fits the blocks into the card by the step that was just made, where it is the first of its kind."""
        if self.fit.due:
            self._settle()
            if self.graph_step.any:  # a step of many batches is recorded within itself
                self.graph_step.forget()
            print(f"memory: {self.fit.after_a_step(self._times_larger(window))}", flush=True)

    def _made(self, window: AccumulationWindow) -> None:
        self.ema.update(window.after.step)
        self.at, self.epoch_shown = window.after, window.before.epoch
        self._is_whole = True

    def _settle(self) -> None:
        """Reads the figures of the last step, before anything but the next step is done."""
        unread, self._unread = self._unread, None
        if unread is not None:
            self._tell(unread)

    def _tell(self, step: _Unread) -> None:
        """Reports a step. Raises `NotFiniteError` for one that was left out."""
        window = step.window
        norm, total = step.reading.values()
        self._require_finite(window, norm, total)
        self.epoch_loss = (self.epoch_loss[0] + total, self.epoch_loss[1] + window.images)
        now = time.monotonic()
        step_s, self._read_at = now - max(step.began, self._read_at), now
        self.image_step_s.append(step_s / window.images)
        self.compiling.note(step_s)
        memory = {}
        if self.job.device.type == "cuda":
            memory = {
                "memory_gib": torch.cuda.max_memory_reserved() / GIB,
                "allocated_gib": torch.cuda.max_memory_allocated() / GIB,
            }
        scaling = {"repeated": self.scaling.repeated} if self.scaling.works else {}
        self.report.step(
            always=window.ends_epoch or window.before.step == 0,
            step=window.after.step,
            image_step=window.after.image_step,
            epoch=window.before.epoch,
            loss=total / window.images,
            lr=step.rate,
            grad_norm=norm,
            step_s=round(step_s, 6),
            **memory,
            **scaling,
        )

    def _forward_backward(self, window: AccumulationWindow, following: AccumulationWindow | None) -> Tensor:
        """The gradients of a step, clipped; returns (2,) their norm before clipping, and the sum of the images' losses."""
        self.adapter.train()
        self.flat_parameters.zero_gradients()
        summed = torch.zeros((), device=self.job.device)
        for number, _ in self.job.world.share(window.batches):
            if number:  # a long window must not delay a stop; a resume computes its gradients again
                self._stop_within_a_step()
            batch = self.diffusion_loss.prepare(*_draw_of(window, number))
            for part in batch.split() if self.job.memory_plan.split else (batch,):
                summed += self.graph_step(part).sum()
        if following is not None:
            for number, _ in itertools.islice(self.job.world.share(following.batches), 1):
                self.diffusion_loss.look_ahead(*_draw_of(following, number))
        self.flat_parameters.add_over(self.job.group, summed)
        self.scaling.unscale(self.optimizer)
        limit = self.settings.training.max_grad_norm or math.inf
        return torch.stack([self.flat_parameters.clip_gradients(limit), summed])

    def _stop_within_a_step(self) -> None:
        """Raises `Interrupted` if an end was requested. Several processes end between two steps, where they agree on it."""
        if self.job.world.size == 1:
            self.control.stop_if_asked()

    def _add_gradients(self, batch: TrainingBatch) -> Tensor:
        """Adds a batch's gradients to the existing ones; returns its (B,) losses. Out of memory, it tries again with the least."""
        try:
            return self._computed(batch)
        except Exception as error:
            if self.graph_step.is_recording and self.blocks.swap is not None:
                self.blocks.swap.join()
            if not is_out_of_memory(error) or self.graph_step.is_recording or self.graph_step.any or not self.fit.shrink():
                raise
        # Not within the handler: the error keeps everything the failed pass made. No gradient was added yet.
        return self._computed(batch)

    def _computed(self, batch: TrainingBatch) -> Tensor:
        losses = self.diffusion_loss.compute(batch)
        loss = self.scaling.scaled(losses.sum() / batch.window_images)
        found = torch.autograd.grad(loss, list(self.flat_parameters.tensors.values()), allow_unused=True)
        self.flat_parameters.add_gradients(found)
        return losses.detach()

    def _try(self, window: AccumulationWindow) -> None:
        """Computes the gradients of a window's first batch as a trial: every step sets gradients to 0 first."""
        self.adapter.train()
        batch = self.diffusion_loss.prepare(*_draw_of(window, 0))
        self._computed(batch.split()[0] if self.job.memory_plan.split else batch)

    def _require_finite(self, window: AccumulationWindow, norm: float, loss: float) -> None:
        if math.isfinite(loss) and math.isfinite(norm):
            return
        names = sorted({self.entries[i].relative for batch in window.batches for i in batch})
        what = "loss" if not math.isfinite(loss) else "gradient"
        fp32 = "Set training.precision to fp32 or lower" if self.job.dtype == torch.float16 else "Lower"
        raise NotFiniteError(
            f"The {what} of step {window.after.step} is not a finite number; the step was not made. Its images: {', '.join(names[:8])}.",
            f"{fp32} the learning rate, then start a new run; the last checkpoint and the LoRA files are good.",
        )

    # ---- on the way

    def _must_end(self, window: AccumulationWindow) -> bool:
        """Carries out the commands; True if the run must end before this window. The writer decides for all processes, so they
        end at the same step."""
        if self.job.world.is_writer and not self._serve_commands():
            last = self.overrides.stop_after_epoch  # which a command may just have taken back
            if last is not None and window.before.epoch > last:
                self.control.end_here()
        ends = self.job.team.told(self.control.ending is not None)
        if ends and self.control.ending is None:
            self.control.end_here()
        return ends

    def _serve_commands(self) -> bool:
        """Carries out the commands; True if the run must end."""
        while True:
            command = self.control.next()
            if command is None or self.control.ending is not None:
                return self.control.ending is not None
            self._settle()
            self.control.done(command, *self._serve(command))

    def _serve(self, command: Command) -> Answer:
        match command.command:
            case "checkpoint":
                self._checkpoint("asked")
                return True, f"Checkpoint of step {self.at.step} saved."
            case "stop_after_epoch":
                return self.overrides.stop_after(self.epoch_shown, self.total.epoch - 1, command.args)
            case "set_samples":
                return self.overrides.set_samples(command.args, self._encode_prompts)
            case _:
                made = self._sample()
                return made, "Samples made." if made else "The samples failed; see the warnings."

    def _encode_prompts(self, prompts: Sequence[str]) -> None:
        self.graph_step.forget()  # the text encoders need its memory
        try:
            self.texts.fill(prompts_to_encode(prompts), lambda *_: None)
        finally:
            self._free_text_encoders()

    def _end_epoch(self, window: AccumulationWindow) -> None:
        self._settle()
        total, images = self.epoch_loss
        self.epoch_loss = (0.0, 0)
        at = self.at
        self.report.event(
            "epoch_finished", epoch=window.before.epoch, step=at.step, image_step=at.image_step, loss=total / images
        )
        self._checkpoint("epoch")
        if self._lora_is_due(window):
            self._write_lora()

    def _lora_is_due(self, window: AccumulationWindow) -> bool:
        every = self.settings.output.save_every_epochs
        return window.ends_epoch and (window.before.epoch % every == 0 or window.after == self.total)

    def _sample_is_due(self, window: AccumulationWindow) -> bool:
        every = self.overrides.every_image_steps
        if window.after == self.total:
            return True
        return window.ends_epoch if every == 0 else window.after.image_step // every > window.before.image_step // every

    def _sample(self) -> bool:
        self._settle()
        if not self.job.world.is_writer:
            return True
        self.graph_step.forget()  # the images need its memory
        try:
            made = self.artifacts.samples(self.at)
        except Interrupted:
            if self.job.world.size == 1:
                raise
            made = False  # the next step is not made, in any process
        if self.fit.due:
            torch.cuda.reset_peak_memory_stats()  # what a sample took says nothing of a step
        if self.blocks.swap is not None:
            self.blocks.swap.bring(0)  # where a step begins, and a recording of it
        self.report.phase("training", "")
        return made

    def _checkpoint(self, reason: str) -> None:
        self._settle()
        if self.job.world.is_writer:
            self.artifacts.checkpoint(self.at, reason, epoch_loss=self.epoch_loss)
            self._record_times_shown()
        self.checkpointed_at = time.monotonic()

    def _write_lora(self, *, final: bool = False) -> None:
        if self.job.world.is_writer:
            self.artifacts.lora(self.at, final=final)

    def _record_times_shown(self) -> None:
        """Records how often each image was shown; a failure to write does not end the run."""
        try:
            record_times_shown(self.job.run, self.settings, self.at.image_step)
        except LoratuiError as error:
            self.report.warn("ledger_not_written", problem=error.message, remedy=error.remedy)

    # ---- the end

    def _finish(self) -> None:
        self._settle()
        if self.job.world.is_writer:
            self._record_times_shown()  # a kill may have come between the last checkpoint and this
            if len(self.image_step_s) >= FEWEST_STEPS_TO_MEASURE:
                remember(self._measured(statistics.median(self.image_step_s) * self.job.world.size))
        self.report.phase("finishing", "Writing the LoRA file")
        self._write_lora(final=True)
        self.overrides.forget_the_end()
        self.control.acknowledge_ending("The run is done.")

    def _measured(self, image_step_s: float, loading_gib: float = 0.0) -> Measurement:
        """The figures of this run, of each of its processes; `loading_gib` is the peak of GPU memory before the counter was reset."""
        on_gpu, settings = self.job.device.type == "cuda", self.settings
        return Measurement(
            gpu=self.job.card.name if self.job.card else "cpu",
            model=settings.base.model,
            resolution=settings.dataset.resolution,
            batch_size=settings.training.batch_size,
            image_step_s=image_step_s,
            work=work_of(settings, self.job.memory_plan.name),
            compiled=self.compiling.compiled,
            peak_vram_gib=max(loading_gib, torch.cuda.max_memory_reserved() / GIB) if on_gpu else None,
            peak_ram_gib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        )

    def save_whole_steps(self) -> None:
        """Saves the steps that were made, after an error that prevented the next one."""
        if self._is_whole and self.at.step > self.job.run.last_checkpoint_step():
            self._checkpoint("out_of_memory")

    def _end_early(self, ending: ExitCode) -> ExitCode:
        self.report.phase("saving", "Saving a checkpoint")
        self._checkpoint("stopping")
        if self.at.step and not self.artifacts.has_lora(self.at):
            self._write_lora()
        if self.control.stopped_as_wished:
            self.overrides.forget_the_end()
        self.control.acknowledge_ending(f"Saved at step {self.at.step}.")
        return ending


def _with_next(windows: Iterable[AccumulationWindow]) -> Iterator[tuple[AccumulationWindow, AccumulationWindow | None]]:
    """Each window with the one after it."""
    here, ahead = itertools.tee(windows)
    return itertools.zip_longest(here, itertools.islice(ahead, 1, None))


def _draw_of(window: AccumulationWindow, number: int) -> tuple[tuple[int, ...], int, int, tuple[int, ...]]:
    """The arguments of `DiffusionLoss.prepare` for a batch of a window: its images, its number in the run, the images of the whole
    window, which divide the losses so that short batches and windows keep their exact mean, and how often each was shown."""
    return window.batches[number], window.before.micro_step + number, window.images, window.shown[number]
