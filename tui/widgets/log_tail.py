"""The last lines of what a run tells, as many as fit."""

from __future__ import annotations

from collections.abc import Iterable

from textual.app import RenderResult
from textual.content import Content
from textual.widget import Widget

from loratui.tui import text
from loratui.tui.store import Level, LogLine
from loratui.tui.widgets.line import plain

_TONES: dict[Level, str] = {"info": "", "good": "$success", "warning": "$warning", "error": "$error"}
_SIGNS: dict[Level, str] = {"info": " ", "good": "✔", "warning": "!", "error": "✖"}


class LogTail(Widget):
    """Repaints only when there is a new line."""

    DEFAULT_CSS = """
    LogTail { height: 1fr; }
    """

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self._lines: list[LogLine] = []
        self._count = -1

    def show(self, lines: Iterable[LogLine], count: int) -> None:
        """Shows the end of `lines`; `count` is how many there ever were."""
        if count != self._count:
            self._count = count
            self._lines = list(lines)[-60:]
            self.refresh()

    def render(self) -> RenderResult:
        """The last lines, the newest at the bottom, each cut to the width."""
        height, width = self.content_size.height, self.content_size.width
        shown = [_line(line).truncate(width, ellipsis=True) for line in self._lines[-height:]] if height else []
        return Content("\n").join(shown)


def _line(line: LogLine) -> Content:
    return Content.assemble(
        plain(text.clock(line.ts), "$muted"), plain(f" {_SIGNS[line.level]} {line.text}", _TONES[line.level])
    )
