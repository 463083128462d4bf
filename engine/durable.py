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
from collections.abc import Callable, Iterator, Mapping, Sequence
from io import BufferedWriter
from pathlib import Path
from typing import Any

from loratui.engine.disk_errors import at_once, disk_error, patiently
from loratui.engine.errors import LoratuiError
from loratui.engine.limits import CHUNK_BYTES
from loratui.engine.untrusted import leads_out, open_regular

DIRECTORY_MODE = 0o700
FILE_MODE = 0o600

MARKER = ".loratui-run"
"""The file that makes a folder a run: without it nothing is opened and nothing is deleted."""

_TEMPORARY = ".tmp"
_SHOWN = 40
"""Letters of a name that its temporary one has: file systems take 255 bytes."""
_REMOVED = ".removed"

CANNOT = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.ENOLCK)
"""What a file system says of a call that it does not have."""

guards: dict[Path, Callable[[Path], object]] = {}
"""The folder of a run -> what is asked before this process makes, renames or deletes something in it, and raises what forbids it."""


def permitted(path: Path) -> None:
    """Asks the guard of the run that `path` is in, if this process has one."""
    for folder in (path, *path.parents) if guards else ():
        if (guard := guards.get(folder)) is not None:
            guard(path)
            return


def write_file(path: Path, data: bytes | memoryview, *, durable: bool = True, mode: int | None = None) -> None:
    """Puts `data` at `path` in one move; readers see the old file or the new one, never a part.

    With `durable` the data and the name are on the disk on return. `mode`: of the file; by default only its owner may read it.
    Raises `DiskError`; nothing is left behind then.
    """

    def fill(file: BufferedWriter) -> None:
        file.write(data)
        if mode is not None:
            os.fchmod(file.fileno(), mode)

    _put(path, fill, os.rename, lasting=durable, needed=len(data))


def write_json(path: Path, value: Mapping[str, Any] | Sequence[Any], *, durable: bool = True) -> None:
    """`write_file` of `value` as indented JSON with a final newline. Numbers that are not finite are a `ValueError`."""
    text = json.dumps(value, indent=1, ensure_ascii=True, allow_nan=False)
    write_file(path, text.encode("ascii") + b"\n", durable=durable)


def write_new(path: Path, data: bytes) -> None:
    """As `write_file`, but never in the place of anything. Raises `FileExistsError`, `DiskError`."""
    _put(path, lambda file: file.write(data), _appear, needed=len(data))


def copy_new(source: Path, target: Path) -> None:
    """Copies a regular file to where nothing is, whole or not at all. Raises `FileExistsError`, `DiskError`."""

    def copy(file: BufferedWriter) -> None:
        with open_regular(source, follow=False) as read:
            shutil.copyfileobj(read, file, CHUNK_BYTES)

    _put(target, copy, _appear)


def _put(
    path: Path,
    fill: Callable[[BufferedWriter], object],
    publish: Callable[..., None],
    *,
    lasting: bool = True,
    needed: int = 0,
) -> None:
    """Has `fill` write a file beside `path`, to which `publish` gives that name; where one of them fails, it is gone."""

    def put() -> None:
        temporary = temporary_beside(path)
        if not path.parent.name.endswith(_TEMPORARY) and _is_lost(path.parent):
            make_directory(path.parent)
        with _named(path), opened(path.parent) as folder:
            try:
                with new_file(temporary) as file:
                    failpoint("write_file.opened")
                    fill(file)
                    file.flush()
                    failpoint("write_file.written")
                    if lasting:
                        _sync(file.fileno())
                failpoint("write_file.synced")
                permitted(path)
                publish(temporary.name, path.name, src_dir_fd=folder, dst_dir_fd=folder)
            finally:
                with contextlib.suppress(OSError):
                    os.unlink(temporary.name, dir_fd=folder)
            failpoint("write_file.renamed")
            if lasting:
                _sync(folder)

    patiently(path, put, needed)


def _is_lost(folder: Path) -> bool:
    """Whether a folder of a run was deleted while the run itself is there."""
    return not os.path.lexists(folder) and any(os.path.lexists(above / MARKER) for above in folder.parents)


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    """An error of the disk within the block becomes one about `path`, in the person's words."""
    try:
        yield
    except FileExistsError:
        raise
    except OSError as error:
        raise disk_error(error, path) from error


def _appear(temporary: str, final: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
    """As `os.rename`, but a `FileExistsError` where something has the name."""
    try:
        os.link(temporary, final, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)
    except OSError as error:
        # Some network and FAT volumes have no hard links; there the name is looked for just before.
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS):
            raise
        with contextlib.suppress(FileNotFoundError):
            os.stat(final, dir_fd=dst_dir_fd, follow_symlinks=False)
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), final) from None
        os.rename(temporary, final, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)


