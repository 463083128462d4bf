"""Foreign strings made harmless to show and to keep: `clean()` for every string that is not a literal of ours."""

from __future__ import annotations

import re
import unicodedata

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202f"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U000e0000-\U000e0fff]"
)
_SURROGATE = re.compile("[\ud800-\udfff]")
_ESCAPE = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)?|[@-Z\\-_])")
_MOST_MARKS = 4
"""Combining characters on one letter. Vietnamese needs two, Hebrew with accents three, Tibetan and Thai no more than four; a flood of
them paints over the lines around it."""


def clean(text: object, limit: int = 2000) -> str:
    """`text` as one harmless line: control bytes become visible symbols, bidi and zero-width characters go, letters keep at
    most four combining marks, bytes that were no UTF-8 are shown as \\xNN, and more than `limit` characters are cut with an
    ellipsis.
    """
    line = str(text)
    if len(line) > limit:
        line = line[: limit - 1] + "…"
    line = _CONTROL.sub(_visible, line)
    line = _INVISIBLE.sub("", line)
    if not line.isascii():
        line = _few_marks(line)
    return _SURROGATE.sub(lambda m: f"\\x{ord(m.group()) & 0xFF:02x}", line)


def clean_lines(text: object, limit: int = 20_000, line_limit: int = 2000) -> str:
    """As `clean`, but line ends stay; each line has at most `line_limit` characters."""
    return "\n".join(clean(line, line_limit) for line in str(text)[:limit].splitlines())


def without_escapes(text: str) -> str:
    """`text` without the escape sequences that colour it, move in it or link it."""
    return _ESCAPE.sub("", text)


def _few_marks(line: str) -> str:
    """`line` without the combining characters beyond a few on one letter."""
    kept: list[str] = []
    marks = 0
    for letter in line:
        # Mn and Me take no room of their own; Mc do, and belong to many scripts.
        marks = marks + 1 if unicodedata.category(letter) in ("Mn", "Me") else 0
        if marks <= _MOST_MARKS:
            kept.append(letter)
    return "".join(kept)


def _visible(match: re.Match[str]) -> str:
    code = ord(match.group())
    if code < 0x20:
        return chr(0x2400 + code)
    return "␡" if code == 0x7F else f"\\x{code:02x}"
