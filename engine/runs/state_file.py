"""`state.json`: the snapshot of a run's state, kept by its trainer; with the rest of the log it gives the state of any moment."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import Any

from loratui.engine import sealed
from loratui.engine.disk_errors import at_once
from loratui.engine.errors import DiskError, UsageError
from loratui.engine.runs.directory import RunDirectory
from loratui.engine.runs.event_log import EventLog
from loratui.engine.runs.events import Event, read_events
from loratui.engine.runs.smoothing import SmoothedLoss
from loratui.engine.runs.state import RunState
from loratui.engine.runs.tail import Tail
from loratui.engine.untrusted import finite

FORMAT = 1

_WRITE_EVERY_S = 5.0
_MOST_BYTES = 1 << 22
_MOST_OF_A_LOG = 1 << 26
"""Without a snapshot no more than the end of a log is read for a line in a list."""
_END_OF_LOG = 8192
"""Bytes of the log that tell how a run stands: some fifty events."""


class StateWriter:
    """Keeps `state.json` up to date with what is written to the log: at most each 5 s, and at once when the phase changes."""

    def __init__(self, run: RunDirectory, log: EventLog) -> None:
        """From now on each event of `log` is taken in; what it held before is read."""
        self._run = run
        self.state = read_state(run)
        self._at: int | None = None
        """Where in the log the last event begins that was taken in."""
        self._written_at = float("-inf")
        self._mutex = threading.RLock()
        log.on_written = self._take

    def _take(self, event: Event, at: int) -> None:
        with self._mutex:
            phase = self.state.phase
            self.state.apply(event)
            self._at = at
            if self.state.phase != phase or time.monotonic() - self._written_at >= _WRITE_EVERY_S:
                self.write()

    def write(self) -> None:
        """Writes the file now, if there is news. A full disk is no error here, nor waited for: the log is the truth."""
        with self._mutex, contextlib.suppress(DiskError, UsageError), at_once():
            if self._at is not None:
                self._written_at = time.monotonic()
                body = {"v": FORMAT, "at": self._at, **self.state.to_json()}
                sealed.write(self._run.state, body, self._run.path, lasting=False)


def read_state(run: RunDirectory, job: str = "train") -> RunState:
    """The present state of a job: its snapshot and what the log holds since, or all of the log where there is no snapshot."""
    return open_state(run, job)[0]


def open_state(run: RunDirectory, job: str = "train") -> tuple[RunState, Tail]:
    """As `read_state`, with the place in the log at which the state stands."""
    tail = Tail(run.events_of(job))
    state = kept = _snapshot(run, tail) if job == "train" else None
    if state is None:
        state = RunState()
        tail.offset = max(0, tail.size - _MOST_OF_A_LOG)
    for batch, keep_every in tail.glance():
        state.apply_batch(batch, keep_every)
    if kept is None and job == "train":
        _count_what_is_missing(run, state)
    return state, tail


def _count_what_is_missing(run: RunDirectory, state: RunState) -> None:
    """Events that the snapshot has seen, and the log no longer holds, are lines that could not be used."""
    with contextlib.suppress(OSError):
        seen = sealed.read(run.state, run.path, _MOST_BYTES).get("seq")
        if type(seen) is int and state.seq < seen < 1 << 53:
            state.skipped += seen - state.seq


def _snapshot(run: RunDirectory, tail: Tail) -> RunState | None:
    """The state in `state.json`, and `tail` set to where its last event begins; None if that event is not there."""
    try:
        body = sealed.read(run.state, run.path, _MOST_BYTES)
    except OSError:
        return None
    if not 0 <= (finite(body.get("v")) or 0) <= FORMAT:
        return None
    if "at" not in body:
        return _figures_alone(body, tail)
    state, at = RunState.from_json(body), body["at"]
    if type(at) is not int or not 0 <= at < tail.size:
        return None
    try:
        first = read_events(tail.path, at, 512).events[:1]
    except OSError:
        return None
    if not first or first[0].seq != state.seq:
        return None
    tail.offset = at
    return state


def _figures_alone(body: dict[str, Any], tail: Tail) -> RunState | None:
    """The state of a run whose trainer was of a version that kept figures alone: the end of the log says how it stands.
    None if it says nothing."""
    state = RunState.from_json({**body, "phase": "", "text": "", "seq": 0})
    cut = tail.size > _END_OF_LOG
    tail.offset = max(0, tail.size - _END_OF_LOG)
    for batch in tail.drain():
        state.apply_batch(batch)
    smoothed = finite(body.get("loss_smoothed"))
    if smoothed is not None:
        state.smoothing = SmoothedLoss(state.step, smoothed, 1.0)
    state.eta.worked_s = finite(body.get("worked_s")) or 0.0
    if cut:  # the first line is most often a part of one
        state.skipped = max(0, state.skipped - 1)
    return state if state.seq or not tail.size else None
