"""The writing end of a run's event log: what the disk does not take is kept, and written once it does."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from loratui.engine.disk_errors import PASSING, at_once, disk_error, patiently
from loratui.engine.durable import open_to_write, permitted, write_all, write_file
from loratui.engine.errors import DiskError
from loratui.engine.runs import aside
from loratui.engine.runs.ages import up_s
from loratui.engine.runs.events import EVENT_TYPES, FORMAT, MOST_TAIL, Event, decode, encode, last_events
from loratui.engine.untrusted import open_regular
from loratui.engine.words import count

_OWN_FIELDS = frozenset({"v", "seq", "ts", "up", "type", "crc", "not_finite"})
_SHORTEST_LINE = 32
"""Bytes."""
_PASSING_TYPES = ("progress", "heartbeat", "telemetry")
"""The types that are worth nothing once the next of them comes."""
_MOST_UNSAID = 1000
"""Events that the disk did not take; those beyond are counted."""
_MOST_UNSYNCED = 20_000
"""Lines; more than a run writes between two checkpoints."""


class EventLog:
    """The writing end. One process at a time holds it; its threads may share it."""

    def __init__(self, path: Path, fd: int, next_seq: int, torn: bool) -> None:
        self._path = path
        self._fd = fd
        self._next_seq = next_seq
        self._torn = torn
        self._unsaid: list[bytes] = []
        """Lines that the disk did not take, in their order; they have their numbers."""
        self._lost = 0
        self.is_kept = True
        """Whether what the disk has not taken is at least on another volume."""
        self._closed = False
        self._unsynced: deque[bytes] = deque(maxlen=_MOST_UNSYNCED)
        """What was written since all before it was on the disk for certain."""
        self._trusted = True
        """Whether no fsync has failed: after one, the system may have forgotten what it had to write."""
        self._last_write = time.monotonic()
        self._mutex = threading.Lock()
        self.on_written: Callable[[Event, int], None] | None = None
        """Called with each event that reached the log, as a reader finds it, and with the byte at which its line begins.
        One call at a time, in the order of the log."""

    @classmethod
    def open(cls, path: Path) -> EventLog:
        """Opens or creates the log and goes on with its numbering. One that the disk does not let be written now is opened later.

        Raises `DiskError`, `UsageError` where something else is in its place.
        """
        try:
            fd = _opened(path)
        except DiskError as error:
            if error.number not in PASSING or not path.parent.is_dir():
                raise
            fd = -1
        size = path.stat().st_size if path.exists() else 0
        torn = fd >= 0 and size > 0 and os.pread(fd, 1, size - 1) != b"\n"
        log = cls(path, fd, 1, torn)
        # First the newline: the torn line may lack nothing else, and then its number is taken.
        with contextlib.suppress(OSError):
            log._end_torn_line()
        last = last_events(path)
        if last:
            log._next_seq = last[-1].seq + (2 if log._torn else 1)
        elif size > MOST_TAIL:  # none of the lines at its end is ours; no number before them is as high as this
            log._next_seq = size // _SHORTEST_LINE
        log._unsaid = [line for line, _ in aside.unsaid(path)]
        if log._unsaid and (event := decode(log._unsaid[-1])):
            log._next_seq = event.seq + 1
        return log

    def append(self, type: str, *, durable: bool = False, **fields: Any) -> int:
        """Writes one event and returns its `seq`. Where the process is patient, it waits for a disk that does not take the event.

        Else the disk costs no event and no run: the event is kept, in memory and on another volume, and written before the next one once
        the disk takes it. With `durable` the log is on the disk on return, and failing is a `DiskError`.
        Raises `LostError` (`fence`) where this process must not write in the run any more.
        """
        assert type in EVENT_TYPES, type
        assert not _OWN_FIELDS & fields.keys(), sorted(_OWN_FIELDS & fields.keys())
        try:
            with at_once() if type in _PASSING_TYPES else contextlib.nullcontext():
                seq = patiently(self._path, lambda: self._write_event(type, fields))
        except DiskError:
            with self._mutex:
                seq = self._keep(type, fields)
            if durable:
                raise
            return seq
        if durable:
            patiently(self._path, self._sync)
        return seq

    @property
    def path(self) -> Path:
        """The file."""
        return self._path

    @property
    def quiet_s(self) -> float:
        """Seconds since something was last written here; a heartbeat is due after 5."""
        return time.monotonic() - self._last_write

    def close(self) -> None:
        """Closes the file; a second call does nothing."""
        with self._mutex:
            self._closed = True
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1

    def __enter__(self) -> EventLog:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _write_event(self, type: str, fields: Mapping[str, Any]) -> int:
        permitted(self._path)
        with self._mutex:
            self._say_unsaid()
            seq = self._next_seq
            self._write(encode(type, seq, time.time(), fields, up_s()))
            self._next_seq = seq + 1
            return seq

    def _say_unsaid(self) -> None:
        """Writes what the disk has not taken before. Raises `DiskError`, `UsageError`."""
        if not self._unsaid and not self._lost:
            return
        while self._unsaid:
            self._write(self._unsaid[0])
            del self._unsaid[0]
        if self._lost:
            message = f"{count(self._lost, 'event')} could not be written to the log."
            warning = {"code": "events_lost", "message": message, "remedy": "Free some disk space."}
            self._write(encode("warning", self._next_seq, time.time(), warning, up_s()))
            self._next_seq, self._lost = self._next_seq + 1, 0
        aside.drop(self._path)

    def _write(self, line: bytes) -> None:
        """Writes one line, or nothing. Raises `DiskError`, `UsageError`."""
        try:
            if self._fd < 0 and not self._closed:
                self._fd = _opened(self._path)
            if os.fstat(self._fd).st_nlink == 0:  # somebody has deleted it, and what is written to it is gone too
                self._close_for(_opened(self._path))
            begin = os.fstat(self._fd).st_size
            try:
                self._end_torn_line()
                self._torn = True
                write_all(self._fd, line)
                self._torn = False
            except OSError:
                self._unsynced.clear()  # unless the line is taken back, the file has more than these
                os.ftruncate(self._fd, begin)
                self._torn = begin > 0 and os.pread(self._fd, 1, begin - 1) != b"\n"
                raise
        except OSError as error:
            raise disk_error(error, self._path) from error
        self._unsynced.append(line)
        self._last_write = time.monotonic()
        if self.on_written is not None and (event := decode(line)):
            self.on_written(event, os.lseek(self._fd, 0, os.SEEK_CUR) - len(line))

    def _keep(self, type: str, fields: Mapping[str, Any]) -> int:
        """Keeps an event that the disk does not take."""
        seq = self._next_seq
        if type in _PASSING_TYPES or self._closed:
            return seq
        if len(self._unsaid) >= _MOST_UNSAID:
            self._lost += 1
            return seq
        self._next_seq = seq + 1
        self._unsaid.append(encode(type, seq, time.time(), fields, up_s()))
        self.is_kept = aside.keep(self._path, {"v": FORMAT, "lines": [line.decode("ascii") for line in self._unsaid]})
        return seq

    def _sync(self) -> None:
        """Puts the log on the disk; anew, under another name first, after an fsync that failed. Raises `DiskError`, `UsageError`."""
        with self._mutex:
            try:
                if not self._trusted:
                    self._replace()
                self._trusted = False
                os.fsync(self._fd)
                self._trusted = True
            except OSError as error:
                raise disk_error(error, self._path) from error
            self._unsynced.clear()

    def _replace(self) -> None:
        """Puts a new file with the same bytes in the place of the log. Raises `OSError`, `DiskError`, `UsageError`."""
        tail = b"".join(self._unsynced)
        with open_regular(self._path, follow=False) as file:
            known = os.fstat(file.fileno()).st_size - len(tail)
            write_file(self._path, file.read(max(0, known)) + tail)
        self._close_for(_opened(self._path))

    def _close_for(self, fd: int) -> None:
        """Writes to another open file from now on. It must be open before this one is closed: the number of a file that is closed is
        soon that of something else."""
        os.close(self._fd)
        self._fd = fd

    def _end_torn_line(self) -> None:
        if self._torn:
            write_all(self._fd, b"\n")
            self._unsynced.append(b"\n")
            self._torn = False


def _opened(path: Path) -> int:
    try:
        return open_to_write(path, os.O_RDWR | os.O_APPEND)
    except OSError as error:
        raise disk_error(error, path) from error
