"""Follows the event log that another process writes: bounded reads, so that a screen stays quick on a long log."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from loratui.engine.runs import aside
from loratui.engine.runs.events import EventBatch, read_events, skim_events

READ_BYTES = 1 << 18
"""One read: about 1 500 events, some 20 ms of work for who takes them in."""

SKIM_BYTES = 1 << 22
_STEPS_WANTED = 2000
"""Steps of a long past that are looked at: more than a plot has columns."""
_STEP_BYTES = 190
"""A usual line of a step."""

POLL_S = 0.25
"""Polling at the end of the log costs microseconds, and works on network volumes, where notifications do not."""


class Tail:
    """Remembers how far a log was read; a log that became shorter is another log and is read from its start."""

    def __init__(self, path: Path, offset: int = 0) -> None:
        self.path = path
        self.offset = offset
        self.restarted = False
        """Whether the last `read` began again from the start."""
        self._told = 0
        """The last event that was given before it was in the log."""

    @property
    def size(self) -> int:
        """Bytes of the log now; 0 where it cannot be read."""
        try:
            return self.path.stat().st_size
        except OSError:
            return 0

    def read(self) -> EventBatch:
        """The next events, also those that the disk of the run does not take now, each once; an empty batch at their end.

        A log that cannot be read now has no more.
        """
        self.restarted = False
        try:
            if self.offset and self.path.stat().st_size < self.offset:
                self.offset, self.restarted, self._told = 0, True, 0
            batch = read_events(self.path, self.offset, READ_BYTES)
        except OSError:
            batch = EventBatch((), self.offset, 0)
        at_end, self.offset = batch.offset == self.offset, batch.offset
        events = tuple(event for _, event in aside.unsaid(self.path)) if at_end else batch.events
        if self._told:
            events = tuple(event for event in events if event.seq > self._told)
        if at_end and events:
            self._told = events[-1].seq
        return replace(batch, events=events)

    def glance(self) -> Iterator[tuple[EventBatch, int]]:
        """The past up to the present end of the log, and of its frequent events only each so many-th, which is the number
        beside each batch. A short past is read in full."""
        size = self.size
        keep_every = max(1, (size - self.offset) // (_STEPS_WANTED * _STEP_BYTES))
        while self.offset < size:
            before = self.offset
            try:
                batch = skim_events(self.path, before, keep_every, SKIM_BYTES) if keep_every > 1 else self.read()
            except OSError:
                return
            self.offset = batch.offset
            if batch.events or batch.skipped:
                yield batch, keep_every
            if self.offset == before:
                return
        batch = self.read()
        if batch.events:
            yield batch, 1

    def drain(self) -> Iterator[EventBatch]:
        """Batches up to the present end of the log."""
        while True:
            before = self.offset
            batch = self.read()
            if batch.events or batch.skipped:
                yield batch
            if self.offset == before:
                return
