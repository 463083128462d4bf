"""The job `probe`: loads the base, encodes the largest images, reads the base and makes a few real steps, to measure memory and time.

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
from loratui.engine.words import GIB

SETTLING = EAGER + 1
"""Steps on a GPU before a step takes as long as it will."""


class BaseReading(Trainer):
    """A training of which nothing is carried out: the base is loaded and read as it is."""

    def run(self) -> ExitCode:
        """Reads the base on the run's images and tells it in `base_read`. Errors are raised."""
        with self.control.at_once():  # nothing here is worth saving
            self._set_up()
            self.read_the_base()
        return ExitCode.DONE

    def _check_the_base(self) -> None:
        """What is read here decides in the app; see `read_the_base`."""


class Probe(BaseReading):
    """A training of which only the beginning is carried out; nothing it makes is kept but the measurement."""

    def run(self) -> ExitCode:
        """Measures, tells it in `probe_finished`, and remembers it for the estimates. Errors are raised."""
        on_gpu, started = self.job.device.type == "cuda", time.monotonic()
        with self.control.at_once():  # nothing here is worth saving
            self._set_up()
            load_s = time.monotonic() - started
            loading_gib = torch.cuda.max_memory_reserved() / GIB if on_gpu else 0.0
            self.read_the_base()
            self.report.phase("training", "Making one real step")
            seconds = []
            for window in itertools.islice(self.batch_schedule.windows(), STEPS if on_gpu else STEPS // 2):
                began = time.monotonic()
                self._step(window)
                self._wait_for_the_device()
                seconds.append((time.monotonic() - began, window.images))
        timed = seconds[SETTLING if on_gpu else 1 :] or seconds
        step_s = statistics.median(taken for taken, _ in timed)
        image_step_s = statistics.median(taken / images for taken, images in timed)
        found = self._measured(image_step_s, loading_gib)
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

    def _wait_for_the_device(self) -> None:
        """A GPU works behind the program's back; a time is right only when it is done."""
        if self.job.device.type == "cuda":
            torch.cuda.synchronize(self.job.device)
