"""The operations that a process makes on the files of one folder: seen at the functions of `os`, through which all lasting writes go."""

from __future__ import annotations

import fcntl
import io
import os
import pickle
import re
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

CREATE, MKDIR, WRITE, TRUNCATE, FSYNC, RENAME, LINK, UNLINK, RMDIR = (
    *("create", "mkdir", "write", "truncate", "fsync"),
    *("rename", "link", "unlink", "rmdir"),
)

_REPLACED = (
    *("open", "fdopen", "write", "pwrite", "ftruncate", "fsync", "fdatasync"),
    *("rename", "replace", "link", "unlink", "remove", "mkdir", "rmdir"),
)
_real = {name: getattr(os, name) for name in (*_REPLACED, "lseek")}


def unwatch() -> None:
    """Puts the functions of `os` back, in a process that was forked from one that is watched."""
    for name in _REPLACED:
        setattr(os, name, _real[name])


@dataclass(frozen=True)
class Operation:
    """One change of the folder, or one wish that a change be lasting."""

    kind: str
    path: str
    """Below the folder; of what is changed, with `RENAME` and `LINK` the new name."""
    source: str = ""
    """The former name, with `RENAME` and `LINK`."""
    data: bytes = b""
    at: int = 0
    """The byte at which `data` begins, or the length after `TRUNCATE`."""
    inode: int = 0
    """Of the file or folder that it is about."""
    half: Callable[[], object] | None = None
    """Writes only the first half of `data`."""

    @property
    def place(self) -> str:
        """Kind and path, without what differs from run to run and from step to step."""
        return f"{self.kind} {plain(self.path)}"


def plain(path: str) -> str:
    """A path without numbers, hashes and the random part of temporary names."""
    return re.sub(r"[0-9a-f]{8,}|\d+", "#", re.sub(r"\.[0-9a-f]{8}(?=\.(?:tmp|removed)\b)", "", path))


Around = Callable[[Operation, Callable[[], Any]], Any]
"""Gets each operation and what carries it out, whose result it returns."""


@contextmanager
def watched(root: Path, around: Around) -> Iterator[None]:
    """Within the block `around` is called for every operation on what lies below `root`, one at a time."""
    seam = _Seam(os.path.realpath(root), around)
    for name, function in seam.replacements().items():
        setattr(os, name, function)
    try:
        yield
    finally:
        unwatch()


