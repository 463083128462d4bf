"""The images of every batch: the whole order of a run, known before its first step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from loratui.engine.dataset.ledger import LedgerEntry
from loratui.engine.planning.order import OrderEntry, epoch_batches
from loratui.presets.schema import Settings


@dataclass(frozen=True)
class TrainProgress:
    """A position between two optimizer steps."""

    epoch: int
    """Counted from 1."""
    window: int
    """Finished windows of this epoch."""
    step: int
    """Finished optimizer steps."""
    image_step: int
    micro_step: int
    """Finished batches."""

    @property
    def last_epoch(self) -> int:
        """Epoch of the last finished step; 0 at the start."""
        return self.epoch if self.window else self.epoch - 1


START = TrainProgress(epoch=1, window=0, step=0, image_step=0, micro_step=0)


@dataclass(frozen=True)
class AccumulationWindow:
    """The batches whose gradients make one optimizer step."""

    batches: tuple[tuple[int, ...], ...]
    """Ledger indices, batch by batch."""
    before: TrainProgress
    after: TrainProgress
    ends_epoch: bool
    shown: tuple[tuple[int, ...], ...] = ()
    """How often each of these images was shown before, batch by batch."""

    @property
    def images(self) -> int:
        """Image-steps in this window."""
        return sum(map(len, self.batches))


@dataclass(frozen=True)
class BatchSchedule:
    """The order of a whole run; every part of it is a pure function of these values."""

    entries: Sequence[OrderEntry]
    seed: int
    epochs: int
    batch_size: int
    window_batches: int
    """Batches behind one optimizer step (`Training.window_batches`)."""
    image_steps: int = 0
    """Total at which the last epoch is cut off; 0: all epochs in full."""
    continued: bool = False
    """Whether whole epochs follow the one that is cut off: those of a run that continues another."""

    def windows(self, start: TrainProgress = START) -> Iterator[AccumulationWindow]:
        """The windows from `start` on. The last window of an epoch may have fewer batches, and a batch fewer images."""
        at = start
        while at.epoch <= self.epochs:
            windows = self._epoch(at.epoch)
            if not windows:
                return
            shown = self._shown_before(at.epoch, windows)
            for number in range(at.window, len(windows)):
                batches = windows[number]
                last = number == len(windows) - 1
                after = TrainProgress(
                    epoch=at.epoch + 1 if last else at.epoch,
                    window=0 if last else number + 1,
                    step=at.step + 1,
                    image_step=at.image_step + sum(map(len, batches)),
                    micro_step=at.micro_step + len(batches),
                )
                yield AccumulationWindow(batches, at, after, last, shown[number])
                at = after

    def _shown_before(self, epoch: int, windows: Sequence[tuple[tuple[int, ...], ...]]) -> list[tuple[tuple[int, ...], ...]]:
        """For each image of these windows, how often the run showed it before."""
        counts = {entry.index: (epoch - 1) * entry.repeats for entry in self.entries}
        cut = -(-self.image_steps // max(1, sum(entry.repeats for entry in self.entries)))
        if self.continued and 0 < cut < epoch:  # the epoch that was cut off did not show every image as often as the others
            there = Counter(index for window in self._epoch(cut) for batch in window for index in batch)
            for entry in self.entries:
                counts[entry.index] += there[entry.index] - entry.repeats

        def counted(index: int) -> int:
            counts[index] += 1
            return counts[index] - 1

        return [tuple(tuple(map(counted, batch)) for batch in window) for window in windows]

    def _epoch(self, epoch: int) -> list[tuple[tuple[int, ...], ...]]:
        shown = sum(entry.repeats for entry in self.entries)
        limit = None
        if self.image_steps:
            limit = min(shown, self.image_steps - (epoch - 1) * shown)
            if limit <= 0 and not self.continued:
                return []
            limit = limit if limit > 0 else None
        batches = epoch_batches(self.entries, seed=self.seed, epoch=epoch, batch_size=self.batch_size, limit=limit)
        return [
            tuple(tuple(batch) for batch in batches[at : at + self.window_batches])
            for at in range(0, len(batches), self.window_batches)
        ]


def schedule_of(settings: Settings, images: Sequence[LedgerEntry]) -> BatchSchedule:
    """The schedule of a run with these images."""
    return BatchSchedule(
        [OrderEntry(i, entry.bucket, entry.repeats) for i, entry in enumerate(images)],
        seed=settings.training.seed,
        epochs=settings.schedule.epochs,
        batch_size=settings.training.batch_size,
        window_batches=settings.training.window_batches,
        image_steps=settings.schedule.image_steps,
        continued=bool(settings.schedule.continue_run),
    )