def new_file(path: Path) -> BufferedWriter:
    """A new file to write to, for its owner alone. What is built of such files is put in its place by `building`.

    Raises `OSError`, among them `FileExistsError`.
    """
    with opened(path.parent) as folder:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.fdopen(os.open(path.name, flags, FILE_MODE, dir_fd=folder), "wb")


def move(source: Path, target: Path) -> None:
    """Gives a file another name on the same volume, in place of what has it, with both on the disk after. Raises `OSError`."""
    if not source.is_symlink():
        with open_regular(source) as file:
            os.fsync(file.fileno())
    source.rename(target)
    with opened(target.parent) as folder:
        _sync(folder)


def keep_as(path: Path, kept: Path) -> None:
    """Gives a file a second name, so that it stays when another takes its first; a copy where a volume has no such names.

    Raises `FileExistsError`, `DiskError`.
    """
    try:
        os.link(path, kept, follow_symlinks=False)
    except FileExistsError:
        raise
    except OSError:
        copy_new(path, kept)


def link(path: Path, target: Path) -> None:
    """Makes `path` lead to `target`, for a folder that is being built. Raises `DiskError`, `FileExistsError` where the name is taken."""
    with _named(path), opened(path.parent) as folder:
        os.symlink(target, path.name, dir_fd=folder)


def remember(path: Path, value: Mapping[str, Any] | Sequence[Any]) -> bool:
    """Keeps a value that can be had again, in a folder that is made if it is missing; whether the disk took it."""
    try:
        with at_once():
            make_directory(path.parent)
            write_json(path, value, durable=False)
    except LoratuiError:
        return False
    return True


def open_to_write(path: Path, flags: int) -> int:
    """A descriptor of a regular file that is made if it is missing, for writing in place: logs and locks.

    Raises `OSError` for anything else, also for a file that has a second name, which would be written to under that one too.
    """
    # A pipe that nobody reads would be waited for.
    flags |= os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with opened(path.parent) as folder:
        fd = os.open(path.name, flags, FILE_MODE, dir_fd=folder)
        found = os.fstat(fd)
        if not found.st_size:
            with contextlib.suppress(OSError):  # a disk that cannot do this says so again when the file is synced
                os.fsync(folder)  # what is synced later is lost with the name
    if stat.S_ISREG(found.st_mode) and found.st_nlink <= 1:
        os.set_blocking(fd, True)
        return fd
    os.close(fd)
    if stat.S_ISREG(found.st_mode):
        raise OSError(errno.EMLINK, os.strerror(errno.EMLINK), os.fspath(path))
    raise OSError(errno.EINVAL, "is not a regular file", os.fspath(path))


def append_lines(path: Path, lines: bytes) -> None:
    """Adds whole lines to a file, which is made if it is missing; they are on the disk on return. A line that was torn there ends first,
    so that it spoils no other. Raises `DiskError`, after which a part may be there."""

    def append() -> None:
        with _named(path):
            fd = open_to_write(path, os.O_RDWR | os.O_APPEND)
            try:
                size = os.fstat(fd).st_size
                torn = size > 0 and os.pread(fd, 1, size - 1) != b"\n"
                write_all(fd, (b"\n" if torn else b"") + lines)
                _sync(fd)
            finally:
                os.close(fd)

    patiently(path, append, len(lines))


def make_directory(path: Path) -> None:
    """Creates `path` and its missing parents, for the owner alone. Raises `DiskError`."""

    def make() -> None:
        try:
            for missing in reversed([folder for folder in (path, *path.parents) if not os.path.lexists(folder)]):
                with opened(missing.parent) as folder, contextlib.suppress(FileExistsError):
                    os.mkdir(missing.name, DIRECTORY_MODE, dir_fd=folder)
            with opened(path):
                pass
        except OSError as error:
            raise disk_error(error, path) from error

    patiently(path, make)


def temporary_beside(path: Path) -> Path:
    """An unguessable name in the folder of `path`, for building what will be renamed to `path`."""
    return path.parent / f".{path.name[:_SHOWN]}.{secrets.token_hex(4)}{_TEMPORARY}"


