"""The runs, one line each, in columns; only changed lines are repainted."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from textual.content import Content
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from loratui.tui import text
from loratui.tui.runs import figures
from loratui.tui.terminal import clean
from loratui.tui.widgets.line import plain

if TYPE_CHECKING:
    from loratui.engine.runs.summary import RunSummary

Row = tuple[str, str, str, str, str, str, str, str]

_AROUND = 7
"""Cells of the margins and the scroll bar."""

TITLES: Row = ("run", "status", "done", "optimizer step", "rate", "loss", "time left", "made")


class RunList(OptionList):
    """The list; option n is the n-th run."""

    DEFAULT_CSS = "RunList, RunList:focus { height: 1fr; border: none; padding: 0; background: $background; }"

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id, markup=False)
        self._shown: list[tuple[str, str]] = []
        self._widths: tuple[int, ...] = ()

    @property
    def titles(self) -> str:
        """The titles of the columns, in the columns' widths."""
        return text.columns(TITLES, self._widths) if self._widths else ""

    def show(self, runs: Sequence[RunSummary], now: float, marked: Collection[str] = (), width: int = 0) -> None:
        """Shows the runs in `width` cells (default: the screen's); the highlight stays on its run."""
        self._widths = column_widths([_shown_name(run) for run in runs], width or self.app.size.width)
        lines = [(run.name, text.columns(self._cells(run, now, run.name in marked), self._widths)) for run in runs]
        contents = [_coloured(line, run.status, self._widths[0]) for (_, line), run in zip(lines, runs, strict=True)]
        before = [name for name, _ in self._shown]
        if [name for name, _ in lines] != before:
            chosen = before[self.highlighted] if self.highlighted is not None and before else None
            self.clear_options()
            self.add_options([Option(content) for content in contents])
            names = [name for name, _ in lines]
            self.highlighted = names.index(chosen) if chosen in names else (0 if names else None)
        else:
            for at, (old, new) in enumerate(zip(self._shown, lines, strict=True)):
                if old != new:
                    self.replace_option_prompt_at_index(at, contents[at])
        self._shown = lines

    def _cells(self, run: RunSummary, now: float, marked: bool) -> Row:
        """The words of one run; a long name keeps its end, where runs of one subject differ."""
        name, *others = row(run, now, marked)
        return (text.cut_middle(name, self._widths[0]), *others)  # type: ignore[return-value]  # as many as before


def row(run: RunSummary, now: float, marked: bool = False) -> Row:
    state, active = run.state, figures.trains(run)
    name = f"{'◆ ' if marked else ''}{_shown_name(run)}"
    steps = figures.steps(state).replace(" of ", " / ") if state.optimizer_steps else ""
    loss = figures.loss(state) if state.loss_smoothed is not None else ""
    rate = figures.rate(state, active) if active and state.steps_per_s else ""
    left = "" if figures.seconds_left(state, active) is None else figures.time_left(state, active)
    made = text.ago(now - run.created) if run.created else ""
    return name, figures.signed_status(run), figures.percent(state), steps, rate, loss, left, made


def _shown_name(run: RunSummary) -> str:
    """The name, after its owner if another account made the run."""
    return f"{clean(run.owner, 20)}'s {clean(run.name)}" if run.owner else clean(run.name)


def column_widths(names: Sequence[str], width: int) -> tuple[int, ...]:
    """Widths of the columns for a window of `width` cells; below 0: aligned to the right; 0: left out."""
    fixed = (13, -5, -14, -12, -8, -11, -11)
    if width < 120:
        fixed = (13, -5, -14, 0, -8, -11, -11)
    if width < 106:
        fixed = (13, -5, 0, 0, -6, -11, -10)
    if width < 76:
        fixed = (13, -5, 0, 0, 0, -11, 0)
    room = width - _AROUND - sum(abs(w) + 2 for w in fixed if w)
    longest = max((len(name) for name in names), default=12) + 2
    return (max(12, min(longest, room)), *fixed)


def _coloured(line: str, status: str, name_width: int) -> Content:
    sign = text.STATUS_SIGNS[status]
    content = plain(line)
    at = line.find(sign, name_width)
    return content.stylize(f"{text.STATUS_TONES[status]}", at, at + 14) if at >= 0 else content
