"""Measures the loss on images that are not trained on after each epoch, with the LoRA and without, and a few times that on each trained one."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch

from loratui.engine.dataset.ledger import LedgerEntry
from loratui.engine.machine.gpu_faults import is_gpu_lost, is_out_of_memory
from loratui.engine.planning import loss_measuring
from loratui.engine.runs.events import last_events
from loratui.engine.runs.image_losses import ImageLoss, pulls, told
from loratui.engine.runs.state_file import read_state
from loratui.engine.training.artifacts import LOG_SEARCHED_BYTES
from loratui.engine.training.data import TrainProgress
from loratui.engine.training.ema import EMA
from loratui.engine.training.fixed_loss import FixedLoss
from loratui.engine.training.reporting import Reporter, first_line
from loratui.engine.training.setup import Job

TYPES = ("held_out", "image_losses")
"""The events that tell of losses, in the order in which they are measured."""


@dataclass(frozen=True)
class Watched:
    """Images whose loss is measured after each epoch."""

    what: str
    """`held_out`, `regularisation`, `class_images` or, without any, empty."""
    entries: tuple[LedgerEntry, ...] = ()
    draws: int = 0
    """Times at which each is measured."""


def watched(entries: Sequence[LedgerEntry]) -> Watched:
    """The images that are held out; else some of regularisation, where that does not take too long."""
    held = tuple(entry for entry in entries if entry.held_out)
    others = [entry for entry in entries if entry.regularisation and entry.repeats]
    step = max(1.0, len(others) / loss_measuring.MOST_OTHERS)
    chosen = held or tuple(others[int(at * step)] for at in range(min(loss_measuring.MOST_OTHERS, len(others))))
    draws = loss_measuring.draws(len(chosen), sum(entry.repeats for entry in entries), held_out=bool(held))
    if not draws:
        return Watched("")
    what = "held_out" if held else "class_images" if all(entry.made for entry in chosen) else "regularisation"
    return Watched(what, chosen, draws)


class HeldOutLoss:
    """These measurements of one run. A failure is a warning, and nothing more is measured: it never ends the training."""

    def __init__(self, job: Job, report: Reporter, loss: FixedLoss, ema: EMA, total: TrainProgress) -> None:
        self._report, self._loss, self._ema, self._team = report, loss, ema, job.team
        images = job.ledger.images
        self._watched = watched(images)
        trained = tuple(entry for entry in images if entry.repeats and not entry.regularisation)
        subject = sum(entry.planned_exposures for entry in trained)
        self._trained = Watched("trained", trained, loss_measuring.image_draws(len(trained), subject))
        self._image_epochs = loss_measuring.image_epochs(total.epoch - 1) if self._trained.draws else frozenset()
        """Epochs after which each trained image is measured."""
        self._starts_anew = not job.settings.adapter.start_from
        self._base: dict[str, list[float]] = {}
        self._failed = False
        self._pulls = {pull.image: pull for pull in read_state(job.run).pulls}
        known = last_events(job.run.events, LOG_SEARCHED_BYTES)
        self._told = {(event.type, event.count("step")) for event in known if event.type in TYPES}

    def is_due(self, type: str, epoch: int, step: int) -> bool:
        """Whether one of `TYPES` is to be measured after this epoch, or with 0 before the first, and the log does not have it."""
        wanted = bool(self._watched.what) if type == "held_out" else epoch in self._image_epochs
        return wanted and not self._failed and (type, step) not in self._told

    def measure(self, type: str, epoch: int, step: int) -> None:
        """Measures one of `TYPES` and reports it. All processes of the run do it together, each for its share of the images."""
        held = type == "held_out"
        of, text = (self._watched, "images that are not trained on") if held else (self._trained, "each image")
        self._report.phase("measuring", f"Measuring the loss on {text}")
        began = time.monotonic()
        losses, base, why = self._measured(of, fresh=not step and self._starts_anew)
        if self._team.least(float(not why)) < 1:
            self._failed = True
            self._report.warn("held_out_failed", reason=why or "another process failed")
            return
        self._base[of.what] = base = self._team.summed(base) if of.what not in self._base else base
        losses = base if losses is None else self._team.summed(losses)
        (self._tell if held else self._tell_images)(epoch, step, losses, base, round(time.monotonic() - began, 3))
        self._told.add((type, step))

    def _measured(self, of: Watched, *, fresh: bool) -> tuple[list[float] | None, list[float], str]:
        """Losses with the values that a file would get now, those of the base, and why there are none. Each has 0 at the places of other
        processes, but for what is known. `fresh`: the LoRA changes nothing yet, and None stands for the base's losses."""
        try:
            base = self._base.get(of.what) or self._of_share(of, 0.0)
            if fresh:
                return None, base, ""
            with self._ema.swapped_in():
                return self._of_share(of, 1.0), base, ""
        except Exception as error:
            if is_gpu_lost(error):
                raise
            return [], [], _why(error)

    def _of_share(self, of: Watched, strength: float) -> list[float]:
        shared = dict(self._team.world.share(of.entries))
        own = self._loss.of(list(shared.values()), of.draws, strength)
        found = dict(zip(shared, own, strict=True))
        return [found.get(place, 0.0) for place in range(len(of.entries))]

    def _tell(self, epoch: int, step: int, losses: list[float], base: list[float], seconds: float) -> None:
        self._report.event(
            "held_out",
            epoch=epoch,
            step=step,
            loss=sum(losses) / len(losses),
            base_loss=sum(base) / len(base),
            what=self._watched.what,
            images=[
                {"image": entry.relative, "loss": loss, "base_loss": before}
                for entry, loss, before in zip(self._watched.entries, losses, base, strict=True)
            ],
            draws=self._watched.draws,
            seconds=seconds,
        )

    def _tell_images(self, epoch: int, step: int, losses: list[float], base: list[float], seconds: float) -> None:
        rows = [
            ImageLoss(entry.relative, loss, before)
            for entry, loss, before in zip(self._trained.entries, losses, base, strict=True)
        ]
        # An image that the LoRA could not learn for long may be known by heart at the end.
        self._pulls |= {pull.image: pull for pull in pulls(rows)}
        found = tuple(self._pulls.values())
        self._report.event(
            "image_losses",
            epoch=epoch,
            step=step,
            images=[asdict(row) for row in rows],
            pulls=[asdict(pull) for pull in found],
            draws=self._trained.draws,
            seconds=seconds,
        )
        if epoch == max(self._image_epochs):
            for warning in told(found):
                self._report.warn_of(warning)


def _why(error: Exception) -> str:
    if not is_out_of_memory(error):
        return first_line(error)
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return "there was too little memory"
