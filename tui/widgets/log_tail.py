"""A run's log: its last lines, those of a level, or those that match a filter; older lines by scrolling."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Literal

from textual import events
from textual.app import RenderResult
from textual.content import Content
from textual.widget import Widget

from loratui.tui import text
from loratui.tui.runs.log_lines import Level, LogLine
from loratui.tui.widgets.line import plain

_TONES: dict[Level, str] = {"info": "", "good": "$success", "warning": "$warning", "error": "$error"}
_SIGNS: dict[Level, str] = {"info": " ", "good": "✔", "warning": "!", "error": "✖"}

Least = Literal["everything", "warnings", "errors"]
LEVELS: dict[Least, tuple[Level, ...]] = {
    "everything": ("info", "good", "warning", "error"),
    "warnings": ("warning", "error"),
    "errors": ("error",),
}
_LONGEST_SEARCHED = 300
"""Searched characters of a line: a person's regular expression must not block the screen."""


class LogTail(Widget):
    """Repaints only when its lines change."""

    DEFAULT_CSS = "LogTail { height: 1fr; }"

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self._lines: list[LogLine] = []
        self._count = -1
        self._matches, _ = matcher("")
        self._least: Least = "everything"
        self._back = 0
        self._shown: tuple[LogLine, ...] = ()

    def show(self, lines: Iterable[LogLine], count: int) -> None:
        """Shows the end of the log; `count` is how many lines there ever were."""
        if count != self._count:
            if self._back:
                # A person who scrolled back keeps their place.
                self._back += sum(map(self._wanted, list(lines)[-max(0, count - self._count) :]))
            self._count = count
            self._lines = list(lines)
            self._look()

    def filter(self, matches: Callable[[str], bool], least: Least) -> None:
        """Shows only matching lines of this level or worse."""
        self._matches, self._least, self._back = matches, least, 0
        self._look()

    def scroll_by(self, lines: int) -> None:
        """Scrolls to older lines (above 0) or newer ones (below 0)."""
        self._back += lines
        self._look()

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self.scroll_by(3)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        self.scroll_by(-3)

    def on_resize(self) -> None:
        self._look()

    def render(self) -> RenderResult:
        width = self.content_size.width
        if not self._shown and self._count > 0:
            return plain("no line of the log matches", "$muted")
        return Content("\n").join([_line(line).truncate(width, ellipsis=True) for line in self._shown])

    def _wanted(self, line: LogLine) -> bool:
        return line.level in LEVELS[self._least] and self._matches(line.text)

    def _look(self) -> None:
        height = self.content_size.height
        found = [line for line in self._lines if self._wanted(line)]
        self._back = max(0, min(self._back, len(found) - height))
        end = len(found) - self._back
        shown = tuple(found[max(0, end - height) : end]) if height else ()
        if shown != self._shown:
            self._shown = shown
            self.refresh()


def matcher(wanted: str) -> tuple[Callable[[str], bool], str]:
    """A test of a line's text for a person's filter, and what is wrong with an invalid regular expression.

    Words match literally, in any case; `/…/` is a regular expression.
    """
    if len(wanted) >= 2 and wanted.startswith("/") and wanted.endswith("/"):
        try:
            pattern = re.compile(wanted[1:-1], re.IGNORECASE)
        except (re.error, OverflowError, RecursionError) as error:
            return matcher("")[0], f"invalid regular expression: {error}"
        return lambda text: pattern.search(text[:_LONGEST_SEARCHED]) is not None, ""
    words = wanted.casefold()  # empty words are in every line
    return lambda text: words in text.casefold(), ""


def _line(line: LogLine) -> Content:
    return Content.assemble(
        plain(text.clock(line.ts), "$muted"), plain(f" {_SIGNS[line.level]} {line.text}", _TONES[line.level])
    )
