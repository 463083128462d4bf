"""The loss by optimizer step. The x axis is the whole plan, so drawn cells stay and only new ones are sent."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar

from rich.segment import Segment
from textual.app import RenderResult
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from loratui.engine.runs.series import Series
from loratui.tui import text
from loratui.tui.widgets import braille
from loratui.tui.widgets.braille import BLANK, Cell, YRange

_GUTTER = 8
"""Cells at the left for the numbers of the y axis."""
_WHOLE = YRange(0.0, 1.0)
"""The scale of similarities."""

_COMPONENTS = {
    braille.RAW: "loss-plot--raw",
    braille.SMOOTHED: "loss-plot--smoothed",
    braille.CURSOR: "loss-plot--cursor",
    braille.SAMPLE: "loss-plot--sample",
    braille.EPOCH: "loss-plot--axis",
    braille.CHECKPOINT: "loss-plot--axis",
    braille.UNUSUAL: "loss-plot--unusual",
    braille.LIKENESS: "loss-plot--likeness",
    braille.NEAREST: "loss-plot--nearest",
}
"""What a cell shows -> the name of its style. Empty cells have none: they show the widget's background."""


class LossPlot(Widget):
    """Losses as dim dots, the smoothed loss as a bright line, marks below. Repaints only the cells that changed."""

    COMPONENT_CLASSES: ClassVar[set[str]] = set(_COMPONENTS.values())
    DEFAULT_CSS = """
    LossPlot {
        min-height: 4;
        .loss-plot--raw { color: $primary 70%; }
        .loss-plot--smoothed { color: $accent; }
        .loss-plot--cursor { color: $foreground 60%; }
        .loss-plot--sample { color: $accent; }
        .loss-plot--axis { color: $muted; }
        .loss-plot--likeness { color: $success; }
        .loss-plot--nearest { color: $warning; }
        .loss-plot--unusual { color: $warning; text-style: bold; }
    }
    """

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self._history: Series | None = None
        self._steps = 0
        self._range: YRange | None = None
        self._ticks: dict[int, str] = {}
        self._cells: list[list[Cell]] = []
        self._marks: Mapping[int, Iterable[int]] = {}
        self._cursor: int | None = None
        self._curves: Mapping[int, Sequence[tuple[int, float]]] = {}
        self._wants_log_scale = self._log_scale = False
        self._frame: tuple[object, ...] = ()
        """What the x axis and all sizes depend on; a change repaints everything."""

    def show(
        self,
        history: Series,
        steps: int,
        marks: Mapping[int, Iterable[int]],
        cursor: int | None,
        log_scale: bool,
        curves: Mapping[int, Sequence[tuple[int, float]]],
    ) -> None:
        """Draws the losses on an axis of `steps` optimizer steps, or of the steps made if they are more.

        `marks` is as in `braille.marks`; `cursor` is the optimizer step pointed at; `curves` has steps and values from 0 to 1 of
        `braille.LIKENESS` and `braille.NEAREST`.
        """
        self._curves = curves
        self._history, self._marks, self._cursor, self._wants_log_scale = history, marks, cursor, log_scale
        self._steps = max(steps, history.last_step, 1)
        self._draw()

    def on_resize(self) -> None:
        self._draw()

    def render(self) -> RenderResult:
        """Unused: the widget renders line by line."""
        return ""

    @property
    def legend(self) -> str:
        """What the marks below the curve mean; empty before the first."""
        return braille.legend(self._cells[-1]) if self._cells else ""

    def render_line(self, y: int) -> Strip:
        """Row `y`: a piece of the y axis and the cells, or the x axis in the last row."""
        axis = self.get_component_rich_style("loss-plot--axis")
        width = self.size.width
        if y >= self.size.height - 1:
            return Strip([Segment(self._x_axis(width), axis)], width)
        cells = self._cells[y] if y < len(self._cells) else []
        ground = self.rich_style  # without it the terminal's background shows, not the theme's
        segments = [Segment(self._y_label(y), axis)]
        for kind, run in itertools.groupby(cells, lambda cell: cell[1]):
            style = self.get_component_rich_style(_COMPONENTS[kind]) if kind else ground
            segments.append(Segment("".join(character for character, _ in run), style))
        return Strip(segments).adjust_cell_length(width, ground)

    def _draw(self) -> None:
        if self._history is None or self.size.width <= _GUTTER + 2 or self.size.height < 4:
            return
        rows, width = self.size.height - 2, self.size.width - _GUTTER
        log_scale = self._wants_log_scale
        shown = braille.columns(self._history, width * 2, self._steps)
        before_range = self._range if self._log_scale == log_scale else None
        if log_scale:
            shown = braille.logged(shown)
            limits = braille.log_range(shown, before_range)
        else:
            limits = braille.y_range(shown, before_range)
        cells = braille.draw(shown, rows, limits) if limits else [[BLANK] * width for _ in range(rows)]
        for kind in sorted(self._curves):
            braille.overlay(cells, self._curves[kind], self._steps, _WHOLE, kind)
        cells.append(braille.marks(width, self._steps, self._marks))
        if self._cursor is not None:
            _point(cells, braille.place(self._cursor, width, self._steps))
        before, had, rescaled = self._cells, self._labels(), log_scale != self._log_scale
        self._cells, self._range, self._log_scale = cells, limits, log_scale
        self._ticks = (braille.log_ticks if log_scale else braille.ticks)(rows, limits) if limits else {}
        frame = (limits is None, self._steps, self.size)
        if frame != self._frame:
            self._frame = frame
            self.refresh()
            return
        dirty = [
            Region(_GUTTER + start, y, length, 1)
            for y, (old, new) in enumerate(zip(before, cells, strict=True))
            for start, length in braille.changed_spans(old, new)
        ]
        dirty += [Region(0, y, _GUTTER, 1) for y, (old, new) in enumerate(zip(had, self._labels(), strict=True)) if old != new]
        dirty += [Region(0, self.size.height - 1, self.size.width, 1)] * rescaled
        if dirty:
            self.refresh(*dirty)

    def _labels(self) -> list[str]:
        return [self._y_label(y) for y in range(self.size.height - 1)]

    def _y_label(self, y: int) -> str:
        if self._range is None or y == self.size.height - 2:
            return " " * _GUTTER
        if y not in self._ticks:
            return " " * (_GUTTER - 1) + "│"
        return f"{self._ticks[y]:>{_GUTTER - 2}} ┤"

    def _x_axis(self, width: int) -> str:
        left = " " * (_GUTTER - 1) + "0"
        if self._range is None:
            left = " " * _GUTTER + "the loss appears with the first step"
            return left[:width].ljust(width)
        left += "  logarithmic" if self._log_scale else ""
        room = width - len(left)
        steps = text.number(self._steps)
        right = next((words for words in (f"{steps} optimizer steps", f"{steps} steps", steps) if len(words) < room), "")
        return (left + right.rjust(room))[:width]


def _point(cells: list[list[Cell]], x: int) -> None:
    """Draws a vertical line through blank cells, and its head among the marks."""
    for row in cells[:-1]:
        if row[x] == BLANK:
            row[x] = ("┊", braille.CURSOR)
    cells[-1][x] = ("▲", braille.SAMPLE)
