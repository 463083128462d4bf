"""The lock of a run: held for life by the supervisor and, through an inherited descriptor, by its trainer."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import signal
import socket
import time
from dataclasses import asdict, dataclass, fields
from enum import Enum
from pathlib import Path
from typing import Any

from loratui.engine.durable import disk_error, open_to_write, remove, remove_tree
from loratui.engine.errors import UsageError
from loratui.engine.limits import TINY_FILE_BYTES
from loratui.engine.runs.clock import zone
from loratui.engine.untrusted import finite, open_regular, parse_json, read_small

_NO_FLOCK = {errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOLCK, errno.EINVAL}
_NO_LOCK = {errno.ELOOP, errno.EMLINK, errno.EINVAL, errno.ENXIO, errno.EISDIR}
"""A link, a file with a second name, a pipe, a socket, a folder."""
_PATIENCE_S = 0.3
"""`is_held` takes the lock for some microseconds; a start waits that long before it believes that another start won."""


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """A process beyond doubt: a pid alone may belong to a stranger by now."""

    pid: int = 0
    start_time: str = ""
    """Clock ticks between boot and the start of the process, as in /proc/PID/stat; "" where there is no /proc."""
    boot_id: str = ""
    host: str = ""

    @property
    def alive(self) -> bool:
        """True if this very process runs on this very machine since this very boot; a zombie does not run."""
        if self.pid <= 0 or self.host != host_name() or self.boot_id != boot_id():
            return False
        if self.start_time:
            return process_start_time(self.pid) == self.start_time
        try:
            os.kill(self.pid, 0)
        except OSError as error:
            return error.errno == errno.EPERM
        return True

    def send_signal(self, number: signal.Signals) -> bool:
        """Signals the process if it is still the same one, and says whether it was. A reused pid is never hit."""
        if not hasattr(os, "pidfd_open"):
            if not self.alive:
                return False
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)
            return True
        try:
            handle = os.pidfd_open(self.pid)
        except (OSError, ValueError):
            return False
        try:
            # The handle pins the process; only now does comparing tell who it is.
            if not self.alive:
                return False
            signal.pidfd_send_signal(handle, number)
        except ProcessLookupError:
            return False
        finally:
            os.close(handle)
        return True


@dataclass(frozen=True, slots=True)
class Owner:
    """What the lock file says of its holder."""

    supervisor: ProcessIdentity
    trainer: ProcessIdentity
    job: str = ""
    since: float = 0.0
    """Seconds since 1970; for people only."""


class RunLock:
    """A lock that this process holds. Dropping the object does not release it; `release` or the end of the process does."""

    def __init__(self, fd: int, owner: Owner) -> None:
        self.fd = fd
        """Pass this to the trainer, so that the lock is free only when both processes are gone."""
        self._owner = owner

    def note_trainer(self, trainer: ProcessIdentity) -> None:
        """Writes down who the trainer is."""
        self._owner = Owner(self._owner.supervisor, trainer, self._owner.job, self._owner.since)
        _write_owner(self.fd, self._owner)

    def release(self) -> None:
        """Closes the descriptor; the lock is free once an inheriting process has done so too. Safe to call twice."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def acquire(path: Path, *, job: str = "train", replace: bool = False) -> RunLock:
    """Takes the lock and writes this process into the file. Raises `UsageError` naming the owner if it is held.

    With `replace` a link, a pipe or the like in the lock's place, which no process of loratui can hold, gives way to a lock.
    """
    try:
        try:
            fd = open_to_write(path, os.O_RDWR)
        except OSError as error:
            if not replace or error.errno not in _NO_LOCK:
                raise
            if error.errno == errno.EISDIR:
                remove_tree(path)
            else:
                remove(path)
            fd = open_to_write(path, os.O_RDWR)
    except OSError as error:
        raise disk_error(error, path) from error
    try:
        locked = _try_exclusive(fd)
        if locked is Flock.HELD_BY_ANOTHER:
            raise _busy(path)
        if locked is Flock.UNSUPPORTED and _lives(_parse_owner(os.pread(fd, TINY_FILE_BYTES, 0))):
            raise _busy(path)
        if not _is_at(fd, path):
            raise UsageError(f"{path.parent}: the run was deleted or moved at this moment.")
        owner = Owner(identify(os.getpid()), ProcessIdentity(), job, time.time())
        _write_owner(fd, owner)
    except OSError as error:
        os.close(fd)
        raise disk_error(error, path) from error
    except BaseException:
        os.close(fd)
        raise
    return RunLock(fd, owner)