def publish_directory(temporary: Path, final: Path) -> None:
    """Makes a finished folder appear under its final name, with everything in it on the disk before and the name after.

    Raises `FileExistsError` if something that is not an empty folder has the name already, `DiskError` otherwise.
    """
    try:
        with opened(final.parent) as folder:
            failpoint("publish.start")
            for _, _, files, inner in os.fwalk(temporary.name, topdown=False, dir_fd=folder):
                for name in files:
                    if stat.S_ISLNK(os.stat(name, dir_fd=inner, follow_symlinks=False).st_mode):
                        continue
                    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=inner)
                    try:
                        os.fsync(fd)
                    finally:
                        os.close(fd)
                _sync(inner)
            failpoint("publish.synced")
            permitted(final)
            try:
                os.rename(temporary.name, final.name, src_dir_fd=folder, dst_dir_fd=folder)
            except OSError as error:
                if error.errno in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
                    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), os.fspath(final)) from error
                raise
            failpoint("publish.renamed")
            try:
                _sync(folder)
            except OSError:
                # Nobody knows whether the name will last, and nobody has been told of it: the folder is made again.
                os.rename(final.name, temporary.name, src_dir_fd=folder, dst_dir_fd=folder)
                raise
            failpoint("publish.done")
    except FileExistsError:
        raise
    except OSError as error:
        raise disk_error(error, final) from error


def remove(path: Path) -> bool:
    """Deletes a file, or a link itself; whether it went."""
    with contextlib.suppress(OSError), opened(path.parent) as folder:
        os.unlink(path.name, dir_fd=folder)
        return True
    return False


def remove_tree(path: Path) -> None:
    """Deletes a folder so that it is gone under its name at once; a crash leaves only what `sweep_leftovers` takes away.

    A missing folder is no error; a link is not followed but refused.
    """

    def remove_it() -> None:
        try:
            with opened(path.parent) as folder:
                if not stat.S_ISDIR(os.stat(path.name, dir_fd=folder, follow_symlinks=False).st_mode):
                    raise disk_error(NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)), path)
                doomed = f".{path.name}.{secrets.token_hex(4)}{_REMOVED}"
                os.rename(path.name, doomed, src_dir_fd=folder, dst_dir_fd=folder)
                failpoint("remove.renamed")
                _sync(folder)
                shutil.rmtree(doomed, dir_fd=folder)
                failpoint("remove.done")
        except FileNotFoundError:
            return
        except OSError as error:
            raise disk_error(error, path) from error

    patiently(path, remove_it)


def sweep_leftovers(path: Path, *, temporary: bool = True) -> int:
    """Deletes what crashes left half written (only with `temporary`, and only safe under the run's lock) or half
    deleted in the folder `path` itself, and returns how many entries went. Entries that cannot be deleted are left."""
    endings = (_TEMPORARY, _REMOVED) if temporary else (_REMOVED,)
    swept = 0
    with contextlib.suppress(OSError), opened(path) as folder:
        for name in os.listdir(folder):  # noqa: PTH208 - pathlib has no handles
            if not (name.startswith(".") and name.endswith(endings)):
                continue
            with contextlib.suppress(OSError):
                if stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
                    shutil.rmtree(name, dir_fd=folder)
                else:
                    os.unlink(name, dir_fd=folder)
                swept += 1
    return swept


@contextlib.contextmanager
def opened(path: Path) -> Iterator[int]:
    """A handle of a folder, by which what is in it is made, renamed and deleted: nobody can put another folder in its place.

    Within a run no link is followed, not even on the way: runs come from archives too. Raises `OSError`.
    """
    permitted(path)
    run = next((folder for folder in reversed((path, *path.parents)) if os.path.lexists(folder / MARKER)), None)
    if run is not None and leads_out(path.relative_to(run).as_posix()):
        raise OSError(errno.EINVAL, "leads out of the run", os.fspath(path))
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    fd = os.open(path if run is None else run, flags if run is None else flags | os.O_NOFOLLOW)
    try:
        for name in () if run is None else path.relative_to(run).parts:
            try:
                inner = os.open(name, flags | os.O_NOFOLLOW, dir_fd=fd)
            except NotADirectoryError as error:
                if stat.S_ISLNK(os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode):
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), os.fspath(path)) from error
                raise
            os.close(fd)
            fd = inner
        yield fd
    finally:
        os.close(fd)


def write_all(fd: int, data: bytes) -> None:
    """`os.write` until all of `data` is written: a nearly full disk takes only a part at first. Raises `OSError`, perhaps after
    a part was written."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _sync(fd: int) -> None:
    """File systems that cannot do this, some for folders alone, are let pass; the preflight says so."""
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in CANNOT:
            raise


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
        with opened(final.parent) as folder:
            os.mkdir(temporary.name, DIRECTORY_MODE, dir_fd=folder)
    except OSError as error:
        raise disk_error(error, final) from error
    try:
        yield temporary
        publish_directory(temporary, final)
    except BaseException:
        with contextlib.suppress(OSError), opened(final.parent) as folder:
            shutil.rmtree(temporary.name, ignore_errors=True, dir_fd=folder)
        raise
