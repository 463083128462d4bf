"""Waits for the disk of a run: says why, and what can be deleted; tries again; ends the wait where a person ends the run, or after the
time that is set for it."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable

from loratui.engine.disk_errors import at_once, is_optional, trouble_of
from loratui.engine.errors import DiskError
from loratui.engine.machine.volume import Volume, volume_of
from loratui.engine.runs import bounds
from loratui.engine.runs.directory import RunDirectory
from loratui.engine.runs.event_log import EventLog
from loratui.engine.runs.room import deletable
from loratui.engine.words import size

_SOON_S = 0.2
"""A single error most often has passed by then; nothing is said of it."""
_LONGEST_S = 4.0
"""Between two tries where the system says that there is room: a quota, or an error of the device."""
_WITHOUT_ROOM_S = 30.0
"""Between two tries where it says that there is none: volumes that compress may take it all the same."""
_LOOK_S = 0.1
_READ_S = 2.0
"""How often the settings are read for the longest wait, which a person may change meanwhile."""
_TRIES = 3
"""For what may be left out, on a volume that takes other things."""

_OF_THE_VOLUME = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
"""Errors that the next checkpoint would meet too, whatever the system says of the room: a quota counts in no `statvfs`."""

_REMEDIES = {
    errno.ENOSPC: "Free some space.",
    errno.EDQUOT: "Free some space, or raise the quota.",
    errno.EFBIG: "Raise the file size limit of the trainer: prlimit --fsize.",
    errno.EROFS: "Mount the volume writable.",
    errno.EACCES: "Give the folder its permissions back.",
    errno.EPERM: "Give the folder its permissions back.",
    errno.ENOENT: "Put the folder back.",
    errno.EIO: "Check the volume.",
}
"""What to do while the run waits."""


class DiskWait:
    """The patience of a trainer (`disk_errors.Patience`). Its threads wait each by itself; the run is said to wait once."""

    def __init__(self, run: RunDirectory, ends: Callable[[], bool], again: str) -> None:
        """`ends` says whether the run is to end; it may be called by any thread. `again` is the command that goes on with the run."""
        self._run, self._ends, self._again = run, ends, again
        self._waiting: set[int] = set()
        self._since: float | None = None
        self._longest_h, self._read_at = 0.0, float("-inf")
        self._told_h: float | None = None
        self._mutex = threading.Lock()
        self.given_up: DiskError | None = None
        """See `Patience`."""
        self.log: EventLog | None = None
        """Where it says that it waits; None: nowhere."""

    def wait(self, error: DiskError, path: str, needed: int, failures: int) -> bool:
        """See `Patience`."""
        if self.given_up is not None:
            return False
        if failures == 1:
            return self._rest(_SOON_S)
        if self._is_too_long():
            raise self._give_up(error)
        volume = volume_of(path)
        without_room = volume is not None and volume.lacks(needed)
        if without_room or error.number in _OF_THE_VOLUME or not is_optional():
            self._begin(error, path, needed, volume)
        elif failures >= _TRIES:
            return False
        pause_s = _WITHOUT_ROOM_S if without_room else min(_SOON_S * 2 ** (failures - 1), _LONGEST_S)
        return self._rest(pause_s, lambda: without_room and _has_room(path, needed))

    def over(self) -> None:
        """See `Patience`."""
        with self._mutex:
            self._waiting.discard(threading.get_ident())
            since = self._since
            if self._waiting or since is None or self.given_up is not None:
                return
            self._since = self._told_h = None
        if self.log is not None and not self._ends():
            self.log.append("disk_resumed", seconds=round(time.monotonic() - since, 3))

    def look(self) -> None:
        """See `Patience`."""
        if self._waiting:
            self._ends()

    @property
    def busy(self) -> bool:
        """See `Patience`."""
        return bool(self._waiting) and self.given_up is None and not self._ends()

    def _rest(self, seconds: float, enough: Callable[[], bool] = bool) -> bool:
        """Waits so long, until `enough`, or until the last try is due; False as soon as the run is to end."""
        end = time.monotonic() + seconds
        while not self._ends():
            if time.monotonic() >= end or enough() or self._is_too_long():
                return True
            time.sleep(_LOOK_S)
        return False

    def _is_too_long(self) -> bool:
        """Whether the run has waited for as long as it may."""
        since, now = self._since, time.monotonic()
        if since is None:
            return False
        if now - self._read_at >= _READ_S:
            self._longest_h, self._read_at = bounds.read(self._run).end_disk_wait_after_h, now
        return 0 < self._longest_h * 3600 <= now - since

    def _give_up(self, error: DiskError) -> DiskError:
        waited = f"{error.message} The run waited for it for {self._longest_h:g} h and was ended."
        what = _REMEDIES.get(error.number, trouble_of(error.number)[1])
        self.given_up = DiskError(waited, f"{what} Then: {self._again}", number=error.number)
        return self.given_up

    def _begin(self, error: DiskError, path: str, needed: int, volume: Volume | None) -> None:
        with self._mutex:
            self._since = self._since or time.monotonic()
            self._waiting.add(threading.get_ident())
            self._is_too_long()  # reads how long it may be
            news, self._told_h = self._told_h != self._longest_h, self._longest_h
        if news and self.log is not None:
            print(f"waiting for the disk: {error}", flush=True)
            end = f" After {self._longest_h:g} h it ends." if self._longest_h else ""
            place = os.path.relpath(path, self._run.path)
            with at_once():
                self.log.append(
                    "disk_waiting",
                    reason=_reason(place, error.number, needed, volume),
                    remedy=_REMEDIES.get(error.number, trouble_of(error.number)[1]) + f" The run goes on by itself.{end}",
                    error=errno.errorcode.get(error.number, ""),
                    place=place,
                    needed_bytes=needed,
                    free_bytes=volume.free if volume else None,
                    deletable=[{"what": one.what, "bytes": one.bytes, "command": one.command} for one in deletable(self._run)],
                )


def _reason(place: str, number: int, needed: int, volume: Volume | None) -> str:
    what = f"{place} cannot be written: {trouble_of(number)[0]}."
    if volume is None or not needed or not volume.lacks(needed) or volume.read_only:
        return what
    if not volume.names_left:
        return f"{what} It has no room for another file (no free inodes)."
    return f"{what} {size(volume.free)} are free, and it needs {size(needed)}."


def _has_room(path: str, needed: int) -> bool:
    volume = volume_of(path)
    return volume is None or not volume.lacks(needed)
