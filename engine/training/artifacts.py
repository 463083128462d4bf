"""What a run writes on its way: sample images, LoRA files, and by `checkpoints` what it resumes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from loratui.engine.disk_errors import may_be_left_out
from loratui.engine.errors import DiskError
from loratui.engine.families.model import Model
from loratui.engine.formats.metadata import default_layout
from loratui.engine.machine.gpu_faults import is_gpu_lost, is_out_of_memory
from loratui.engine.proof.live import Made
from loratui.engine.runs.events import last_events
from loratui.engine.runs.lora_files import file_name
from loratui.engine.runs.lora_hashes import is_as_saved
from loratui.engine.runs.sample_files import differs
from loratui.engine.training.adapters.adapter import LoraAdapter
from loratui.engine.training.base_files import BaseSums
from loratui.engine.training.cache import TextCache
from loratui.engine.training.checkpoints import Checkpoints
from loratui.engine.training.control_queue import ControlQueue
from loratui.engine.training.data import START, TrainProgress
from loratui.engine.training.ema import EMA
from loratui.engine.training.live.watch import Samples, SampleWatch
from loratui.engine.training.live_overrides import LiveOverrides
from loratui.engine.training.reporting import Reporter
from loratui.engine.training.sampler import sample_plan, samples_size, write_sample
from loratui.engine.training.scaling import LossScaling
from loratui.engine.training.setup import Job
from loratui.engine.training.shipped import shipped_of, write_shipped
from loratui.engine.words import count

LOG_SEARCHED_BYTES = 1 << 20
"""Bytes at the end of the event log that a resumed run searches for the products of its last step."""


@dataclass(eq=False, kw_only=True)
class Artifacts:
    """Writes the products of one run and reports each. Methods take the position that the LoRA has reached."""

    job: Job
    report: Reporter
    control: ControlQueue
    overrides: LiveOverrides
    model: Model
    adapter: LoraAdapter
    optimizer: torch.optim.Optimizer
    stepped_over: Sequence[str]
    """Names of what the optimizer steps over."""
    ema: EMA
    scaling: LossScaling
    texts: TextCache
    identity: dict[str, Any]
    """See `training.identity`."""
    base_sums: BaseSums
    watch: SampleWatch | None = None
    """What measures the samples; None where nothing does."""

    def __post_init__(self) -> None:
        self.identity = {**self.identity, "prediction": self.model.prediction}
        self.checkpoints = Checkpoints(
            job=self.job,
            report=self.report,
            adapter=self.adapter,
            optimizer=self.optimizer,
            stepped_over=self.stepped_over,
            ema=self.ema,
            scaling=self.scaling,
            identity=self.identity,
            base_sums=self.base_sums,
            write_lora=self._write_lora,
        )
        self._sampled_step: int | None = None
        told = last_events(self.job.run.events, LOG_SEARCHED_BYTES)
        self._sample_sums = {event.path("path"): event.text("sha256") for event in told if event.type == "sample_written"}
        self._told = {
            event.path("path"): event.count("step") for event in told if event.type in ("sample_written", "output_written")
        }
        """The products that were reported, each with the step that it was made at."""

    # ---- LoRA files

    def has_lora(self, at: TrainProgress, *, final: bool = False) -> bool:
        """Whether the LoRA file of this step exists, as it was saved. `final`: that whose name has no step."""
        relative = f"output/{file_name(self.job.output_name, None if final else at.step)}"
        return self._is_there(relative, at.step) and is_as_saved(self.job.run.path / relative)

    def lora(self, at: TrainProgress, *, final: bool = False) -> None:
        """Writes a LoRA file of the last checkpointed state, once that is on the disk. `final`: its name has no step."""
        self.checkpoints.background.wait()
        self._write_lora(self.ema.shipped(), at, final=final)

    def _write_lora(self, weights: Mapping[str, Tensor], at: TrainProgress, *, final: bool = False) -> None:
        settings = self.job.settings
        path = self.job.run.output / file_name(self.job.output_name, None if final else at.step)
        shipped = shipped_of(weights, at, self.identity, settings)
        layout, dtype = default_layout(settings), settings.output.precision
        written = write_shipped(path, shipped, self.job, title=self.job.output_name, layout=layout, dtype=dtype)
        if not written.has_effect:
            self.report.warn("lora_unmoved", file=path.name)
        relative = path.relative_to(self.job.run.path).as_posix()
        self._told[relative] = at.step
        self.report.event(
            "output_written",
            durable=True,
            step=at.step,
            epoch=at.last_epoch,
            path=relative,
            bytes=written.bytes,
            norms={part: round(norm, 6) for part, norm in written.norms.items()},
            final=final,
            **written.hashes,
        )

    # ---- samples

    def has_samples(self, at: TrainProgress) -> bool:
        """Whether all sample images of this step exist, as they were made."""
        paths = [self._sample_path(at, index) for index in range(len(self.overrides.prompts))]
        return all(
            self._is_there(path, at.step) and not differs(self.job.run.path / path, self._sample_sums.get(path, ""))
            for path in paths
        )

    def samples(self, at: TrainProgress) -> bool:
        """Makes all sample images of this step, once. A failure is a warning and returns False: it never ends the training."""
        if self._sampled_step == at.step:
            return True
        settings = self.job.settings
        prompts = self.overrides.prompts
        total = len(prompts) * settings.samples.steps
        self.report.phase("sampling", f"Making {count(len(prompts), 'sample')}")
        for index, prompt in enumerate(prompts):
            seed = settings.samples.seed + index
            relative = self._sample_path(at, index)

            def on_step(done: int, of: int, index: int = index) -> None:
                self.report.progress(index * of + done, total, "denoising steps")
                self.control.stop_if_asked()

            try:
                plan = partial(sample_plan, settings, self.texts, prompt, seed)
                # A decoding takes seconds on a CPU. Not around the swap, whose way back must be made in full.
                computing = self.control.cut_off(lambda: self.job.world.size == 1)
                with self.ema.swapped_in(), may_be_left_out():
                    sha256 = write_sample(self.job.run.path / relative, self.model, self.adapter, plan, 1.0, on_step, computing)
            except Exception as error:
                if is_gpu_lost(error) or (isinstance(error, DiskError) and self.control.ending is not None):
                    raise
                self.report.warn("sample_failed", reason=_why_sample_failed(error))
                return False
            self.report.event(
                "sample_written",
                step=at.step,
                image_step=at.image_step,
                index=index,
                path=relative,
                prompt=prompt,
                seed=seed,
                sha256=sha256,
            )
            self._sample_sums[relative] = sha256
        self._sampled_step = at.step
        self.measure_samples(at)
        return True

    def measure_samples(self, at: TrainProgress) -> None:
        """Has the samples of this step measured, once."""
        if self.watch is None or not at.step or self.watch.is_measured(at.step):
            return
        settings = self.job.settings
        plain = [] if settings.adapter.start_from else [self.job.prompt(prompt) for prompt in settings.samples.prompts]
        width, height = samples_size(settings)
        base = [one for one in self._made(START, plain) if (self.job.run.path / one.path).is_file()]
        made = self._made(at, self.overrides.prompts)
        self.watch.take(Samples(step=at.step, epoch=at.last_epoch, images=made, base=base, shape=width / height))

    def _made(self, at: TrainProgress, prompts: Sequence[str]) -> list[Made]:
        first = self.job.settings.samples.seed
        return [Made(self._sample_path(at, index), prompt, first + index) for index, prompt in enumerate(prompts)]

    @staticmethod
    def _sample_path(at: TrainProgress, index: int) -> str:
        return f"samples/step-{at.step:06d}/{index:02d}.png"

    def _is_there(self, relative: str, step: int) -> bool:
        """Whether a product of this step was written and reported; a kill may have come between the two."""
        return self._told.get(relative) == step and (self.job.run.path / relative).is_file()


def _why_sample_failed(error: Exception) -> str:
    if is_out_of_memory(error):
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return "There was too little memory for the samples."
    return f"The samples could not be made: {error}"
