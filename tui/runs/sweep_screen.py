"""The runs of a sweep side by side, by the same measures at equal strength, with the run that is picked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from textual import events, work
from textual.app import ComposeResult
from textual.content import Content
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from loratui.engine.runs import sweeps as kept
from loratui.engine.runs.sweeps import Sweep
from loratui.tui import text
from loratui.tui.runs.sweep_table import PICKED, fitted, table
from loratui.tui.screens.base import LoratuiScreen
from loratui.tui.terminal import clean
from loratui.tui.widgets.line import Line, plain

if TYPE_CHECKING:
    from loratui.engine.proof.sweep import Comparison
    from loratui.tui.messages import RunsListed

_AROUND = 7
"""Columns that padding and the scroll bar take."""
_NONE = "There are no sweeps yet. To start one:\nloratui sweep FOLDER --preset NAME --over rank=8,16"


class SweepScreen(LoratuiScreen[None]):
    """The newest sweep first; the others are a key away."""

    CONTEXT = "sweep"
    PURPOSE = "sweep"

    def __init__(self) -> None:
        super().__init__()
        self._sweeps: list[Sweep] = []
        self._at = 0
        self._strength: float | None = None
        self._found: Comparison | None = None
        self._statuses: dict[str, str] = {}

    def body(self) -> ComposeResult:
        yield Line(id="sweep-name")
        yield Line("Reading the runs …", id="sweep-says")
        yield Line(id="sweep-columns")
        yield OptionList(id="sweep-runs", markup=False)

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one(OptionList).focus()
        self._read()

    def runs_listed(self, message: RunsListed) -> None:
        """Reads again when a run of the list stands otherwise than before."""
        statuses = {run.name: f"{run.status} {run.job}" for run in message.runs}
        if statuses != self._statuses and self.stands:
            self._statuses = statuses
            self._read()

    @work(exclusive=True, group="sweep", description="read the runs")
    async def _read(self) -> None:
        """Shows the table; measures may be long."""
        from loratui.engine.proof.sweep import compare

        self._sweeps = await self.in_thread(kept.list_sweeps, self.loratui.home)
        if not self._sweeps:
            self.line("sweep-says").say(plain(_NONE, "$muted"))
            return
        self._at = min(self._at, len(self._sweeps) - 1)
        self._found = await self.in_thread(compare, self._sweeps[self._at], self._strength)
        self._show()

    def on_resize(self, event: events.Resize) -> None:
        super().on_resize(event)
        self._show()

    def _show(self) -> None:
        found = self._found
        if found is None or not self.stands:
            return
        at = "" if found.strength is None else f", at strength {found.strength:g}"
        of = f"  ({self._at + 1} of {len(self._sweeps)})" if len(self._sweeps) > 1 else ""
        name = Content.assemble(
            plain(found.sweep.name, "bold"), plain(f"{of}  {text.count(len(found.rows), 'run')}{at}", "$muted")
        )
        self.line("sweep-name").say(name)
        self.line("sweep-says").say(plain(clean(" ".join(found.pick.reasons)), "$success" if found.pick.run else "$muted"))
        titles, *rows = fitted(table(found), self.app.size.width - _AROUND)
        self.line("sweep-columns").say(plain(titles, "$muted"))
        options = self.query_one(OptionList)
        chosen = options.highlighted
        options.clear_options()
        options.add_options([Option(plain(clean(row), "bold $accent" if row.startswith(PICKED) else "")) for row in rows])
        picked = next((n for n, row in enumerate(found.rows) if row.member.run == found.pick.run), 0)
        options.highlighted = min(picked if chosen is None else chosen, len(rows) - 1) if rows else None
        self.refresh_bindings()

    @property
    def run_here(self) -> bool:
        """Whether the highlighted run is on this machine."""
        at = self.query_one(OptionList).highlighted
        return self._found is not None and at is not None and self._found.rows[at].summary is not None

    @property
    def several_sweeps(self) -> bool:
        return len(self._sweeps) > 1

    @property
    def several_strengths(self) -> bool:
        return self._found is not None and len(self._found.strengths) > 1

    def copyable(self) -> Sequence[tuple[str, str]]:
        """The table as text."""
        if self._found is None:
            return ()
        rows = " | ".join(" ; ".join(row) for row in table(self._found))
        return [("the table, as one line a row", rows), ("the command", f"loratui sweeps {self._found.sweep.name}")]

    def on_option_list_option_highlighted(self) -> None:
        self.refresh_bindings()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        if self.run_here:
            self.action_open()

    def action_open(self) -> None:
        """To the validation of the chosen run, else to its training."""
        at = self.query_one(OptionList).highlighted
        if self._found is not None and at is not None:
            row = self._found.rows[at]
            validated = row.parts or (row.summary is not None and row.summary.state.output)
            self.loratui.open("validation" if validated else "training", row.member.path)

    def action_strength(self) -> None:
        """The next strength at which all were measured."""
        found = self._found
        if found is not None and found.strength is not None and found.strengths:
            at = found.strengths.index(found.strength)
            self._strength = found.strengths[(at + 1) % len(found.strengths)]
            self._read()

    def action_other(self, by: int) -> None:
        """An older or newer sweep."""
        self._at, self._strength = (self._at + by) % max(1, len(self._sweeps)), None
        self.query_one(OptionList).highlighted = None
        self._read()

    def action_back(self) -> None:
        self.loratui.open("home")
