"""One training run: set up, then window by window (forward, backward, step), with samples, checkpoints and LoRA files on the way."""

from __future__ import annotations

import hashlib
import math
import resource
import statistics
import time
from collections import deque
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor

from loratui.engine.errors import ExitCode, NotFiniteError, UsageError
from loratui.engine.planning.measured import Measurement, remember
from loratui.engine.planning.order import OrderEntry
from loratui.engine.training import losses, noise
from loratui.engine.training.cache import LatentCache, TextCache
from loratui.engine.training.checkpoint import Checkpoint, newest_good, prune, save_checkpoint
from loratui.engine.training.data import START, Course, Position, Window
from loratui.engine.training.lora_file import DTYPES, effect, facts_of, file_tensors, write_lora_file
from loratui.engine.training.memory import is_out_of_memory
from loratui.engine.training.optimizers import (
    build_optimizer,
    learning_rate_factor,
    load_optimizer_state,
    optimizer_state,
    resolve_name,
    set_learning_rate,
    warmup_steps,
)
from loratui.engine.training.reporting import Reporter
from loratui.engine.training.requests import Interrupted, Requests
from loratui.engine.training.sampler import prompts_to_encode, sample_plan, write_sample
from loratui.engine.training.setup import Job, add_adapter, load_base
from loratui.presets.schema import to_table

IDENTITY_SECTIONS = ("base", "dataset", "schedule", "training", "adapter", "optimizer")
"""Sections of the recipe that must be the same for a run to go on; the others may be edited in between."""

FEWEST_STEPS_TO_MEASURE = 20
"""A shorter run says nothing of how long a step takes here."""


