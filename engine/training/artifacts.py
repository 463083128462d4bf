"""What a run leaves on its way: checkpoints, sample images and LoRA files."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch

from loratui.engine.errors import NotFiniteError
from loratui.engine.families.model import Model
from loratui.engine.formats.metadata import default_layout
from loratui.engine.machine.gpu_faults import is_gpu_lost, is_out_of_memory
from loratui.engine.runs.events import last_events
from loratui.engine.runs.lora_files import file_name
from loratui.engine.training.adapters.adapter import LoraAdapter
from loratui.engine.training.cache import TextCache
from loratui.engine.training.checkpoint import Checkpoint, prune, save_checkpoint
from loratui.engine.training.control_queue import ControlQueue
from loratui.engine.training.data import TrainProgress
from loratui.engine.training.ema import EMA
from loratui.engine.training.live_overrides import LiveOverrides
from loratui.engine.training.optimizers import optimizer_state
from loratui.engine.training.reporting import Reporter
from loratui.engine.training.sampler import sample_plan, write_sample
from loratui.engine.training.scaling import LossScaling
from loratui.engine.training.setup import Job
from loratui.engine.training.shipped import shipped_of, write_shipped
from loratui.engine.words import count

LOG_SEARCHED_BYTES = 1 << 20
"""End of the event log in which a resumed run looks for what was told of its last step."""


class Artifacts:
    """Writes the products of one run and tells of each. All take the position that the LoRA is at."""

    def __init__(
        self,
        job: Job,
        report: Reporter,
        control: ControlQueue,
        overrides: LiveOverrides,
        *,
        model: Model,
        adapter: LoraAdapter,
        optimizer: torch.optim.Optimizer,
        stepped_over: Sequence[str],
        ema: EMA,
        scaling: LossScaling,
        texts: TextCache,
        identity: dict[str, Any],
    ) -> None:
        self._job, self._report, self._control, self._overrides = job, report, control, overrides
        self._model, self._adapter, self._optimizer, self._texts = model, adapter, optimizer, texts
        self._ema, self._scaling, self._stepped_over = ema, scaling, list(stepped_over)
        self._identity = {**identity, "prediction": model.prediction}
        self._sampled_step: int | None = None
        told = last_events(job.run.events, LOG_SEARCHED_BYTES)
        self._told = {event.get("path") for event in told if event.type in ("sample_written", "output_written")}

    # ---- LoRA files

    def has_lora(self, at: TrainProgress) -> bool:
        """Whether the LoRA file of this step is there already."""
        return self._is_there(f"output/{file_name(self._job.output_name, at.step)}")

    def lora(self, at: TrainProgress, *, final: bool = False) -> None:
        """Writes a LoRA file of the state that was last checkpointed. `final`: under the name without a step."""
        settings = self._job.settings
        path = self._job.run.output / file_name(self._job.output_name, None if final else at.step)
        shipped = shipped_of(self._ema.shipped(), at, self._identity, settings)
        layout, dtype = default_layout(settings), settings.output.precision
        written = write_shipped(path, shipped, self._job, title=self._job.output_name, layout=layout, dtype=dtype)
        if not written.has_effect:
            self._report.warn("lora_unmoved", file=path.name)
        relative = path.relative_to(self._job.run.path).as_posix()
        self._told.add(relative)
        self._report.event(
            "output_written",
            durable=True,
            step=at.step,
            epoch=at.last_epoch,
            path=relative,
            bytes=written.bytes,
            norms={part: round(norm, 6) for part, norm in written.norms.items()},
            final=final,
        )

    # ---- samples

    def has_samples(self, at: TrainProgress) -> bool:
        """Whether all sample images of this step are there already."""
        return all(self._is_there(self._sample_path(at, index)) for index in range(len(self._overrides.prompts)))

    def samples(self, at: TrainProgress) -> bool:
        """Makes all sample images of this step, once. A failure is a warning and gives False: it never ends the training."""
        if self._sampled_step == at.step:
            return True
        settings = self._job.settings
        prompts = self._overrides.prompts
        total = len(prompts) * settings.samples.steps
        self._report.phase("sampling", f"Making {count(len(prompts), 'sample')}")
        for index, prompt in enumerate(prompts):
            seed = settings.samples.seed + index
            relative = self._sample_path(at, index)

            def on_step(done: int, of: int, index: int = index) -> None:
                self._report.progress(index * of + done, total, "denoising steps")
                self._control.stop_if_asked()

            try:
                plan = partial(sample_plan, settings, self._texts, prompt, seed)
                with self._ema.swapped_in():
                    write_sample(self._job.run.path / relative, self._model, self._adapter, plan, 1.0, on_step)
            except Exception as error:
                if is_gpu_lost(error):
                    raise
                self._report.warn("sample_failed", reason=_why_sample_failed(error))
                return False
            self._report.event(
                "sample_written",
                step=at.step,
                image_step=at.image_step,
                index=index,
                path=relative,
                prompt=prompt,
                seed=seed,
            )
        self._sampled_step = at.step
        return True

    @staticmethod
    def _sample_path(at: TrainProgress, index: int) -> str:
        return f"samples/step-{at.step:06d}/{index:02d}.png"

    # ---- checkpoints

    def checkpoint(self, at: TrainProgress, reason: str, *, epoch_loss: tuple[float, int]) -> None:
        """Saves all that is needed to go on from `at`.

        Raises `DiskError`, and `NotFiniteError` if the LoRA is no longer finite, so that the checkpoint before stays the newest.
        """
        began = time.monotonic()
        adapter = self._adapter.state()
        if not all(math.isfinite(float(value.sum())) for value in adapter.values()):
            raise NotFiniteError(
                f"The LoRA of step {at.step} has values that are not finite; it was not saved.",
                "Lower the learning rate, then start anew; the checkpoint and the LoRA files before it are good.",
            )
        optimizer, plain = optimizer_state(self._optimizer, self._stepped_over)
        path, size = save_checkpoint(
            self._job.run,
            Checkpoint(
                position=at,
                adapter=adapter,
                shipped=self._ema.shipped() if self._ema.differs else {},
                optimizer=optimizer,
                optimizer_plain=plain,
                scaling=self._scaling.state(),
                identity=self._identity,
                epoch_loss=epoch_loss,
            ),
        )
        self._report.event(
            "checkpoint_written",
            durable=True,
            step=at.step,
            image_step=at.image_step,
            path=path.relative_to(self._job.run.path).as_posix(),
            bytes=size,
            seconds=round(time.monotonic() - began, 3),
            reason=reason,
        )
        prune(self._job.run, self._job.settings.output.keep_checkpoints)

    def _is_there(self, relative: str) -> bool:
        """Whether a product was written and told of; a kill may have come between the two."""
        return relative in self._told and (self._job.run.path / relative).is_file()


def _why_sample_failed(error: Exception) -> str:
    if is_out_of_memory(error):
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return "There was too little memory for the samples."
    return f"The samples could not be made: {error}"
