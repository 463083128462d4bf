"""What a person may change while the run trains: the samples, and an earlier end."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import torch

from loratui.engine.errors import DiskError
from loratui.engine.machine.gpu_faults import is_out_of_memory
from loratui.engine.runs import changes
from loratui.engine.runs.changes import ChangeError, Changes
from loratui.engine.runs.state_file import read_state
from loratui.engine.training.reporting import Reporter
from loratui.engine.training.setup import Job
from loratui.engine.words import count

Answer = tuple[bool, str]
"""Whether a command was carried out, and what to say about it."""


class LiveOverrides:
    """The recipe's samples with the changes of this run. A change is on the disk before it takes effect."""

    def __init__(self, job: Job, report: Reporter) -> None:
        self._job, self._report = job, report
        self._changes = changes.read(job.run, lambda: read_state(job.run).changes)

    @property
    def prompts(self) -> list[str]:
        """The prompts of the next samples, filled in."""
        templates = self._changes.prompts or self._job.settings.samples.prompts
        return [self._job.prompt(template) for template in templates]

    @property
    def every_image_steps(self) -> int:
        """Image-steps between samples; 0: once an epoch."""
        every = self._changes.every_image_steps
        return self._job.settings.samples.every_image_steps if every is None else every

    @property
    def stop_after_epoch(self) -> int | None:
        """The epoch after which a person wants the run to end; None: its last."""
        return self._changes.stop_after_epoch

    def announce(self) -> None:
        """Reports the changes that were made before this start, if any."""
        if self._changes != Changes():
            self._tell()

    def set_samples(self, args: Mapping[str, Any], encode: Callable[[Sequence[str]], None]) -> Answer:
        """Sets other prompts or another interval. `encode` makes the text states of filled prompts and may run out of memory."""
        try:
            after = changes.with_samples(self._changes, args)
            if after.prompts is not None and after.prompts != self._changes.prompts:
                encode([self._job.prompt(template) for template in after.prompts])
        except ChangeError as error:
            return False, str(error)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            return False, "There is too little memory to read new prompts during training. Pause, and change the recipe."
        kept, words = self._keep(after, "")
        return kept, words or f"{_samples_in_words(len(self.prompts), self.every_image_steps)} From the next samples on."

    def stop_after(self, epoch: int, epochs: int, args: Mapping[str, Any]) -> Answer:
        """Ends the run after `epoch` of `epochs`, or revokes that (`cancel`)."""
        if args.get("cancel"):
            return self._keep(replace(self._changes, stop_after_epoch=None), "The run goes on to its end.")
        last = " It is the last one anyway." if epoch >= epochs else ""
        return self._keep(replace(self._changes, stop_after_epoch=epoch), f"The run stops after epoch {epoch}.{last}")

    def forget_the_end(self) -> None:
        """The run has stopped as wished or is done: the next start must not end after that epoch again."""
        if self._job.world.is_writer and self.stop_after_epoch is not None:
            kept, words = self._keep(replace(self._changes, stop_after_epoch=None), "")
            if not kept:
                self._report.warn("end_not_forgotten", problem=words)

    def _keep(self, after: Changes, words: str) -> Answer:
        """Saves changes and applies them; returns `words`, or the error of the disk."""
        try:
            changes.write(self._job.run, after)
        except DiskError as error:
            return False, str(error)
        self._changes = after
        self._tell()
        return True, words

    def _tell(self) -> None:
        self._report.event("changes_in_force", **asdict(self._changes))


def _samples_in_words(prompts: int, every: int) -> str:
    what = count(prompts, "sample")
    return f"{what} each {count(every, 'image-step')}." if every else f"{what} each epoch."