class Trainer:
    """The training of one run. `run()` does all of it and returns how it ended."""

    def __init__(self, job: Job, report: Reporter, requests: Requests) -> None:
        self.job, self.report, self.requests = job, report, requests
        settings = self.settings = job.settings
        self.entries = job.ledger.images
        self.course = Course(
            [OrderEntry(i, entry.bucket, entry.repeats) for i, entry in enumerate(self.entries)],
            seed=settings.training.seed,
            epochs=settings.schedule.epochs,
            batch_size=settings.training.batch_size,
            accumulation=settings.training.accumulation,
            image_steps=settings.schedule.image_steps,
        )
        windows = list(self.course.windows())
        if not windows:
            raise UsageError("This run has no steps.", "Its epochs or repeats are 0; make a new plan.")
        self.total = windows[-1].after
        self.steps_per_epoch = next(w.after.step for w in windows if w.ends_epoch)
        self.prompts = [job.prompt(template) for template in settings.samples.prompts]
        self.seconds_before = 0.0
        self.started = time.monotonic()
        self.epoch_loss = (0.0, 0)
        self.at: Position = START
        self.checkpointed_at = time.monotonic()
        self.sampled_at: int | None = None
        self.image_step_s: deque[float] = deque(maxlen=1000)

    # ---- from start to end

    def run(self) -> ExitCode:
        """Trains to the end, or to where it is asked to end. Errors are raised."""
        stored = newest_good(
            self.job.run, lambda what: self.report.warn("bad_checkpoint", f"{what}; an older one is used.", "")
        )
        if stored is not None:
            self._check_identity(stored.identity)
            self.at, self.seconds_before, self.epoch_loss = stored.position, stored.seconds, stored.epoch_loss
        self._announce()
        self._load()
        if stored is not None:
            self.adapter.load_state(stored.adapter)
            load_optimizer_state(self.optimizer, list(self.parameters), stored.optimizer, stored.optimizer_plain)
        self.requests.nothing_to_save = False
        self.checkpointed_at = time.monotonic()
        try:
            self._train()
        except Interrupted:
            # What interrupts is a sample that is thrown away; the state is that of the last whole step.
            return self._end_early()
        if self.requests.ending is not None and self.at != self.total:
            return self._end_early()
        self._finish()
        return ExitCode.DONE

    def _train(self) -> None:
        settings = self.settings
        if self.at == START and settings.samples.before_training:
            self._sample()
        self.report.phase("training", "")
        for window in self.course.windows(self.at):
            if self._serve_requests():
                return
            self._step(window)
            if window.ends_epoch:
                self._end_epoch(window)
            elif time.monotonic() - self.checkpointed_at >= settings.output.checkpoint_every_s:
                self._checkpoint("time")
            if self._sample_is_due(window):
                self._sample()
                self.report.phase("training", "")

    def _load(self) -> None:
        job, settings, report = self.job, self.settings, self.report
        report.phase("loading", f"Loading {settings.base.model}")
        self.family = load_base(job)
        self.latents = LatentCache(job.run.cache, self.family, on_disk=settings.memory.cache_latents)
        self.texts = TextCache(job.run.cache, self.family)
        report.phase("caching", "Encoding pictures")
        flips = (False, True) if settings.dataset.flip else (False,)
        self.latents.fill(self.entries, flips, self._caching("pictures"))
        texts = [entry.caption for entry in self.entries if entry.repeats] + prompts_to_encode(self.prompts)
        report.phase("caching", "Encoding captions")
        self.texts.fill(texts, (settings.base.clip_skip,), self._caching("captions"))
        cut = self.texts.cut()
        if cut:
            longest = max(cut.values())
            report.warn(
                "captions_cut",
                f"{len(cut)} captions or prompts are longer than the text encoder reads; up to {longest} tokens are cut.",
                "Put what matters first, or shorten them.",
            )
        self.family.free_encoders()
        self.adapter = add_adapter(job, self.family)
        self.parameters = self.adapter.parameters
        self.optimizer = build_optimizer(settings.optimizer, self.parameters, job.device)

    def _caching(self, what: str) -> Any:
        def progress(done: int, total: int) -> None:
            self.report.progress(done, total, what)
            self.requests.stop_if_asked()

        return progress

    def _announce(self) -> None:
        settings, job = self.settings, self.job
        numbers: dict[str, Any] = {
            "preset": job.preset,
            "family": settings.base.family,
            "base": settings.base.model,
            "trigger": settings.dataset.trigger,
            "images": sum(1 for entry in self.entries if entry.repeats and not entry.regularisation),
            "epochs": self.total.epoch - 1,
            "image_steps": self.total.image_step,
            "optimizer_steps": self.total.step,
        }
        self.report.event(
            "run_started",
            name=job.run.name,
            **numbers,
            steps_per_epoch=self.steps_per_epoch,
            batch_size=settings.training.batch_size,
            accumulation=settings.training.accumulation,
            resumed_step=self.at.step,
            device=_device_name(job.device),
            dtype=str(job.dtype).removeprefix("torch."),
            loratui=version("loratui"),
            torch=torch.__version__,
            state={
                **numbers,
                "step": self.at.step,
                "image_step": self.at.image_step,
                "epoch": self.at.epoch,
                "checkpoint_step": self.at.step,
            },
        )

    # ---- one step

    def _step(self, window: Window) -> None:
        began = time.monotonic()
        settings, at = self.settings, window.before
        rate = settings.optimizer.learning_rate * learning_rate_factor(
            at.step,
            self.total.step,
            scheduler=settings.optimizer.scheduler,
            warmup_steps=warmup_steps(settings.optimizer, self.total.step),
            cycles=settings.optimizer.cycles,
        )
        set_learning_rate(self.optimizer, rate)
        self.adapter.train()
        summed = torch.zeros((), device=self.job.device)
        for number, batch in enumerate(window.batches):
            batch_losses = self._losses(batch, at.micro_step + number)
            # Divided by the pictures of this window, not by a fixed number: short batches and windows keep their exact mean.
            (batch_losses.sum() / window.images).backward()  # type: ignore[no-untyped-call]
            summed += batch_losses.detach().sum()
        limit = settings.training.max_grad_norm or math.inf
        norm = float(torch.nn.utils.clip_grad_norm_(self.parameters.values(), limit))
        loss = float(summed) / window.images
        if not (math.isfinite(loss) and math.isfinite(norm)):
            self._not_finite(window, loss)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.at = window.after
        self.epoch_loss = (self.epoch_loss[0] + loss * window.images, self.epoch_loss[1] + window.images)
        step_s = time.monotonic() - began
        self.image_step_s.append(step_s / window.images)
        memory = {"memory_gib": torch.cuda.max_memory_allocated() / 2**30} if self.job.device.type == "cuda" else {}
        self.report.step(
            always=window.ends_epoch or at.step == 0,
            step=window.after.step,
            image_step=window.after.image_step,
            epoch=at.epoch,
            loss=loss,
            lr=rate,
            grad_norm=norm,
            step_s=round(step_s, 6),
            **memory,
            state={
                "step": window.after.step,
                "image_step": window.after.image_step,
                "epoch": at.epoch,
                "loss": loss,
                "step_s": step_s,
            },
        )

    def _losses(self, batch: tuple[int, ...], micro_step: int) -> Tensor:
        """(B,) weighted losses of one batch; a pure function of the adapter's values and `micro_step`."""
        settings, device = self.settings, self.job.device
        training, seed = settings.training, settings.training.seed
        entries = [self.entries[i] for i in batch]
        chance = torch.rand(2, len(batch), generator=noise.generator(seed, "data", micro_step)).tolist()
        chosen = [
            self.latents.get(entry, settings.dataset.flip and u < 0.5) for entry, u in zip(entries, chance[0], strict=True)
        ]
        texts = [
            self.texts.get("" if u < settings.dataset.caption_dropout else entry.caption)
            for entry, u in zip(entries, chance[1], strict=True)
        ]
        mean, std = (torch.stack([getattr(one, part) for one in chosen]) for part in ("mean", "std"))
        drawn = noise.draw(mean.shape, seed=seed, micro_step=micro_step, offset=training.noise_offset)
        latents = (mean + std * drawn.latent_noise).to(device)
        noised = self.family.add_noise(
            latents, drawn.noise.to(device), noise.high_noise_uniform(drawn.uniform, training.high_noise_bias)
        )
        if settings.adapter.dropout:
            torch.manual_seed(noise.derived_seed(seed, "dropout", micro_step))
        with torch.autocast(
            device.type, dtype=self.job.dtype, enabled=device.type == "cuda" and self.job.dtype != torch.float32
        ):
            prediction = self.family.predict(noised.model_input, noised.timesteps, texts)
        value = losses.per_sample_loss(prediction, noised.target, kind=training.loss, huber_c=training.huber_c)
        if noised.snr is not None:
            if training.min_snr_gamma:
                value = value * losses.min_snr_weight(noised.snr, training.min_snr_gamma, self.family.prediction)
            if training.debiased_estimation:
                value = value * losses.debiased_weight(noised.snr, self.family.prediction)
        weights = [training.prior_weight if entry.regularisation else 1.0 for entry in entries]
        return value * torch.tensor(weights, device=device)

    def _not_finite(self, window: Window, loss: float) -> None:
        names = sorted({self.entries[i].relative for batch in window.batches for i in batch})
        what = "loss" if not math.isfinite(loss) else "gradient"
        self.optimizer.zero_grad(set_to_none=True)
        raise NotFiniteError(
            f"The {what} of step {window.after.step} is not a finite number; the step was not made. Its pictures: {', '.join(names[:8])}.",
            "Lower the learning rate, then start anew; the last checkpoint and the LoRA files are good.",
        )

    # ---- on the way

    def _serve_requests(self) -> bool:
        """Does what was asked for; True if the run shall end."""
        for command in self.requests.take():
            if command.command == "checkpoint":
                self._checkpoint("asked")
                self.requests.done(command, True, f"Checkpoint of step {self.at.step} saved.")
            else:
                made = self._sample()
                self.report.phase("training", "")
                self.requests.done(command, made, "Samples made." if made else "The samples failed; see the warnings.")
        return self.requests.ending is not None

    def _end_epoch(self, window: Window) -> None:
        total, images = self.epoch_loss
        epoch, loss = window.before.epoch, total / images
        self.epoch_loss = (0.0, 0)
        self.report.event(
            "epoch_finished", epoch=epoch, step=self.at.step, image_step=self.at.image_step, loss=loss, state={"loss": loss}
        )
        self._checkpoint("epoch")
        if epoch % self.settings.output.save_every_epochs == 0 or self.at == self.total:
            self._export(epoch, f"{self.job.output_name}-{self.at.step:06d}", final=False)

    def _sample_is_due(self, window: Window) -> bool:
        every = self.settings.samples.every_image_steps
        if self.at == self.total:
            return True
        return window.ends_epoch if every == 0 else window.after.image_step // every > window.before.image_step // every

    def _sample(self) -> bool:
        """Makes all sample pictures of this step. A failure is a warning: it never ends the training."""
        if self.sampled_at == self.at.step:
            return True
        folder = self.job.run.samples / f"step-{self.at.step:06d}"
        total = len(self.prompts) * self.settings.samples.steps
        self.report.phase("sampling", f"Making {len(self.prompts)} samples")
        for index, prompt in enumerate(self.prompts):
            seed = self.settings.samples.seed + index
            path = folder / f"{index:02d}.png"

            def on_step(done: int, of: int, index: int = index) -> None:
                self.report.progress(index * of + done, total, "samples")
                self.requests.stop_if_asked()

            try:
                plan = sample_plan(self.settings, self.texts, prompt, seed)
                write_sample(path, self.family, self.adapter, plan, 1.0, on_step)
            except Exception as error:
                self.report.warn("sample_failed", _why_sample_failed(error), "Training goes on.")
                return False
            relative = path.relative_to(self.job.run.path).as_posix()
            self.report.event(
                "sample_written",
                durable=True,
                step=self.at.step,
                image_step=self.at.image_step,
                index=index,
                path=relative,
                prompt=prompt,
                seed=seed,
                state={"sample": relative},
            )
        self.sampled_at = self.at.step
        return True

    def _checkpoint(self, reason: str) -> None:
        began = time.monotonic()
        optimizer, plain = optimizer_state(self.optimizer, list(self.parameters))
        checkpoint = Checkpoint(
            position=self.at,
            adapter=self.adapter.state(),
            optimizer=optimizer,
            optimizer_plain=plain,
            identity=self._identity(),
            epoch_loss=self.epoch_loss,
            seconds=self._seconds(),
        )
        path, size = save_checkpoint(self.job.run, checkpoint)
        self.checkpointed_at = time.monotonic()
        self.report.event(
            "checkpoint_written",
            durable=True,
            step=self.at.step,
            image_step=self.at.image_step,
            path=path.relative_to(self.job.run.path).as_posix(),
            bytes=size,
            seconds=round(time.monotonic() - began, 3),
            reason=reason,
            state={"checkpoint_step": self.at.step, "seconds": self._seconds()},
        )
        prune(self.job.run, self.settings.output.keep_checkpoints)

    def _export(self, epoch: int, name: str, *, final: bool) -> None:
        """Writes a LoRA file of the state that was last checkpointed."""
        settings, path = self.settings, self.job.run.output / f"{name}.safetensors"
        state = self.adapter.state()
        if effect(self.adapter.modules, state) == 0.0:
            self.report.warn("no_effect", f"{path.name} changes nothing: the LoRA has not moved.", "Raise the learning rate.")
        facts = facts_of(
            settings,
            self.family,
            title=self.job.output_name,
            step=self.at.step,
            epoch=epoch,
            epochs=self.total.epoch - 1,
            images=sum(1 for entry in self.entries if entry.repeats and not entry.regularisation),
            optimizer=resolve_name(settings.optimizer.name, self.job.device),
            precision=str(self.job.dtype).removeprefix("torch."),
        )
        size = write_lora_file(path, file_tensors(self.family, self.adapter, state, DTYPES[settings.output.precision]), facts)
        relative = path.relative_to(self.job.run.path).as_posix()
        self.report.event(
            "output_written",
            durable=True,
            step=self.at.step,
            epoch=epoch,
            path=relative,
            bytes=size,
            final=final,
            state={"output": relative},
        )

    # ---- the end

    def _finish(self) -> None:
        self.report.phase("finishing", "Writing the LoRA file")
        self._export(self.total.epoch - 1, self.job.output_name, final=True)
        self.requests.acknowledge_ending("The run is done.")
        self._remember()

    def _remember(self) -> None:
        """Keeps what this run took for the estimates of the next one on this machine."""
        if len(self.image_step_s) < FEWEST_STEPS_TO_MEASURE:
            return
        on_gpu, settings = self.job.device.type == "cuda", self.settings
        remember(
            Measurement(
                gpu=torch.cuda.get_device_name(self.job.device) if on_gpu else "cpu",
                model=settings.base.model,
                resolution=settings.dataset.resolution,
                batch_size=settings.training.batch_size,
                image_step_s=statistics.median(self.image_step_s),
                peak_vram_gib=torch.cuda.max_memory_allocated() / 2**30 if on_gpu else None,
                peak_ram_gib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
            )
        )

    def _end_early(self) -> ExitCode:
        ending = self.requests.ending
        assert ending is not None
        self.report.phase("saving", "Saving a checkpoint")
        self._checkpoint("stopping")
        if self.at.step:
            self._export(self.at.epoch, f"{self.job.output_name}-{self.at.step:06d}", final=False)
        self.requests.acknowledge_ending(f"Saved at step {self.at.step}.")
        return ending

    def _seconds(self) -> float:
        return self.seconds_before + time.monotonic() - self.started

    def _identity(self) -> dict[str, Any]:
        table = to_table(self.settings)
        identity: dict[str, Any] = {section: table[section] for section in IDENTITY_SECTIONS}
        identity["pictures"] = hashlib.sha256(self.job.run.dataset.read_bytes()).hexdigest()
        return identity

    def _check_identity(self, stored: Mapping[str, Any]) -> None:
        own = self._identity()
        differing = [
            f"{section}.{key}"
            for section in IDENTITY_SECTIONS
            for key in own[section].keys() | stored.get(section, {}).keys()
            if own[section].get(key) != stored.get(section, {}).get(key)
        ]
        if own["pictures"] != stored.get("pictures"):
            differing.append("the pictures (dataset.json)")
        if differing:
            raise UsageError(
                f"The checkpoint was made with other settings: {', '.join(sorted(differing))}.",
                "Put them back as they were, or start a new run.",
            )


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"


def _why_sample_failed(error: Exception) -> str:
    if is_out_of_memory(error):
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return "There was too little memory for the samples."
    return f"The samples could not be made: {error}"
