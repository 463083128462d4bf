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
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

from loratui.engine import sealed
from loratui.engine.disk_errors import disk_error
from loratui.engine.durable import MARKER, open_to_write, remove, remove_tree
from loratui.engine.errors import UsageError
from loratui.engine.limits import TINY_FILE_BYTES
from loratui.engine.runs import fence
from loratui.engine.runs.clock import zone
from loratui.engine.runs.fence import Fence
from loratui.engine.untrusted import finite, open_regular, read_small

_NO_FLOCK = {errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOLCK, errno.EINVAL}
_NO_LOCK = {errno.ELOOP, errno.EMLINK, errno.EINVAL, errno.ENXIO, errno.EISDIR}
"""A link, a file with a second name, a pipe, a socket, a folder."""
_PATIENCE_S = 0.3
"""`is_held` takes the lock for some microseconds, so a start waits that long before it gives up."""


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """A process that cannot be confused with another that got its pid later."""

    pid: int = 0
    start_time: str = ""
    """Clock ticks from boot to the start of the process, as in /proc/PID/stat; "" where there is no /proc."""
    boot_id: str = ""
    host: str = ""

    @property
    def alive(self) -> bool:
        """Whether this process runs on this machine since this boot; a zombie does not."""
        if self.pid <= 0 or self.host != host_name() or self.boot_id != boot_id():
            return False
        if self.start_time:
            return process_start_time(self.pid) == self.start_time
        try:
            os.kill(self.pid, 0)
        except OSError as error:
            return error.errno == errno.EPERM
        return True

    @property
    def stopped(self) -> bool:
        """Whether it lives and was stopped by a signal (SIGSTOP, a debugger), so it can do nothing until it is told to go on."""
        return self.alive and process_state(self.pid) in ("T", "t")

    def send_signal(self, number: signal.Signals) -> bool:
        """Signals the process if it is still the same, and returns whether it was; never another that has its pid now."""
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
            # The handle pins the process, so only now is the comparison reliable.
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
    """A lock that this process holds until `release` or its own end, even if the object is dropped."""

    def __init__(self, path: Path, fd: int, owner: Owner, before: Owner | None, fence: Fence | None) -> None:
        self._path = path
        self.fd = fd
        """The trainer inherits it, so the lock is free only when both processes are gone."""
        self.before = before
        """Who had it before."""
        self.fence = fence
        """The right to write in the run; None for a lock that is no run's, and for one that is only to be deleted."""
        self._owner = owner

    def note_trainer(self, trainer: ProcessIdentity) -> None:
        """Records the trainer in the file. Raises `LostError` where another process has the run now."""
        if self.fence is not None:
            self.fence.check()
        self._owner = replace(self._owner, trainer=trainer)
        _write_owner(self.fd, self._owner, self._path)

    def release(self) -> None:
        """Closes the descriptor; the lock is free once the trainer has closed it too. A second call does nothing."""
        if self.fence is not None:
            self.fence.close()
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def acquire(path: Path, *, job: str = "train", to_delete: bool = False) -> RunLock:
    """Takes the lock, records this process in the file, and takes the right to write in the run. Raises `UsageError` with the owner if
    it is held.

    With `to_delete`, a link, pipe or the like in its place, which no process of loratui can hold, is replaced by a lock, and nothing
    else is written.
    """
    try:
        try:
            fd = open_to_write(path, os.O_RDWR)
        except OSError as error:
            if not to_delete or error.errno not in _NO_LOCK:
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
        # Where files have no locks, the recorded owner is all there is to go by.
        if locked == "held" or (locked == "unsupported" and _lives(_parse_owner(os.pread(fd, TINY_FILE_BYTES, 0), path))):
            raise _busy(path)
        if not _is_at(fd, path):
            raise UsageError(f"Somebody has just deleted or moved the run {path.parent}.")
        before = _parse_owner(os.pread(fd, TINY_FILE_BYTES, 0), path)
        owner = Owner(identify(os.getpid()), ProcessIdentity(), job, time.time())
        _write_owner(fd, owner, path)
        is_run = not to_delete and (path.parent / MARKER).is_file()
        right = fence.take(path.parent, host_name()) if is_run else None
    except OSError as error:
        os.close(fd)
        raise disk_error(error, path) from error
    except BaseException:
        os.close(fd)
        raise
    return RunLock(path, fd, owner, before, right)


def is_held(path: Path) -> bool:
    """Whether a supervisor or trainer of the run lives. It does not disturb them."""
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
    """Whether the file system of an existing file has locks; without them, only the owner's identity guards a run."""
    try:
        with open_regular(path, follow=False) as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return True


def read_owner(path: Path) -> Owner | None:
    """The present or last holder of the lock; None if the file is missing or unusable."""
    try:
        return _parse_owner(read_small(path, TINY_FILE_BYTES, follow=False), path)
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
    # The second field, the command, is in brackets and may contain brackets.
    after = text[text.rfind(b")") + 2 :].split()
    return "" if len(after) < 20 or after[0] in (b"Z", b"X") else after[19].decode("ascii")


def process_state(pid: int) -> str:
    """Field 3 of /proc/PID/stat (proc(5)), such as `R`, `S`, `D` or `T`; "" where the system does not tell."""
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return ""
    return text[text.rfind(b")") + 2 :][:1].decode("ascii", "replace")


def boot_id() -> str:
    """The kernel's random name for this boot; "" where it has none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def host_name() -> str:
    """This machine's name, as the lock file records it."""
    return socket.gethostname()


def _try_exclusive(fd: int) -> Literal["ours", "held", "unsupported"]:
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return "held"
            time.sleep(0.01)
        except OSError as error:
            if error.errno not in _NO_FLOCK:
                raise
            return "unsupported"
        else:
            return "ours"


def _lives(owner: Owner | None) -> bool:
    return owner is not None and (owner.supervisor.alive or owner.trainer.alive)


def _is_at(fd: int, path: Path) -> bool:
    """Whether `path` is still the open file: a lock on a deleted file guards nothing."""
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
        return UsageError(f"{name} is already running.", f"Watch it: loratui attach {name}")
    since = f"{time.strftime('%H:%M', time.localtime(owner.since))} {zone(owner.since)}"
    what = "is being validated" if owner.job == "validate" else "is already running"
    who = f"process {owner.supervisor.pid} on {owner.supervisor.host}, since {since}"
    return UsageError(f"{name} {what} ({who}).", f"Watch it: loratui attach {name}")


def _write_owner(fd: int, owner: Owner, path: Path) -> None:
    data = json.dumps(sealed.sealed({"v": 1, **asdict(owner)}, path.parent), ensure_ascii=True).encode("ascii") + b"\n"
    os.pwrite(fd, data, 0)  # in place, so a full disk takes it too
    os.ftruncate(fd, len(data))


def _parse_owner(data: bytes, path: Path) -> Owner | None:
    try:
        body = sealed.opened(data[:TINY_FILE_BYTES], path.parent, path)
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
