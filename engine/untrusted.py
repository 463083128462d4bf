"""The one room for reading what anybody may have put there: files that may be no files, JSON that may be anything, and
numbers that may be none. TOML is read in `presets/toml_file.py`, since presets import nothing of the engine."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import re
import stat
from collections.abc import Iterable
from io import FileIO
from pathlib import Path
from typing import Any, NoReturn

from loratui.engine.limits import NAME_BYTES, SMALL_FILE_BYTES
from loratui.engine.words import count

MOST_DEPTH = 32
"""Tables and lists within one another; no file that this program knows has more than ten."""
MOST_DIGITS = 64
"""Digits of a whole number. Any such number still fits into a float, and a product of a few of them too."""


_MARK = "\ufeff"
"""The byte order mark that some editors begin a file with. Taken away by hand: Python loads the codec for it from a file, which an account
that cannot read Python's own folder does not get."""


class Unreadable(OSError, ValueError):
    """A file or a text that is not read: no plain file, too large, too deep, no JSON, or changing meanwhile.

    It is an `OSError` and a `ValueError`, so that either clause catches it; `strerror` says what is wrong in words.
    """

    def __str__(self) -> str:
        return f"{self.filename}: {self.strerror}" if self.filename else str(self.strerror)


class Gone(Unreadable, FileNotFoundError):
    """There is no such file."""


