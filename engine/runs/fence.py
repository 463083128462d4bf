"""The right to write in a run: a token that each take-over replaces, and the folder itself, asked for before every lasting write.

Locks do not reach across machines, and a folder can be moved while it is written. A process that has lost its token, or its folder, stops
and writes nothing more. The check and the write are two steps, so a write that has just begun may still end.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from loratui.engine import durable, sealed
from loratui.engine.disk_errors import disk_error
from loratui.engine.errors import UsageError
from loratui.engine.limits import TINY_FILE_BYTES
from loratui.engine.runs import contents
from loratui.engine.untrusted import Gone, Unreadable, read_whole

FILE = "fence.json"
VARIABLE = "LORATUI_TOKEN"
"""How the supervisor gives its trainer the token."""


class LostError(UsageError):
    """This process must not write in the run any more."""


class TakenOverError(LostError):
    """Another process has the run now."""


class FolderLostError(LostError):
    """The run is no longer where it was."""

    def __init__(self, message: str, moved_to: Path | None) -> None:
        super().__init__(message)
        self.moved_to = moved_to
        """Where its folder is now; None if it was deleted."""


@dataclass(frozen=True, slots=True)
class Token:
    """Who may write. The `number` rises with each take-over; the `id` tells two of the same number apart."""

    number: int = 0
    id: str = ""
    host: str = ""
    pid: int = 0


class Fence:
    """The right of this process, until `close` or until somebody else takes it."""

    def __init__(self, folder: Path, token: Token) -> None:
        self.token = token
        self.on_folder_lost: Callable[[str], object] = bool  # nothing
        """Called with the name of a folder of the run that somebody has deleted or replaced."""
        self._folder = folder
        self._mutex = threading.RLock()
        self._restoring = False
        self._known: bytes | None = None
        """The file as it was when it last named this process; most checks are over with that."""
        self._fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._inner = {name: _inode(folder / name) for name in contents.FOLDERS}
        durable.guards[folder] = self.check

    def close(self) -> None:
        """Gives the right back. A second call does nothing."""
        if self._fd >= 0:
            if durable.guards.get(self._folder) == self.check:
                del durable.guards[self._folder]
            os.close(self._fd)
            self._fd = -1

    def check(self, path: Path | None = None) -> None:
        """Raises `LostError` if this process may not write, at `path`, if that is given."""
        with self._mutex:
            if self._fd < 0 or self._restoring:
                return
            self._check_folder()
            self._check_token()
            lost = self._lost_inner(path) if path is not None else ""
        if lost:
            self.on_folder_lost(lost)

    def follow(self, folder: Path) -> None:
        """The run is there now."""
        with self._mutex:
            durable.guards.pop(self._folder, None)
            self._folder = folder
            durable.guards[folder] = self.check

    def _check_folder(self) -> None:
        mine = os.fstat(self._fd)
        if _inode(self._folder) == (mine.st_dev, mine.st_ino):
            return
        now = _path_of(self._fd)
        if now is None:
            raise FolderLostError(f"The run's folder {self._folder} was deleted, or moved to another volume.", None)
        raise FolderLostError(f"The run's folder {self._folder} was moved to {now}.", now)

    def _check_token(self) -> None:
        data = None
        with contextlib.suppress(OSError):
            data = read_whole(self._folder / FILE, TINY_FILE_BYTES, follow=False)
        if data is not None and data == self._known:
            return
        found = read(self._folder)
        if found is not None and found.id == self.token.id:
            self._known = data
            return
        if found is not None and found.number >= self.token.number:
            raise TakenOverError(
                f"Process {found.pid} on {found.host} has taken this run over, so this process ends and writes nothing more."
            )
        # Deleted, damaged, or an older one from a copy: nobody else has taken the run.
        self._restoring = True
        try:
            _write(self._folder, self.token)
        finally:
            self._restoring = False

    def _lost_inner(self, path: Path) -> str:
        """The folder of the run that `path` is in, if it is no longer the one that it was; each time once."""
        parts = path.relative_to(self._folder).parts if path.is_relative_to(self._folder) else ()
        name = parts[0] if parts and parts[0] in self._inner else ""
        if not name or (now := _inode(self._folder / name)) == self._inner[name]:
            return ""
        if now is None:  # told when it is made again
            return ""
        before, self._inner[name] = self._inner[name], now
        return name if before is not None else ""


def take(folder: Path, host: str) -> Fence:
    """Takes a run over, for this process on `host`: from now on whoever held it before cannot write. Raises `DiskError`."""
    before = read(folder)
    token = Token((before.number if before else 0) + 1, secrets.token_hex(8), host, os.getpid())
    _write(folder, token)
    return Fence(folder, token)


def join(folder: Path) -> Fence | None:
    """The right that the process which started this one has; without one, that of whoever has it now; None in a run without any."""
    number, _, id = os.environ.get(VARIABLE, "").partition(":")
    token = Token(int(number), id) if number.isdecimal() and id else read(folder)
    return Fence(folder, token) if token is not None else None


def to_environment(fence: Fence | None) -> dict[str, str]:
    """What a child that shares the right needs in its environment."""
    return {VARIABLE: f"{fence.token.number}:{fence.token.id}"} if fence is not None else {}


def read(folder: Path) -> Token | None:
    """Who has the run; None where the file is missing or damaged. Raises `DiskError` where the disk does not answer."""
    try:
        body = sealed.read(folder / FILE, folder, TINY_FILE_BYTES)
        return Token(**{name: _of_type(kind, body[name]) for name, kind in _FIELDS.items()})
    except Gone:
        return None
    except Unreadable as error:
        if error.errno in (errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN):
            raise disk_error(error, folder / FILE) from error
        return None
    except (KeyError, TypeError):
        return None


_FIELDS: dict[str, type] = {"number": int, "id": str, "host": str, "pid": int}


def _of_type(kind: type, value: Any) -> Any:
    if type(value) is not kind:
        raise TypeError(value)
    return value


def _write(folder: Path, token: Token) -> None:
    if (folder / FILE).is_dir():
        durable.remove_tree(folder / FILE)
    sealed.write(folder / FILE, {"v": 1, **asdict(token)}, folder)


def _inode(path: Path) -> tuple[int, int] | None:
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _path_of(fd: int) -> Path | None:
    """Where an open folder is now; None if it was deleted, or where the system does not tell."""
    try:
        path = Path(f"/proc/self/fd/{fd}").readlink()
    except OSError:
        return None
    mine = os.fstat(fd)
    return path if _inode(path) == (mine.st_dev, mine.st_ino) else None