def is_held(path: Path) -> bool:
    """True while a supervisor or trainer of the run lives. Never disturbs them."""
    try:
        file = open_regular(path, follow=False)
    except OSError:
        return False
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return _lives(read_owner(path))
    return False


def supported(path: Path) -> bool:
    """Whether the file system of an existing file has locks; without them only the owner's identity guards a run."""
    try:
        with open_regular(path, follow=False) as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return True


def read_owner(path: Path) -> Owner | None:
    """The present or last holder of the lock, or None if the file is missing or says nothing usable."""
    try:
        return _parse_owner(read_small(path, TINY_FILE_BYTES, follow=False))
    except OSError:
        return None


def identify(pid: int) -> ProcessIdentity:
    """The identity of a process that runs here now."""
    return ProcessIdentity(pid, process_start_time(pid), boot_id(), host_name())


def process_start_time(pid: int) -> str:
    """Field 22 of /proc/PID/stat (proc(5)); "" for a zombie, a process that is gone, or a system without /proc."""
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return ""
    # The second field, the command, is in brackets and may hold anything, brackets too.
    after = text[text.rfind(b")") + 2 :].split()
    return "" if len(after) < 20 or after[0] in (b"Z", b"X") else after[19].decode("ascii")


def boot_id() -> str:
    """The kernel's random name for this boot; "" where it has none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def host_name() -> str:
    """This machine's name, as the lock file records it."""
    return socket.gethostname()


class Flock(Enum):
    """How an attempt to lock ended. File systems without locks leave only the owner's identity to go by."""

    OURS = "ours"
    HELD_BY_ANOTHER = "held by another"
    UNSUPPORTED = "unsupported"


def _try_exclusive(fd: int) -> Flock:
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return Flock.HELD_BY_ANOTHER
            time.sleep(0.01)
        except OSError as error:
            if error.errno not in _NO_FLOCK:
                raise
            return Flock.UNSUPPORTED
        else:
            return Flock.OURS


def _lives(owner: Owner | None) -> bool:
    return owner is not None and (owner.supervisor.alive or owner.trainer.alive)


def _is_at(fd: int, path: Path) -> bool:
    """Whether `path` still leads to the open file: a lock on a deleted file guards nothing."""
    mine = os.fstat(fd)
    try:
        there = os.lstat(path)
    except FileNotFoundError:
        return False
    return (mine.st_dev, mine.st_ino) == (there.st_dev, there.st_ino)


def _busy(path: Path) -> UsageError:
    owner = read_owner(path)
    name = path.parent.name
    if owner is None:
        return UsageError(f"{name} is already running.", f"loratui attach {name}")
    since = f"{time.strftime('%H:%M', time.localtime(owner.since))} {zone(owner.since)}"
    what = "is being validated" if owner.job == "validate" else "is already running"
    who = f"process {owner.supervisor.pid} on {owner.supervisor.host}, since {since}"
    return UsageError(f"{name} {what} ({who}).", f"To see it: loratui attach {name}")


def _write_owner(fd: int, owner: Owner) -> None:
    data = json.dumps({"v": 1, **asdict(owner)}, ensure_ascii=True).encode("ascii") + b"\n"
    os.ftruncate(fd, 0)
    os.pwrite(fd, data, 0)


def _parse_owner(data: bytes) -> Owner | None:
    try:
        body = parse_json(data[:TINY_FILE_BYTES])
        since = finite(body["since"]) or 0.0
        return Owner(_parse_identity(body["supervisor"]), _parse_identity(body["trainer"]), str(body["job"]), since)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
        return None


def _parse_identity(body: dict[str, Any]) -> ProcessIdentity:
    known = {f.name for f in fields(ProcessIdentity)}
    identity = ProcessIdentity(**{k: v for k, v in body.items() if k in known})
    if not isinstance(identity.pid, int) or isinstance(identity.pid, bool):
        raise TypeError("pid")
    return identity
