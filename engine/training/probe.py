"""The job `probe`: loads the base, encodes the largest images, reads the base and makes a few real steps to measure memory and time.

The job `base` is the same without the steps.
"""

from __future__ import annotations

import itertools
import statistics
import time

import torch

from loratui.engine.errors import ExitCode
from loratui.engine.planning.measured import remember
from loratui.engine.runs.probe import STEPS
from loratui.engine.training.cuda_graph import EAGER
from loratui.engine.training.trainer import Trainer

SETTLING = EAGER + 1
"""Steps on a GPU before the duration of a step settles."""


class BaseReading(Trainer):
    """A training without steps: the base is loaded and read as it is."""

    def run(self) -> ExitCode:
        """Reads the base on the run's images and reports it in `base_read`. Errors are raised."""
        with self.control.at_once():  # nothing here is worth saving
            self._set_up()
            self.read_the_base()
        return ExitCode.DONE

    def save_whole_steps(self) -> None:
        """Nothing here is worth saving."""

    def _check_the_base(self) -> None:
        """The app decides on what is read here; see `read_the_base`."""


class Probe(BaseReading):
    """The first steps of a training; only the measurement is kept."""

    def run(self) -> ExitCode:
        """Measures, reports it in `probe_finished`, and remembers it for the estimates. Errors are raised."""
        on_gpu, started = self.job.device.type == "cuda", time.monotonic()
        with self.control.at_once():  # nothing here is worth saving
            self._set_up()
            self.steps.not_finite.most = 0
            load_s = time.monotonic() - started
            self.read_the_base()
            self.report.phase("training", "Making one real step")
            seconds = []
            for window in itertools.islice(self.batch_schedule.windows(), STEPS if on_gpu else STEPS // 2):
                began = time.monotonic()
                self.steps.make(window)
                self.steps.settle()
                self.steps.fit_blocks(window)
                if on_gpu:
                    torch.cuda.synchronize(self.job.device)  # else the time would be that of queueing the work
                seconds.append((time.monotonic() - began, window.images))
        timed = seconds[SETTLING if on_gpu else 1 :] or seconds
        step_s = statistics.median(taken for taken, _ in timed)
        image_step_s = statistics.median(taken / images for taken, images in timed)
        found = self.progress.measured(image_step_s, compiled=self.steps.compiling.compiled)
        remember(found)
        self.report.event(
            "probe_finished",
            device=found.gpu,
            step_s=step_s,
            image_step_s=image_step_s,
            peak_vram_gib=found.peak_vram_gib,
            peak_ram_gib=found.peak_ram_gib,
            load_s=load_s,
        )
        return ExitCode.DONE
