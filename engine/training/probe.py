"""The job `probe`: loads the base, encodes the largest pictures and makes a few real steps, to measure memory and time."""

from __future__ import annotations

import itertools
import resource
import statistics
import time

import torch

from loratui.engine.errors import ExitCode
from loratui.engine.planning.measured import Measurement, remember, work_of
from loratui.engine.runs.probe import STEPS
from loratui.engine.training.recorded import EAGER
from loratui.engine.training.trainer import Trainer

SETTLING = EAGER + 1
"""Steps on a GPU before a step takes as long as it will."""


class Probe(Trainer):
    """A training of which only the beginning is carried out; nothing it makes is kept but the measurement."""

    def run(self) -> ExitCode:
        """Measures, tells it in `probe_finished`, and remembers it for the estimates. Errors are raised."""
        with self.requests.at_once():  # nothing here is worth saving
            self._set_up()
            load_s = time.monotonic() - self.started
            self.report.phase("training", "Making one real step")
            seconds = []
            for window in itertools.islice(self.course.windows(), STEPS if self.job.device.type == "cuda" else STEPS // 2):
                began = time.monotonic()
                self._step(window)
                self._wait_for_the_device()
                seconds.append((time.monotonic() - began, window.images))
        # On a GPU the first passes choose kernels and the third is recorded: a run makes all others as those after it are.
        timed = seconds[SETTLING if self.job.device.type == "cuda" else 1 :] or seconds
        step_s = statistics.median(taken for taken, _ in timed)
        image_step_s = statistics.median(taken / images for taken, images in timed)
        on_gpu = self.job.device.type == "cuda"
        device = self.job.card.name if self.job.card else "cpu"
        peak_vram_gib = torch.cuda.max_memory_reserved(self.job.device) / 2**30 if on_gpu else None
        peak_ram_gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        remember(
            Measurement(
                gpu=device,
                model=self.settings.base.model,
                resolution=self.settings.dataset.resolution,
                batch_size=self.settings.training.batch_size,
                image_step_s=image_step_s,
                work=work_of(self.settings),
                peak_vram_gib=peak_vram_gib,
                peak_ram_gib=peak_ram_gib,
            )
        )
        self.report.event(
            "probe_finished",
            device=device,
            step_s=step_s,
            image_step_s=image_step_s,
            peak_vram_gib=peak_vram_gib,
            peak_ram_gib=peak_ram_gib,
            load_s=load_s,
        )
        return ExitCode.DONE

    def _wait_for_the_device(self) -> None:
        """A GPU works behind the program's back; a time is right only when it is done."""
        if self.job.device.type == "cuda":
            torch.cuda.synchronize(self.job.device)
