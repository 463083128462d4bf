"""What may reach the terminal: `clean()` for every string that is not a literal of ours, and what the terminal can do."""

from __future__ import annotations

import codecs
import io
import os
import re
import sys
from collections.abc import Mapping, MutableMapping

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202f"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U000e0000-\U000e0fff]"
)
_SURROGATE = re.compile("[\ud800-\udfff]")


def clean(text: object, limit: int = 2000) -> str:
    """`text` as one harmless line: control bytes become visible symbols, bidi and zero-width characters go,
    bytes that were no UTF-8 are shown as \\xNN, and more than `limit` characters are cut with an ellipsis.
    """
    line = str(text)
    if len(line) > limit:
        line = line[: limit - 1] + "…"
    line = _CONTROL.sub(_visible, line)
    line = _INVISIBLE.sub("", line)
    return _SURROGATE.sub(lambda m: f"\\x{ord(m.group()) & 0xFF:02x}", line)


def clean_lines(text: object, limit: int = 20_000) -> str:
    """As `clean`, but line ends stay."""
    return "\n".join(clean(line) for line in str(text)[:limit].splitlines())


def _visible(match: re.Match[str]) -> str:
    code = ord(match.group())
    if code < 0x20:
        return chr(0x2400 + code)
    return "␡" if code == 0x7F else f"\\x{code:02x}"


_COLOR_SYSTEMS = ("auto", "standard", "256", "truecolor", "windows")
"""What Textual knows as `TEXTUAL_COLOR_SYSTEM`."""
_LARGEST_SCREEN = {"COLUMNS": 1000, "LINES": 500}


def drop_absurd(environ: MutableMapping[str, str]) -> None:
    """Takes out of the environment what would make the app fall over or paint for ever: colours that Textual does not know,
    and screens larger than any."""
    if environ.get("TEXTUAL_COLOR_SYSTEM", "auto") not in _COLOR_SYSTEMS:
        del environ["TEXTUAL_COLOR_SYSTEM"]
    for name, most in _LARGEST_SCREEN.items():
        words = environ.get(name, "0")
        if len(words) > 5 or not words.isdecimal() or int(words) > most:
            del environ[name]


_HAS_256_COLOURS = re.compile(
    r"(alacritty|contour|foot|ghostty|gnome|iterm2?|kitty|konsole|mintty|mlterm|putty|rio|rxvt|screen|st|tmux|vte|wezterm|xterm)"
    r"(?!.*-(8|16|88)?(color|mono|m)$)(-.*)?"
)
"""Names of terminals (`TERM`); screen and tmux turn the colours into what the terminal around them has."""


def has_256_colours(environ: Mapping[str, str]) -> bool:
    """Whether the terminal's name tells that it has 256 colours. SSH passes on `TERM` but not `COLORTERM`, and Textual takes
    any name that does not end in 256color for a terminal with 16, in which no picture can be recognised."""
    return _HAS_256_COLOURS.fullmatch(environ.get("TERM", "").strip().lower()) is not None


def wants_plain(plain_flag: bool = False) -> bool:
    """True where a full-screen app would do harm: asked for, no terminal, or one that cannot move the cursor."""
    terminal = sys.stdin.isatty() and sys.stdout.isatty()
    return plain_flag or not terminal or os.environ.get("TERM", "") in ("", "dumb", "unknown") or _encoding() not in _DRAWABLE


def use_utf8() -> None:
    """Has the app's output written as UTF-8 in the C locale, which containers have although the terminal knows better."""
    if isinstance(sys.__stderr__, io.TextIOWrapper) and _encoding() == "ascii":
        sys.__stderr__.reconfigure(encoding="utf-8", errors="replace")


_DRAWABLE = ("utf-8", "ascii")
"""Encodings in which the app can be drawn; ASCII stands for a locale that nobody has set."""


def _encoding() -> str:
    """The encoding of what the app writes, by Python's own name for it."""
    try:
        return codecs.lookup(getattr(sys.__stderr__, "encoding", None) or "utf-8").name
    except LookupError:
        return "utf-8"


def has_shell() -> bool:
    """Whether a shell with job control started this process: only such a shell can bring a stopped process back."""
    parent = os.getppid()
    try:
        return os.getsid(parent) == os.getsid(0) and os.getpgid(parent) != os.getpgrp()
    except OSError:
        return False