class _Seam:
    def __init__(self, root: str, around: Around) -> None:
        self._root = root + "/"
        self._around = around
        self._mutex = threading.RLock()

    def replacements(self) -> dict[str, Any]:
        names = ((MKDIR, "mkdir"), (UNLINK, "unlink"), (UNLINK, "remove"), (RMDIR, "rmdir"))
        return {
            "open": self._open,
            "fdopen": self._fdopen,
            "write": self._write,
            "pwrite": self._pwrite,
            "ftruncate": self._ftruncate,
            "fsync": self._fsync("fsync"),
            "fdatasync": self._fsync("fdatasync"),
            **{name: self._two_names(kind, name) for kind, name in ((RENAME, "rename"), (RENAME, "replace"), (LINK, "link"))},
            **{name: self._one_name(kind, name) for kind, name in names},
        }

    def _below(self, path: Any, dir_fd: int | None = None) -> str | None:
        """The path below the root; None elsewhere."""
        if isinstance(path, int):
            whole = os.readlink(f"/proc/self/fd/{path}")  # noqa: PTH115 - "pipe:[1]" is no path
        else:
            folder = os.getcwd() if dir_fd is None else os.readlink(f"/proc/self/fd/{dir_fd}")  # noqa: PTH109, PTH115
            whole = os.path.normpath(os.path.join(folder, os.fsdecode(path)))  # noqa: PTH118
        return whole[len(self._root) :] if (whole + "/").startswith(self._root) else None

    def _call(self, operation: Operation, carry_out: Callable[[], Any]) -> Any:
        with self._mutex:
            return self._around(operation, carry_out)

    def _open(self, path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        def carry_out() -> int:
            fd: int = _real["open"](path, flags, mode, dir_fd=dir_fd)
            return fd

        below = self._below(path, dir_fd) if flags & os.O_CREAT else None
        if below is None or os.path.lexists(self._root + below):
            return carry_out()
        fd: int = self._call(Operation(CREATE, below), carry_out)
        return fd

    def _fdopen(self, fd: int, mode: str = "r", *more: Any, **named: Any) -> Any:
        """What is written to a file goes through `os.write`, so that it is seen."""
        if mode != "wb" or self._below(fd) is None or not stat.S_ISREG(os.fstat(fd).st_mode):
            return _real["fdopen"](fd, mode, *more, **named)
        return io.BufferedWriter(_Raw(fd))

    def _write(self, fd: int, data: Any) -> int:
        below = self._below(fd)
        if below is None:
            return int(_real["write"](fd, data))
        meant = bytes(data)
        at = os.fstat(fd).st_size if _appends(fd) else _real["lseek"](fd, 0, os.SEEK_CUR)
        half = partial(_real["write"], fd, meant[: len(meant) // 2])
        operation = Operation(WRITE, below, data=meant, at=at, inode=os.fstat(fd).st_ino, half=half)
        return int(self._call(operation, lambda: _real["write"](fd, meant)))

    def _pwrite(self, fd: int, data: Any, at: int) -> int:
        below = self._below(fd)
        if below is None:
            return int(_real["pwrite"](fd, data, at))
        meant = bytes(data)
        half = partial(_real["pwrite"], fd, meant[: len(meant) // 2], at)
        operation = Operation(WRITE, below, data=meant, at=at, inode=os.fstat(fd).st_ino, half=half)
        return int(self._call(operation, lambda: _real["pwrite"](fd, meant, at)))

    def _ftruncate(self, fd: int, length: int) -> None:
        below = self._below(fd)
        if below is None:
            _real["ftruncate"](fd, length)
        else:
            operation = Operation(TRUNCATE, below, at=length, inode=os.fstat(fd).st_ino)
            self._call(operation, lambda: _real["ftruncate"](fd, length))

    def _fsync(self, name: str) -> Callable[[int], None]:
        def fsync(fd: int) -> None:
            below = self._below(fd)
            if below is None:
                _real[name](fd)
            else:
                self._call(Operation(FSYNC, below, inode=os.fstat(fd).st_ino), lambda: _real[name](fd))

        return fsync

    def _two_names(self, kind: str, name: str) -> Callable[..., None]:
        def change(
            source: Any, target: Any, *, src_dir_fd: int | None = None, dst_dir_fd: int | None = None, **more: Any
        ) -> None:
            here, there = self._below(source, src_dir_fd), self._below(target, dst_dir_fd)
            carry_out = partial(_real[name], source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd, **more)
            if here is None and there is None:
                carry_out()
            else:
                self._call(Operation(kind, there or "", source=here or ""), carry_out)

        return change

    def _one_name(self, kind: str, name: str) -> Callable[..., None]:
        def change(path: Any, *more: Any, dir_fd: int | None = None) -> None:
            below = self._below(path, dir_fd)
            if below is None:
                _real[name](path, *more, dir_fd=dir_fd)
            else:
                self._call(Operation(kind, below), lambda: _real[name](path, *more, dir_fd=dir_fd))

        return change


class Recorder:
    """Writes each operation into a file, in their order in time, also over several processes one after another."""

    def __init__(self, root: Path, file: Path) -> None:
        self._root, self._file = root, file

    def __call__(self, operation: Operation, carry_out: Callable[[], Any]) -> Any:
        result = carry_out()
        if operation.kind == CREATE:
            operation = replace(operation, inode=os.fstat(result).st_ino)
        elif operation.kind == MKDIR:
            operation = replace(operation, inode=(self._root / operation.path).stat().st_ino)
        with self._file.open("ab") as file:  # another folder's, so it is not seen
            pickle.dump(replace(operation, half=None), file)
        return result


def recorded(file: Path) -> Iterator[Operation]:
    """The operations in a file of a `Recorder`."""
    with file.open("rb") as source:
        while source.peek(1):
            yield pickle.load(source)


class _Raw(io.FileIO):
    """A file for writing, by `os.write`."""

    def __init__(self, fd: int) -> None:
        super().__init__(fd, "w")

    def write(self, data: Any, /) -> int:
        return os.write(self.fileno(), data)


def _appends(fd: int) -> bool:
    return bool(fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_APPEND)
