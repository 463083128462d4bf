"""What the system says of a disk, in the person's words; and how a process waits for one that takes nothing now.

A process that trains installs a `Patience`. From then on its lasting writes (`durable`, the event log) do not fail while the disk is full or
broken: they are made again until the disk takes them. No caller repeats that rule.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections.abc import Callable, Iterator
from typing import Protocol, TypeVar

from loratui.engine.errors import DiskError, UsageError

Result = TypeVar("Result")

_TROUBLE: dict[int, tuple[str, str]] = {
    errno.ENOSPC: ("the disk is full", "Free some space, then try again; a run goes on with: loratui resume."),
    errno.EDQUOT: ("the disk quota is used up", "Free some space, then try again; a run goes on with: loratui resume."),
    errno.EFBIG: ("the file would be larger than is allowed here", "Raise the file size limit (ulimit -f)."),
    errno.EROFS: ("the file system is read-only", "Choose another folder (--home or --output), or mount it writable."),
    errno.EACCES: ("no permission", "Choose another folder (--home or --output), or change its permissions."),
    errno.EPERM: ("no permission", "Choose another folder (--home or --output), or change its permissions."),
    errno.ENOENT: ("the folder is gone", "Was it moved or deleted while in use?"),
    errno.EIO: ("the disk reports an error", "Check the volume; copy what matters elsewhere."),
    errno.ELOOP: (
        "a link stands where the run has a file or folder of its own",
        "Delete the link; copy what you need from where it leads.",
    ),
    errno.ENXIO: ("a pipe or socket stands where a file belongs", "Delete it."),
    errno.EMLINK: ("the file has a second name elsewhere (a hard link)", "Copy it, and put the copy in its place."),
    errno.EMFILE: ("too many open files", "Raise the limit (ulimit -n)."),
    errno.ENAMETOOLONG: ("the path is too long", "Choose a shorter folder with --home."),
}

_CHECK = "Check the disk and its permissions."

PASSING = frozenset(
    {
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EFBIG,
        errno.EIO,
        errno.EROFS,
        errno.ENOENT,  # the folder was moved away or deleted, and may come back
        errno.EACCES,
        errno.EPERM,
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOMEM,
        errno.ESTALE,  # a network volume whose server restarts
        errno.ENOTCONN,
        errno.ETIMEDOUT,
        errno.EHOSTDOWN,
        errno.ENODEV,
    }
)
"""Errors that are gone once somebody makes room, or the volume is back."""


def disk_error(error: OSError, path: str | os.PathLike[str]) -> DiskError | UsageError:
    """The person's version of an operating system error about `path`; a file in a folder's place is a `UsageError`."""
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        return UsageError(
            f"{os.fspath(path)}: a file stands where a folder is needed.", "Choose another folder (--home or --output)."
        )
    number = error.errno or 0
    what, remedy = trouble_of(number) if number in _TROUBLE else (error.strerror or str(error), _CHECK)
    return DiskError(f"Cannot write {os.fspath(path)}: {what}.", remedy, number=number)


def trouble_of(number: int) -> tuple[str, str]:
    """What is wrong with the disk by the number of an error, and what to do about it."""
    return _TROUBLE.get(number, (os.strerror(number), _CHECK))


class Patience(Protocol):
    """How a process waits for its disk."""

    def wait(self, error: DiskError, path: str, needed: int, failures: int) -> bool:
        """Waits until a write that has failed so often is worth another try; False if it is given up. Raises `DiskError` where the run
        must end, since it has waited for too long."""

    def over(self) -> None:
        """The write that this thread waited for was made, or given up."""

    def look(self) -> None:
        """For a thread that waits for another, which may wait for the disk: takes in what a person asks for meanwhile."""

    @property
    def busy(self) -> bool:
        """Whether a thread waits for the disk, and nobody has asked to end."""

    @property
    def given_up(self) -> DiskError | None:
        """Why the run must end, once it has waited for too long; each write is tried once from then on."""


_patience: list[Patience] = []


class _Thread(threading.local):
    """What holds for one thread."""

    at_once = 0
    """Blocks in which it does not wait, one within another."""
    optional = False


_thread = _Thread()


def install(patience: Patience | None) -> None:
    """From now on, lasting writes of this process wait for the disk as `patience` says; None: they fail again."""
    _patience[:] = [patience] if patience else []


def patiently(path: str | os.PathLike[str], write: Callable[[], Result], needed: int = 0) -> Result:
    """Carries out a write of about `needed` bytes, again and again while the disk does not take it and this process is patient.

    `write` must leave nothing behind where it fails. What it writes in turn is not waited for by itself: each try begins from its start,
    with files of new names, since a file whose fsync has failed once cannot be trusted by a second one.
    Raises `DiskError` where the process is not patient, or gives up.
    """
    if not _patience or _thread.at_once:
        return write()
    patience, failures = _patience[0], 0
    with at_once():
        try:
            while True:
                try:
                    return write()
                except DiskError as error:
                    failures += 1
                    if error.number not in PASSING or not patience.wait(error, os.fspath(path), needed, failures):
                        raise
        finally:
            if failures:
                patience.over()


@contextlib.contextmanager
def at_once() -> Iterator[None]:
    """Within the block this thread does not wait for the disk: what it writes there can be had again, or is not worth waiting."""
    _thread.at_once += 1
    try:
        yield
    finally:
        _thread.at_once -= 1


@contextlib.contextmanager
def may_be_left_out() -> Iterator[None]:
    """Within the block, writes wait only while the volume takes nothing at all: they fail where it has room, but not for them."""
    before, _thread.optional = is_optional(), True
    try:
        yield
    finally:
        _thread.optional = before


def is_optional() -> bool:
    """Whether this thread is in a block of `may_be_left_out`."""
    return _thread.optional


def look() -> None:
    """See `Patience.look`."""
    for patience in _patience:
        patience.look()


def is_waiting() -> bool:
    """Whether a thread of this process waits for the disk, and nobody has asked to end."""
    return any(patience.busy for patience in _patience)


def raise_given_up() -> None:
    """Raises the `DiskError` with which the run must end, where it has waited for the disk for too long."""
    for patience in _patience:
        if patience.given_up is not None:
            raise patience.given_up
