"""What the queue does next: pure decisions from its entries and what is known of their runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from loratui.engine.errors import ExitCode
from loratui.engine.runs.queue.entries import Entry, Queue
from loratui.engine.runs.verdict import Status
from loratui.engine.words import count, times

MOST_STARTS = 3
"""Starts of a run that gets no further in between: then the fault is not bad luck, and the next run has its turn."""

_NEXT_WOULD_FAIL_TOO = (ExitCode.DISK, ExitCode.GPU_LOST)
"""How a run ends where the machine is at fault."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What is known of the run of an entry."""

    there: bool = True
    held: bool = False
    """Whether somebody works on it."""
    seq: int = 0
    mark: int = 0
    status: Status = "interrupted"
    exit_code: int | None = None
    reason: str = ""
    resumable: bool = True
    by_signal: bool = False
    """Whether it was stopped by the machine or its container, and by no person."""


@dataclass(frozen=True, slots=True)
class Settled:
    """What becomes of an entry that nobody works on."""

    entry: Entry | None
    """None: it leaves the queue."""
    words: str = ""
    """Why, for the log."""
    holds: str = ""
    """Why nothing more is started; empty where the next has its turn."""


def settle(entry: Entry, seen: Seen) -> Settled:
    """Whether an entry stays, by what its run did since it was added or last started."""
    what = entry.run if entry.job == "train" else f"the validation of {entry.run}"
    if not seen.there:
        return Settled(None, f"{what} leaves the queue: the run is gone.")
    if seen.held:
        return Settled(entry)
    if seen.seq == entry.seq:  # it was not started, or nothing came of that
        if entry.starts < MOST_STARTS:
            return Settled(entry)
        return Settled(None, f"{what} leaves the queue: it was started {times(entry.starts)} and did not begin.")
    if seen.status == "done" or (seen.status == "stopped" and not seen.by_signal):
        return Settled(None, f"{what} is {seen.status}.")
    waits = replace(entry, starts=0, seq=seen.seq, mark=seen.mark)
    if seen.status == "paused":
        return Settled(waits, f"{what} is paused.", f"{what} was paused.")
    if seen.status == "failed":
        words = f"{what} has failed: {seen.reason}"
        if seen.exit_code in _NEXT_WOULD_FAIL_TOO:
            return Settled(
                waits if seen.resumable else None, words, f"{what} has failed, and the next would too: {seen.reason}"
            )
        return Settled(None, words)
    if not seen.resumable:
        return Settled(None, f"{what} leaves the queue: {seen.reason}")
    if seen.mark > entry.mark:
        return Settled(waits, f"{what} was interrupted and goes on: {seen.reason}")
    if entry.starts < MOST_STARTS:
        return Settled(replace(waits, starts=entry.starts), f"{what} was interrupted and starts again: {seen.reason}")
    return Settled(None, f"{what} leaves the queue: {count(entry.starts, 'start')} got no further. {seen.reason}")


def begun(entry: Entry, seen: Seen) -> Entry:
    """The entry of a run that is about to be started."""
    return replace(entry, starts=entry.starts + 1, seq=seen.seq, mark=seen.mark)


def put(queue: Queue, entry: Entry) -> Queue:
    """With another entry in the place of the old one of the same run and job."""
    entries = (entry if (one.run, one.job) == (entry.run, entry.job) else one for one in queue.entries)
    return replace(queue, entries=tuple(entries))


def without(queue: Queue, entries: Sequence[Entry]) -> Queue:
    """Without the entries of these runs and jobs."""
    gone = {(entry.run, entry.job) for entry in entries}
    return replace(queue, entries=tuple(one for one in queue.entries if (one.run, one.job) not in gone))


def waits_for_others(queue: Queue, run: str) -> int:
    """How many starts are still to come besides the training of this run; none while the queue is on hold."""
    return 0 if queue.on_hold else sum(1 for entry in queue.entries if (entry.run, entry.job) != (run, "train"))
