"""Reading what anybody may have put there: files that may be no files, and numbers that may be none."""

from __future__ import annotations

import errno
import math
import os
import stat
from io import FileIO
from pathlib import Path


def open_regular(path: Path, *, follow: bool = True) -> FileIO:
    """A regular file, opened for reading without buffering. Raises `OSError` for anything else, a pipe or a device too,
    and never waits for one; with `follow` False also for a link."""
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
    try:
        fd = os.open(path, flags)
    except ValueError as error:  # a name with a NUL
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL)) from error
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, "is not a regular file", os.fspath(path))
        return FileIO(fd, "r")
    except BaseException:
        os.close(fd)
        raise


def read_small(path: Path, most: int = 1 << 20, *, follow: bool = True) -> bytes:
    """The first `most` bytes of a regular file. Raises `OSError` for anything else, as `open_regular`."""
    parts, left = [], most
    with open_regular(path, follow=follow) as file:
        while left > 0 and (part := file.read(left)):
            parts.append(part)
            left -= len(part)
    return b"".join(parts)


def finite(value: object) -> float | None:
    """`value` as a float if it is a number that one can hold; None for NaN, infinities, 400 digits, truth values and texts."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
