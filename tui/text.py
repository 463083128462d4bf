"""Words and numbers as people read them; pure functions that every view shares."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Sequence

from rich.cells import cell_len, set_cell_size

from loratui.engine.runs.clock import zone
from loratui.engine.untrusted import finite
from loratui.engine.words import both_ends as both_ends  # views find all words here
from loratui.engine.words import count as count
from loratui.engine.words import mean as mean
from loratui.engine.words import number as number
from loratui.engine.words import power
from loratui.engine.words import short as short
from loratui.engine.words import size as size
from loratui.engine.words import times as times

STATUS_SIGNS: dict[str, str] = {
    "queued": "·",
    "starting": "○",
    "running": "●",
    "finishing": "◐",
    "stalled": "◌",
    "waiting": "◍",
    "paused": "‖",
    "stopped": "■",
    "done": "✔",
    "failed": "✖",
    "interrupted": "!",
}
"""A sign for each status of a run, so that colour never stands alone."""

STATUS_TONES: dict[str, str] = {
    "queued": "$primary",
    "starting": "$primary",
    "running": "$accent",
    "finishing": "$success",
    "stalled": "$warning",
    "waiting": "$warning",
    "paused": "$muted",
    "stopped": "$muted",
    "done": "$success",
    "failed": "$error",
    "interrupted": "$warning",
}
"""Theme colour of each status."""


_LONGEST_S = 1e10


def stands(status: str) -> str:
    """How a run stands, as what follows its name: `is running`, `has failed`, `was interrupted`."""
    words = {
        "queued": "waits in the queue",
        "failed": "has failed",
        "interrupted": "was interrupted",
        "stalled": "has stalled",
        "waiting": "waits for its disk",
    }
    return words.get(status, f"is {status}")


def money_range(low: float, high: float, between: str = " to ") -> str:
    """`0.64 to 0.90`; one amount where both are the same."""
    return f"{low:.2f}" if f"{low:.2f}" == f"{high:.2f}" else f"{low:.2f}{between}{high:.2f}"


def duration(seconds: float | None) -> str:
    """`45 s`, `2 min 14 s`, `3 h 05 min`, `2 d 4 h`; `–` if unknown or beyond all sense."""
    if seconds is None or not 0 <= seconds < _LONGEST_S:
        return "–"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3600} h"


def time_left(seconds: float | None) -> str:
    """A duration as coarse as it is uncertain: to 5 s below a minute, 10 s below ten minutes, then to the minute."""
    if seconds is None or not -_LONGEST_S < seconds < _LONGEST_S:
        return "–"
    if seconds < 60:
        return f"{max(1, math.ceil(seconds / 5)) * 5} s" if seconds > 0 else "0 s"
    if seconds < 600:
        return duration(round(seconds / 10) * 10)
    if seconds < 3600:
        return f"{round(seconds / 60)} min"
    return duration(round(seconds / 60) * 60)


def ago(seconds: float) -> str:
    """How long ago: `just now`, `5 min ago`, `3 h ago`, `2 d ago`; coarse, so that a list at rest is not repainted. `–` for nonsense."""
    if not -_LONGEST_S < seconds < _LONGEST_S:
        return "–"
    if seconds < 300:
        return "just now"
    if seconds < 3600:
        return f"{int(seconds // 300) * 5} min ago"
    if seconds < 86_400:
        return f"{int(seconds // 3600)} h ago"
    return f"{int(seconds // 86_400)} d ago"


def clock(ts: float) -> str:
    """Time of day of a log line; dashes for a time that no calendar has."""
    try:
        return time.strftime("%H:%M:%S", time.localtime(ts))
    except (OverflowError, ValueError, OSError):
        return "--:--:--"


def clock_with_zone(ts: float) -> str:
    """Time of day with its zone: `22:59:08 UTC`."""
    return f"{clock(ts)} {zone(ts)}"


def loss(value: float | None) -> str:
    """A loss with three figures; `–` if there is none."""
    value = finite(value)
    if value is None:
        return "–"
    return f"{value:.4f}" if abs(value) < 10 else f"{value:.3g}"


def rate(steps_per_s: float | None) -> str:
    """Optimizer steps a second, or seconds a step where that is more telling."""
    if steps_per_s is None or not 1e-9 < steps_per_s < 1e9:
        return "–"
    return f"{steps_per_s:.1f} steps/s" if steps_per_s >= 1 else f"{1 / steps_per_s:.1f} s/step"


def learning_rate(value: float | None) -> str:
    """A learning rate as recipes write it: 1e-4, 3.2e-05."""
    return "–" if value is None else power(value) if value else "0"


def shorten_path(path: str, width: int) -> str:
    """A path cut in its middle, so that its beginning and its name stay."""
    if len(path) <= width or width < 8:
        return path[:width]
    head = (width - 1) // 3
    return f"{path[:head]}…{path[len(path) - (width - 1 - head) :]}"


_NUMBER_BEGUN = re.compile(r"[+-]?\d[\d.,:×\s]*$")


def cut(words: str, width: int) -> str:
    """Words in at most so many cells, with an ellipsis where they are cut; never within a number, whose rest reads as another."""
    if cell_len(words) <= width:
        return words
    # An emoji or a Chinese letter is one character and two cells wide.
    kept = set_cell_size(words, max(0, width - 1))
    if re.match(r"[.,:×\s]?\d", words[len(kept) :]):
        kept = _NUMBER_BEGUN.sub("", kept)
    return f"{kept.rstrip()}…" if width > 0 else ""


def cut_middle(words: str, width: int) -> str:
    """A name in at most so many cells, cut in its middle so that its end, where numbers are, stays."""
    if cell_len(words) <= width:
        return words
    tail = words[-(width // 2) :]
    while cell_len(tail) > width // 2:
        tail = tail[1:]
    return set_cell_size(words, width - 1 - cell_len(tail)) + "…" + tail


def columns(cells: Sequence[str], widths: Sequence[int]) -> str:
    """Cells padded or cut to their widths, two blanks between; a width below 0 aligns to the right, 0 leaves out."""
    shown = []
    for cell, width in zip(cells, widths, strict=True):
        wide = abs(width)
        if not wide:
            continue
        fitted = cut(cell, wide)
        blanks = " " * (wide - cell_len(fitted))
        shown.append(blanks + fitted if width < 0 else fitted + blanks)
    return "  ".join(shown).rstrip()


def base_name(model: str) -> str:
    """A base as it is named in a recipe, marked where it is one of the toys that come along."""
    return f"{model} (toy)" if model.startswith("embedded:") else model
