"""The one seam for lasting writes: what is written here is whole after a crash, or not there at all."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
import shutil
import signal
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from loratui.engine.errors import DiskError, UsageError

DIRECTORY_MODE = 0o700
FILE_MODE = 0o600

_TEMPORARY = ".tmp"
_REMOVED = ".removed"

_DISK_TROUBLE: dict[int, tuple[str, str]] = {
    errno.ENOSPC: ("the disk is full", "Free some space, then try again; a run goes on with: loratui resume."),
    errno.EDQUOT: ("the disk quota is used up", "Free some space, then try again; a run goes on with: loratui resume."),
    errno.EFBIG: ("the file would be larger than is allowed here", "Raise the file size limit (ulimit -f)."),
    errno.EROFS: ("the file system is read-only", "Choose another folder (--home or --output), or mount it writable."),
    errno.EACCES: ("no permission", "Choose another folder (--home or --output), or change its permissions."),
    errno.EPERM: ("no permission", "Choose another folder (--home or --output), or change its permissions."),
    errno.ENOENT: ("the folder is gone", "Was it moved or deleted while in use?"),
    errno.EIO: ("the disk reports an error", "Check the volume; copy what matters elsewhere."),
    errno.EMFILE: ("too many open files", "Raise the limit (ulimit -n)."),
    errno.ENAMETOOLONG: ("the path is too long", "Choose a shorter folder with --home."),
}


def disk_error(error: OSError, path: str | os.PathLike[str]) -> DiskError | UsageError:
    """The person's version of an operating system error about `path`; a file in a folder's place is a `UsageError`."""
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        return UsageError(
            f"{os.fspath(path)}: a file stands where a folder is needed.", "Choose another folder (--home or --output)."
        )
    what, remedy = _DISK_TROUBLE.get(error.errno or 0, (error.strerror or str(error), "Check the disk and its permissions."))
    return DiskError(f"Cannot write {os.fspath(path)}: {what}.", remedy)


def write_file(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Puts `data` at `path` in one move; readers see the old file or the new one, never a part.

    With `durable` the data and the name are on the disk on return. Raises `DiskError`; nothing is left behind then.
    """
    temporary = temporary_beside(path)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        fd = os.open(temporary, flags, FILE_MODE)
        try:
            failpoint("write_file.opened")
            write_all(fd, data)
            failpoint("write_file.written")
            if durable:
                os.fsync(fd)
        finally:
            os.close(fd)
        failpoint("write_file.synced")
        temporary.rename(path)
        failpoint("write_file.renamed")
        if durable:
            sync_directory(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise disk_error(error, path) from error


def write_json(path: Path, value: Mapping[str, Any], *, durable: bool = True) -> None:
    """`write_file` of `value` as indented JSON with a final newline. Numbers that are not finite are a `ValueError`."""
    text = json.dumps(value, indent=1, ensure_ascii=True, allow_nan=False)
    write_file(path, text.encode("ascii") + b"\n", durable=durable)


def make_directory(path: Path) -> None:
    """Creates `path` and its missing parents, for the owner alone. Raises `DiskError`."""
    try:
        for missing in reversed([folder for folder in (path, *path.parents) if not folder.exists()]):
            missing.mkdir(DIRECTORY_MODE, exist_ok=True)
        path.mkdir(DIRECTORY_MODE, exist_ok=True)
    except OSError as error:
        raise disk_error(error, path) from error


def temporary_beside(path: Path) -> Path:
    """An unguessable name in the folder of `path`, for building what will be renamed to `path`."""
    return path.parent / f".{path.name}.{secrets.token_hex(4)}{_TEMPORARY}"


def publish_directory(temporary: Path, final: Path) -> None:
    """Makes a finished folder appear under its final name, with everything in it on the disk before and the name after.

    Raises `FileExistsError` if something that is not an empty folder has the name already, `DiskError` otherwise.
    """
    try:
        failpoint("publish.start")
        for folder, _, files in os.walk(temporary, topdown=False):
            for name in files:
                fd = os.open(Path(folder, name), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
                try:
                    os.fsync(fd)
                finally:
                    os.close(fd)
            sync_directory(Path(folder))
        failpoint("publish.synced")
        try:
            temporary.rename(final)
        except OSError as error:
            if error.errno in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), os.fspath(final)) from error
            raise
        failpoint("publish.renamed")
        sync_directory(final.parent)
        failpoint("publish.done")
    except FileExistsError:
        raise
    except OSError as error:
        raise disk_error(error, final) from error


def remove_tree(path: Path) -> None:
    """Deletes a folder so that it is gone under its name at once; a crash leaves only what `sweep_leftovers` takes away.

    A missing folder is no error; a link is not followed but refused.
    """
    try:
        if not stat.S_ISDIR(os.lstat(path).st_mode):
            raise disk_error(NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)), path)
        doomed = path.parent / f".{path.name}.{secrets.token_hex(4)}{_REMOVED}"
        path.rename(doomed)
        failpoint("remove.renamed")
        sync_directory(path.parent)
        shutil.rmtree(doomed)
        failpoint("remove.done")
    except FileNotFoundError:
        return
    except OSError as error:
        raise disk_error(error, path) from error


def sweep_leftovers(folder: Path, *, temporary: bool = True) -> int:
    """Deletes what crashes left half written (only with `temporary`, and only safe under the run's lock) or half
    deleted in `folder` itself, and returns how many entries went. Entries that cannot be deleted are left."""
    endings = (_TEMPORARY, _REMOVED) if temporary else (_REMOVED,)
    swept = 0
    with contextlib.suppress(OSError):
        for entry in list(folder.iterdir()):
            if not (entry.name.startswith(".") and entry.name.endswith(endings)):
                continue
            with contextlib.suppress(OSError):
                if entry.is_dir() and not entry.is_symlink():
                    shutil.rmtree(entry)
                else:
                    entry.unlink()
                swept += 1
    return swept


def append_line(fd: int, line: bytes) -> None:
    """Appends one line, normally with a single write. Raises `OSError`, perhaps after a part of the line was written."""
    assert line.endswith(b"\n")
    write_all(fd, line)


def write_all(fd: int, data: bytes) -> None:
    """`os.write` until all of `data` is written: a nearly full disk takes only a part at first."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def sync_directory(path: Path) -> None:
    """Makes the names in a folder last. File systems that cannot do this for folders (EINVAL, ENOTSUP) are let pass."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(fd)


_hits: dict[str, int] = {}


def failpoint(name: str) -> None:
    """A hook for tests: with `LORATUI_FAILPOINT="name:n"` in the environment the process kills itself with SIGKILL
    at the n-th call with that name. Without the variable it does nothing."""
    wanted = os.environ.get("LORATUI_FAILPOINT")
    if not wanted:
        return
    chosen, _, count = wanted.partition(":")
    if chosen != name:
        return
    _hits[name] = _hits.get(name, 0) + 1
    if _hits[name] == int(count or 1):
        os.kill(os.getpid(), signal.SIGKILL)


@contextlib.contextmanager
def building(final: Path) -> Iterator[Path]:
    """A private temporary folder beside `final`; published under that name if the block ends well, deleted otherwise."""
    temporary = temporary_beside(final)
    try:
        temporary.mkdir(DIRECTORY_MODE)
    except OSError as error:
        raise disk_error(error, final) from error
    try:
        yield temporary
        publish_directory(temporary, final)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
