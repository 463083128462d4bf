"""The loss by optimizer step: its x axis is the whole plan, so that what was drawn stays and only new cells are sent."""

from __future__ import annotations

from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.app import RenderResult
from textual.geometry import Region, Size
from textual.strip import Strip
from textual.widget import Widget

from loratui.tui import text
from loratui.tui.history import LossHistory
from loratui.tui.widgets import braille
from loratui.tui.widgets.braille import BLANK, Cell, YRange

_GUTTER = 8
"""Cells at the left for the numbers of the y axis."""


class LossPlot(Widget):
    """Losses as dim dots, the smoothed loss as a bright line. Repaints only the cells that changed."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"loss-plot--raw", "loss-plot--smoothed", "loss-plot--axis"}
    DEFAULT_CSS = """
    LossPlot {
        min-height: 4;
        .loss-plot--raw { color: $primary 70%; }
        .loss-plot--smoothed { color: $accent; }
        .loss-plot--axis { color: $muted; }
    }
    """

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self._history: LossHistory | None = None
        self._steps = 0
        self._range: YRange | None = None
        self._ticks: dict[int, str] = {}
        self._cells: list[list[Cell]] = []
        self._drawn_size = Size(0, 0)
        self._drawn_steps = 0

    def show(self, history: LossHistory, steps: int) -> None:
        """Draws a history on an axis of `steps` optimizer steps, or of the steps made if they are more."""
        self._history = history
        self._steps = max(steps, history.last_step, 1)
        self._draw()

    def on_resize(self) -> None:
        """Draws anew in the new size."""
        self._draw()

    def render(self) -> RenderResult:
        """Never used: the widget renders line by line."""
        return ""

    def render_line(self, y: int) -> Strip:
        """Row `y`: a piece of the y axis and the cells, or the x axis in the last row."""
        axis = self.get_component_rich_style("loss-plot--axis")
        width = self.size.width
        if y >= self.size.height - 1:
            return Strip([Segment(self._x_axis(width), axis)], width)
        styles = {
            0: self.rich_style,
            braille.RAW: self.get_component_rich_style("loss-plot--raw"),
            braille.SMOOTHED: self.get_component_rich_style("loss-plot--smoothed"),
        }
        segments = [Segment(self._y_label(y), axis), *_segments(self._cells[y] if y < len(self._cells) else [], styles)]
        return Strip(segments).adjust_cell_length(width, self.rich_style)

    def _draw(self) -> None:
        if self._history is None or self.size.width <= _GUTTER + 2 or self.size.height < 3:
            return
        rows, width = self.size.height - 1, self.size.width - _GUTTER
        shown = braille.columns(self._history, width * 2, self._steps)
        limits = braille.y_range(shown, self._range)
        cells = braille.draw(shown, rows, limits) if limits else [[BLANK] * width for _ in range(rows)]
        everything = (limits, self._steps, self.size) != (self._range, self._drawn_steps, self._drawn_size)
        before, self._cells = self._cells, cells
        self._range, self._drawn_steps, self._drawn_size = limits, self._steps, self.size
        if everything:
            self._ticks = braille.ticks(rows, limits) if limits else {}
            self.refresh()
            return
        dirty = [
            Region(_GUTTER + start, y, length, 1)
            for y, (old, new) in enumerate(zip(before, cells, strict=True))
            for start, length in braille.changed_spans(old, new)
        ]
        if dirty:
            self.refresh(*dirty)

    def _y_label(self, y: int) -> str:
        if self._range is None:
            return " " * _GUTTER
        if y not in self._ticks:
            return " " * (_GUTTER - 1) + "│"
        return f"{self._ticks[y]:>{_GUTTER - 2}} ┤"

    def _x_axis(self, width: int) -> str:
        left = " " * (_GUTTER - 1) + "0"
        if self._range is None:
            left = " " * _GUTTER + "the loss appears with the first step"
            return left[:width].ljust(width)
        right = f"{text.number(self._steps)} optimizer steps"
        return (left + right.rjust(width - len(left)))[:width]


def _segments(cells: list[Cell], styles: dict[int, Style]) -> list[Segment]:
    segments: list[Segment] = []
    run, kind = "", 0
    for character, shows in cells:
        if shows != kind and run:
            segments.append(Segment(run, styles[kind]))
            run = ""
        kind = shows
        run += character
    if run:
        segments.append(Segment(run, styles[kind]))
    return segments
