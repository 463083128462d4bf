"""The queue of a home: which runs wait, in which order, and whether it is on hold. One small file, changed under a lock."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from loratui.engine import durable, sealed
from loratui.engine.disk_errors import disk_error
from loratui.engine.errors import UsageError
from loratui.engine.runs import lock
from loratui.engine.runs.directory import RUN_NAME, RunDirectory
from loratui.engine.untrusted import Gone

FORMAT = 1
FILE = "queue.json"
LOG = "queue.log"
"""What the process that starts the runs prints."""
_WATCHED, _EDITED = "queue.lock", "queue.edit.lock"
MOST = 500
"""Entries; more are refused, and a file with more is not read."""

Job = Literal["train", "validate"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A run that waits, or that the queue has started."""

    run: str
    """Its name."""
    job: Job = "train"
    cache_from: str = ""
    """A run of the same images, whose latents, text embeddings and measures of the base are used too, as far as they fit."""
    starts: int = 0
    """Starts by the queue since the run last got further."""
    seq: int = 0
    """The last event of the job's log when the run was added or last started: what follows tells what became of it."""
    mark: int = 0
    """How far the run had got by then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """All of it, in order."""

    entries: tuple[Entry, ...] = ()
    on_hold: str = ""
    """Why nothing is started; empty while runs are started."""
    pods: tuple[str, ...] = field(default=())
    """Runs that would have stopped the pod if no other run had waited."""

    def place(self, run: str, seq: int = -1) -> int:
        """From 1 on, among the runs that wait for their training; 0 for one that does not, or that the queue has started. `seq` is the
        last event of the run's log: a start of which nothing follows there is still to come."""
        trained = (entry for entry in self.entries if entry.job == "train")
        waiting = [entry.run for entry in trained if not entry.starts or (entry.run == run and entry.seq == seq)]
        return waiting.index(run) + 1 if run in waiting else 0

    def entry(self, run: str, job: Job = "train") -> Entry | None:
        """The entry of a run and job."""
        return next((entry for entry in self.entries if (entry.run, entry.job) == (run, job)), None)


def read(home: Path) -> Queue:
    """The queue as it is now. Raises `UsageError` for a file that cannot be used."""
    path = home / FILE
    try:
        return _queue(sealed.read(path, home))
    except Gone:
        return Queue()
    except (OSError, ValueError, TypeError, KeyError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not what loratui writes"
        remedy = f"The runs themselves are whole. Delete it, then add them again: loratui queue add RUN (runs are in {home})"
        raise UsageError(f"The queue cannot be read: {path} {reason}.", remedy) from None


def read_if_possible(home: Path) -> Queue:
    """As `read`; an empty queue where the file cannot be used, for lists that are about something else."""
    try:
        return read(home)
    except UsageError:
        return Queue()


def of_run(run: RunDirectory) -> Queue:
    """The queue of the home that a run is in; an empty one for a run elsewhere."""
    folder = run.path.parent
    return read_if_possible(folder.parent) if folder.name == "runs" else Queue()


def change(home: Path, do: Callable[[Queue], Queue]) -> Queue:
    """Changes the queue as it is at this moment, so that two viewers do not undo each other. Raises `UsageError`, `DiskError`."""
    with editing(home):
        before = read(home)
        after = do(before)
        if len(after.entries) > MOST:
            raise UsageError(f"The queue takes {MOST} entries.", "Remove some: loratui queue remove RUN")
        if after != before:
            table = {"format": FORMAT, "entries": [asdict(entry) for entry in after.entries]}
            sealed.write(home / FILE, {**table, "on_hold": after.on_hold, "pods": list(after.pods)}, home)
        return after


@contextlib.contextmanager
def editing(home: Path) -> Iterator[None]:
    """Nobody else changes the queue within the block. Raises `DiskError`."""
    durable.make_directory(home)
    path = home / _EDITED
    try:
        fd = durable.open_to_write(path, os.O_RDWR)
    except OSError as error:
        raise disk_error(error, path) from error
    try:
        with contextlib.suppress(
            OSError
        ):  # a file system without locks: changes of two viewers at one moment are all it can lose
            fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def watch_lock(home: Path) -> Path:
    """The file that is locked while a process starts the runs of the queue."""
    return home / _WATCHED


def is_watched(home: Path) -> bool:
    """Whether a process starts the runs of the queue."""
    return lock.is_held(watch_lock(home))


def moved(queue: Queue, run: str, place: int) -> Queue:
    """With all entries of a run at another place among the runs, from 1 on; its training stays before its validation.

    Raises `UsageError` for a run that does not wait.
    """
    order = list(dict.fromkeys(entry.run for entry in queue.entries))
    if run not in order:
        raise UsageError(f"{run} is not in the queue.", "loratui queue lists the runs that wait.")
    order.remove(run)
    order.insert(max(0, place - 1), run)
    return replace(queue, entries=tuple(entry for name in order for entry in queue.entries if entry.run == name))


def _queue(table: dict[str, Any]) -> Queue:
    entries, pods = table["entries"], table["pods"]
    if table["format"] != FORMAT or not isinstance(entries, list) or len(entries) > MOST or not isinstance(pods, list):
        raise ValueError("another format")
    on_hold = table["on_hold"]
    if not isinstance(on_hold, str):
        raise TypeError("on_hold")
    return Queue(entries=tuple(_entry(row) for row in entries), on_hold=on_hold, pods=tuple(_name(name) for name in pods))


def _entry(row: dict[str, Any]) -> Entry:
    numbers = {name: row[name] for name in ("starts", "seq", "mark")}
    if not all(isinstance(number, int) and not isinstance(number, bool) and number >= 0 for number in numbers.values()):
        raise ValueError("numbers")
    if row["job"] not in ("train", "validate"):
        raise ValueError("job")
    cache_from = _name(row["cache_from"]) if row["cache_from"] else ""
    return Entry(run=_name(row["run"]), job=row["job"], cache_from=cache_from, **numbers)


def _name(value: Any) -> str:
    if not isinstance(value, str) or not RUN_NAME.fullmatch(value):
        raise ValueError("name")
    return value