def open_regular(path: Path, *, follow: bool = True) -> FileIO:
    """A regular file, opened for reading without buffering. Raises `Unreadable` for anything else, a pipe or a device too,
    and never waits for one; with `follow` False also for a link."""
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY | (0 if follow else os.O_NOFOLLOW)
    try:
        fd = os.open(path, flags)
    except FileNotFoundError as error:
        raise Gone(error.errno, error.strerror, os.fspath(path)) from None
    except OSError as error:
        raise Unreadable(error.errno, error.strerror, os.fspath(path)) from None
    except ValueError as error:  # a name with a NUL, or with half a letter
        raise Unreadable(errno.EINVAL, os.strerror(errno.EINVAL)) from error
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise Unreadable(errno.EINVAL, "is not a regular file", os.fspath(path))
        return FileIO(fd, "r")
    except BaseException:
        os.close(fd)
        raise


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, hexadecimal. Raises `OSError`."""
    with open_regular(path, follow=False) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_small(path: Path, most: int = SMALL_FILE_BYTES, *, follow: bool = True) -> bytes:
    """The first `most` bytes of a regular file. Raises `Unreadable` for anything else, as `open_regular`."""
    with open_regular(path, follow=follow) as file:
        return _read(file, most, path)


def read_whole(path: Path, most: int = SMALL_FILE_BYTES, *, follow: bool = True) -> bytes:
    """All of a regular file that has `most` bytes at most. Raises `Unreadable`, also where it changes meanwhile."""
    with open_regular(path, follow=follow) as file:
        before = os.fstat(file.fileno())
        if before.st_size > most:
            raise Unreadable(errno.EFBIG, f"is larger than {count(most, 'byte')}", os.fspath(path))
        data = _read(file, before.st_size + 1, path)
        after = os.fstat(file.fileno())
        if len(data) != before.st_size or (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            raise Unreadable(errno.EBUSY, "changed while it was read", os.fspath(path))
        return data


def read_text(path: Path, most: int = SMALL_FILE_BYTES, *, follow: bool = True) -> str:
    """As `read_whole`, as UTF-8; a mark at the beginning is passed over."""
    try:
        return read_whole(path, most, follow=follow).decode("utf-8").removeprefix(_MARK)
    except UnicodeDecodeError:
        raise Unreadable(errno.EILSEQ, "is not UTF-8 text", os.fspath(path)) from None


def read_json(
    path: Path, most: int = SMALL_FILE_BYTES, *, depth: int = MOST_DEPTH, follow: bool = True, unique: bool = False
) -> Any:
    """The value in a JSON file. Raises `Unreadable` (its `Gone` where there is no such file), and nothing else.

    `most` is the number of bytes that it may have; the rest is as in `parse_json`.
    """
    data = read_whole(path, most, follow=follow)
    try:
        return parse_json(data, depth=depth, unique=unique)
    except Unreadable as error:
        raise Unreadable(error.errno, error.strerror, os.fspath(path)) from None


def parse_json(
    data: bytes | str, *, most: int | None = None, depth: int = MOST_DEPTH, unique: bool = False, not_finite: bool = False
) -> Any:
    """The value that a JSON text stands for, in time and memory that its length bounds.

    Raises `Unreadable` for more than `most` bytes or letters, more than `depth` levels, what is not UTF-8, no JSON, a number
    that is not finite or has more than `MOST_DIGITS` digits, and with `unique` for a name that stands twice in a table. `not_finite` takes NaN and infinities as Python writes them.
    """
    if most is not None and len(data) > most:
        raise Unreadable(errno.EFBIG, f"is larger than {count(most, 'byte')}")
    try:
        text = data.decode("utf-8").removeprefix(_MARK) if isinstance(data, bytes) else data
        if _is_deeper(text, depth):
            raise Unreadable(errno.EINVAL, f"has tables and lists within one another, more than {depth} deep")
        return (_UNIQUE if unique else _NOT_FINITE if not_finite else _ANY).decode(text)
    except Unreadable:
        raise
    except UnicodeDecodeError:
        raise Unreadable(errno.EILSEQ, "is not UTF-8 text") from None
    except ValueError as error:
        raise Unreadable(errno.EINVAL, f"is not valid JSON: {error}") from None
    except (RecursionError, MemoryError):
        raise Unreadable(errno.EINVAL, "is more than can be taken in") from None


_STRING = re.compile(r'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)', re.DOTALL)
"""A string of JSON, or the beginning of one that does not end; possessive, so that no text makes it look twice."""
_NO_BRACKET = re.compile(r"[^\[\]{}]++")


def _is_deeper(text: str, most: int) -> bool:
    if text.count("[") + text.count("{") <= most:
        return False
    level = 0
    for bracket in _NO_BRACKET.sub("", _STRING.sub("", text)):
        level += 1 if bracket in "[{" else -1
        if level > most:
            return True
    return False


def _whole_number(digits: str) -> int | float:
    if len(digits) > MOST_DIGITS:
        raise ValueError("a number has too many digits")
    return -0.0 if digits == "-0" else int(digits)  # as other readers take it, so that a size is one for all or for none


def _number(text: str) -> float:
    if len(text) > 1000 or not math.isfinite(number := float(text)):
        raise ValueError("a number is too large to be held")
    return number


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def _once_each(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for name, value in pairs:
        if name in table:
            raise ValueError(f"the name {name[:60]!r} stands twice in a table")
        table[name] = value
    return table


_ANY = json.JSONDecoder(parse_int=_whole_number, parse_float=_number, parse_constant=_no_number)
_NOT_FINITE = json.JSONDecoder(parse_int=_whole_number)
_UNIQUE = json.JSONDecoder(
    parse_int=_whole_number, parse_float=_number, parse_constant=_no_number, object_pairs_hook=_once_each
)


def _read(file: FileIO, most: int, path: Path) -> bytes:
    parts, left = [], most
    try:
        while left > 0 and (part := file.read(min(left, 1 << 24))):
            parts.append(part)
            left -= len(part)
        return b"".join(parts)
    except OSError as error:  # a disk or a network drive that fails
        raise Unreadable(error.errno, error.strerror or str(error), os.fspath(path)) from None
    except MemoryError:
        raise Unreadable(errno.ENOMEM, "is more than can be taken in", os.fspath(path)) from None


def leads_out(relative: str) -> bool:
    """Whether the name that somebody else's record or archive gives for a file in a folder leads to another place."""
    return relative.startswith("/") or "\0" in relative or ".." in relative.split("/")


def inside(folder: Path, relative: str) -> Path | None:
    """The file of a folder that a record names; None for no name, for one that leads out, and for one that no file can have."""
    too_long = any(len(part.encode(errors="surrogatepass")) > NAME_BYTES for part in relative.split("/"))
    return None if not relative or leads_out(relative) or too_long else folder / relative


def finite(value: object) -> float | None:
    """`value` as a float if it is a number that one can hold; None for NaN, infinities, 400 digits, truth values and texts."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
