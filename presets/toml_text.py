"""The one room for reading TOML that anybody may have put there. It knows nothing of settings, and imports nothing of the engine,
which has the like for JSON in `untrusted.py`."""

from __future__ import annotations

import errno
import os
import re
import stat
import tomllib
from io import FileIO
from pathlib import Path
from typing import Any

MOST_BYTES = 1 << 17
"""Of a TOML file: a recipe with all its prompts has a tenth of it."""
_MOST_DEPTH = 8
"""Lists and tables within one another, and names with dots between them."""


def parse_toml(text: str) -> dict[str, Any]:
    """The table of a TOML text, in time that its length bounds.

    Raises `ValueError` that says what is wrong, also for more than `MOST_BYTES` letters and for brackets or dotted names deeper
    than any file of this program has: of those the parser would take more time and stack than there is.
    """
    if len(text) > MOST_BYTES:
        raise ValueError(f"it is longer than {MOST_BYTES:,} letters")
    if _is_deep(text):
        raise ValueError(f"lists, tables or dotted names lie more than {_MOST_DEPTH} deep")
    try:
        return tomllib.loads(text)
    except (RecursionError, MemoryError):
        raise ValueError("it is more than can be taken in") from None


def read_text(path: Path) -> str:
    """The text of a TOML file; never waits for a pipe. Raises `OSError`, and `ValueError` for what is not UTF-8."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except ValueError as error:  # a name with a NUL
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL)) from error
    with FileIO(fd, "r") as file:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "is not a regular file")
        data = b"" if found.st_size > MOST_BYTES else file.read(MOST_BYTES + 1)
        if found.st_size > MOST_BYTES or len(data) > MOST_BYTES:
            raise OSError(errno.EFBIG, f"is larger than {MOST_BYTES:,} bytes")
    try:
        return data.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8 text") from None


_TOKEN = re.compile(
    r"""
    (?P<string>\"{3}(?:[^\\"]++|\\.|"(?!""))*+(?:"{3,5}|\\?\Z)|'{3}(?:[^']++|'(?!''))*+(?:'{3,5}|\Z)
        |"(?:[^"\\\n]++|\\.)*+"?|'[^'\n]*+'?)
    |(?P<comment>\#[^\n]*+)|(?P<open>[\[{])|(?P<close>[\]}])|(?P<dot>\.)|(?P<name>[\w+:-]++)|(?P<space>[ \t]++)|(?P<other>.)""",
    re.DOTALL | re.VERBOSE,
)
"""What a TOML text is made of, as far as depth needs it. Where it takes something for another thing than the parser does, the
parser has met its error before; possessive, so that no text makes it look twice."""


def _is_deep(text: str) -> bool:
    """Whether brackets lie too deep within one another, or a name has too many dots."""
    level = dots = 0
    for token in _TOKEN.finditer(text):
        kind = token.lastgroup
        if kind == "open":
            level, dots = level + 1, 0
        elif kind == "close":
            level = max(0, level - 1)
        elif kind == "dot":
            dots += 1
        elif kind == "other":
            dots = 0
        if level > _MOST_DEPTH or dots > _MOST_DEPTH:
            return True
    return False
