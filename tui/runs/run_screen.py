"""What the screens of one run share: following its log in a thread, its status, and starting jobs."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from textual import work
from textual.message import Message
from textual.worker import Worker, get_current_worker

from loratui.engine.errors import LoratuiError
from loratui.engine.runs.directory import RunDirectory
from loratui.engine.runs.state import RunState
from loratui.engine.runs.state_file import read_state
from loratui.engine.runs.summary import RunSummary, summarise
from loratui.engine.runs.tail import POLL_S, Tail
from loratui.tui.runs.store import RunStore
from loratui.tui.screens.base import LoratuiScreen

if TYPE_CHECKING:
    from loratui.engine.runs.events import EventBatch

Job = Literal["train", "validate"]

_STAND_EVERY_S = 2.0
_MOST_WAITING = 2
"""Messages that may wait in the screen before the reader pauses: a slow link must not fill the memory."""


@dataclass
class EventsRead(Message):
    """New events of a job's log."""

    job: str
    batch: EventBatch
    restarted: bool = False
    """Whether the log began again, so earlier events no longer count."""
    keep_every: int = 1
    """Of the frequent events, only one in so many is in the batch: a glance at a long log."""
    state: RunState | None = None
    """The exact state after a glance."""


@dataclass
class LogEndReached(Message):
    """The log was read to its end; what follows is new."""

    job: str


@dataclass
class StandingChanged(Message):
    """The status of the run has changed."""

    summary: RunSummary

    def can_replace(self, message: Message) -> bool:
        """Only the newest counts."""
        return isinstance(message, StandingChanged)


class RunScreen(LoratuiScreen[None]):
    """Follows one job of one run. Subclasses give `JOB`, and `events_taken()` to show what is new."""

    JOB: Job

    def __init__(self, run: RunDirectory) -> None:
        super().__init__()
        self.run_directory = run
        self.history = RunStore()
        self.summary: RunSummary | None = None
        self.caught_up = False
        """Whether the log was read to its end once."""

    @property
    def run_name(self) -> str:
        return self.run_directory.name

    @work(thread=True, exclusive=True, group="follow", description="follow the log")
    def follow(self) -> None:
        """Reads the log and the status, in a thread, for as long as the screen is open."""
        worker = get_current_worker()
        tail = Tail(self.run_directory.events_of(self.JOB))
        stood: RunSummary | None = None
        look_at = 0.0
        caught_up = False
        keep_every = 1
        for batch, keep_every in tail.glance():
            self.post_message(EventsRead(self.JOB, batch, keep_every=keep_every))
            self._wait_for_room(worker)
        if keep_every > 1:
            state = read_state(self.run_directory, self.JOB)
            self.post_message(EventsRead(self.JOB, tail.read(), state=state))
        while not worker.is_cancelled:
            before = tail.offset
            batch = tail.read()
            if batch.events or batch.skipped or tail.restarted:
                self.post_message(EventsRead(self.JOB, batch, tail.restarted))
            at_end = tail.offset == before
            if time.monotonic() >= look_at:
                look_at = time.monotonic() + _STAND_EVERY_S
                stands = summarise(self.run_directory, closely=True)
                if stood is None or _outline(stands) != _outline(stood):
                    stood = stands
                    self.post_message(StandingChanged(stands))
            if at_end and not caught_up:
                # After the status: the lines it adds would make the images smaller, and sent twice.
                caught_up = True
                self.post_message(LogEndReached(self.JOB))
            if at_end:
                self.rest(worker, POLL_S)
            self._wait_for_room(worker)

    def _wait_for_room(self, worker: Worker[object]) -> None:
        while self.message_queue_size > _MOST_WAITING and not worker.is_cancelled:
            self.rest(worker, 0.005)

    def on_events_read(self, message: EventsRead) -> None:
        if message.restarted:
            self.history = RunStore()
        if message.state is not None:
            self.history.state = message.state
        self.history.apply_batch(message.batch, message.keep_every)
        if self.caught_up:
            self.events_taken()

    def on_log_end_reached(self, message: LogEndReached) -> None:
        """Shows what was read, and keeps the garbage collector from searching it again."""
        del message
        gc.freeze()
        self.caught_up = True
        self.events_taken()

    def on_standing_changed(self, message: StandingChanged) -> None:
        """Keeps the status; the subclass shows it."""
        self.summary = message.summary
        self.events_taken()

    def events_taken(self) -> None:
        """The state or the status is new."""

    @property
    def state(self) -> RunState:
        return self.history.state

    @property
    def active(self) -> bool:
        """Whether a process works on the run."""
        return self.summary is not None and self.summary.active

    @property
    def gone(self) -> bool:
        """Whether the run's folder has disappeared."""
        return self.summary is not None and self.summary.gone

    @property
    def only_looks(self) -> bool:
        """Nothing is written for a run that is gone: that would make a folder that is no run."""
        return super().only_looks or self.gone

    @work(exclusive=True, group="launch", description="start a job")
    async def launch(self, job: Job, actions: str = "") -> None:
        """Starts a job of the run in the background, and reads the log again from its start."""
        from loratui.engine.runs.launcher import launch

        try:
            await self.in_thread(launch, self.run_directory, job, *([actions] if actions else []))
        except (LoratuiError, OSError) as error:
            self.loratui.tell(str(error), "error")
        self.history = RunStore()
        self.caught_up = False
        self.follow()

    def farewell(self) -> Iterator[str]:
        """What to print when the person leaves the app here."""
        name = self.run_directory.name
        if self.active and self.summary is not None:
            what = "Validation images are being made" if self.summary.job == "validate" else "Training continues"
            yield f"{what}. Come back with: loratui attach {name}"

    def file(self, relative: str) -> Path | None:
        """A file of the run that its log names; None if the name leads out of the run."""
        return self.run_directory.file(relative)

    def action_back(self) -> None:
        self.loratui.open("home")


def _outline(summary: RunSummary) -> tuple[object, ...]:
    return summary.status, summary.job, summary.reason, summary.advice
