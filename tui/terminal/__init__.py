"""What may reach the terminal (every string that is not our own literal goes through `clean()`), and what it can do."""

from __future__ import annotations

import codecs
import io
import os
import re
import sys
from collections.abc import Mapping, MutableMapping

from loratui.engine.cleaning import clean as clean
from loratui.engine.cleaning import clean_lines as clean_lines

_COLOR_SYSTEMS = ("auto", "standard", "256", "truecolor", "windows")
"""Textual's values of `TEXTUAL_COLOR_SYSTEM`."""
_LARGEST_SCREEN = {"COLUMNS": 1000, "LINES": 500}


def drop_absurd(environ: MutableMapping[str, str]) -> None:
    """Removes variables with which the app would fail or paint for ever: unknown colour systems, and impossible sizes."""
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
"""Names of terminals (`TERM`); screen and tmux convert the colours for the terminal around them."""


def has_256_colours(environ: Mapping[str, str]) -> bool:
    """Whether the terminal's name implies 256 colours. SSH passes on `TERM` but not `COLORTERM`, and Textual assumes 16 for
    any name that does not end in 256color; with 16 no image is recognisable."""
    return _HAS_256_COLOURS.fullmatch(environ.get("TERM", "").strip().lower()) is not None


def wants_plain(plain_flag: bool = False) -> bool:
    """True if the person asked for plain lines, or the output is no terminal that can move its cursor."""
    terminal = sys.stdin.isatty() and sys.stdout.isatty()
    return plain_flag or not terminal or os.environ.get("TERM", "") in ("", "dumb", "unknown") or _encoding() not in _DRAWABLE


def use_utf8() -> None:
    """Writes the app's output as UTF-8 in the C locale: containers have it although the terminal can do more."""
    if isinstance(sys.__stderr__, io.TextIOWrapper) and _encoding() == "ascii":
        sys.__stderr__.reconfigure(encoding="utf-8", errors="replace")


_DRAWABLE = ("utf-8", "ascii")
"""Encodings in which the app can be drawn; ASCII stands for a locale that nobody has set."""


def _encoding() -> str:
    """The encoding of the app's output, by Python's own name for it."""
    try:
        return codecs.lookup(getattr(sys.__stderr__, "encoding", None) or "utf-8").name
    except LookupError:
        return "utf-8"


def has_shell() -> bool:
    """Whether a shell with job control started this process: only such a shell can continue a stopped process."""
    parent = os.getppid()
    try:
        return os.getsid(parent) == os.getsid(0) and os.getpgid(parent) != os.getpgrp()
    except OSError:
        return False
