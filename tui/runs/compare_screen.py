"""Marked runs side by side: how they ended, in which settings they differ, and their newest samples."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from textual import events, work
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content

from loratui.engine.errors import LoratuiError
from loratui.engine.runs.directory import RunDirectory
from loratui.presets.schema import SchemaError
from loratui.tui.screens.base import LoratuiScreen
from loratui.tui.terminal import clean
from loratui.tui.text import columns, count, shorten_path
from loratui.tui.widgets.line import Line, plain
from loratui.tui.widgets.thumbnail import ThumbnailView

if TYPE_CHECKING:
    from loratui.engine.runs.summary import RunSummary

_MOST = 6
"""More runs than this do not fit side by side."""
_NAMES = 26
_AROUND = 7
"""Columns that padding and the scroll bar take."""


class CompareScreen(LoratuiScreen[None]):
    """A table that scrolls, and a row of images."""

    CONTEXT = "compare"

    def __init__(self, runs: Sequence[RunSummary]) -> None:
        super().__init__()
        self._compared = tuple(runs[:_MOST])
        self._rows: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def heading(self) -> Content:
        return Content.assemble(("loratui", "bold $accent"), (f"  {count(len(self._compared), 'run')} compared", "$muted"))

    def body(self) -> ComposeResult:
        yield Line(id="compare-names")
        with VerticalScroll(id="compare-table"):
            yield Line("Reading the runs …", id="compare-text")
        with Horizontal(id="compare-samples"):
            for at, run in enumerate(self._compared):
                with Vertical(classes="compare-sample"):
                    yield ThumbnailView("no sample", id=f"compare-sample-{at}")
                    yield Line(plain(run.name, "$muted"), classes="compare-caption")

    def on_mount(self) -> None:
        """Reads in a thread: logs may be long."""
        self.query_one("#compare-table").focus()
        self._read()

    @work(exclusive=True, group="compare", description="read the runs")
    async def _read(self) -> None:
        """Shows the table and the images."""
        from loratui.tui.runs.comparing import compare

        self._rows = await self.in_thread(compare, self._compared, self.loratui.settings.price_per_hour)
        self._show()
        for at, run in enumerate(self._compared):
            if path := run.file(run.state.sample):
                self.query_one(f"#compare-sample-{at}", ThumbnailView).show(path)

    def on_resize(self, event: events.Resize) -> None:
        super().on_resize(event)
        self._show()

    def copyable(self) -> Sequence[tuple[str, str]]:
        """The table as text, with tabs between the columns."""
        lines = ["\t".join(("", *(run.name for run in self._compared)))]
        lines += ["\t".join((name, *values)) for name, values in self._rows]
        return [("the table, as one line a row", " | ".join(line.replace("\t", " ; ") for line in lines))] if self._rows else ()

    @work(exclusive=True, group="sides", description="find the LoRA files of both")
    async def action_side_by_side(self) -> None:
        """Opens the files of the first two runs beside each other."""
        from loratui.engine.proof.side_by_side import side_of
        from loratui.tui.validation.side_by_side_screen import SideBySideScreen

        try:
            first, second = [await self.in_thread(side_of, RunDirectory(Path(run.path))) for run in self._compared[:2]]
        except (LoratuiError, SchemaError) as error:
            self.loratui.tell(str(error), "error")
            return
        self.app.push_screen(SideBySideScreen(first, second, blind=True))

    def action_back(self) -> None:
        self.loratui.open("home")

    def _show(self) -> None:
        if not self._rows:
            return
        each = max(8, (self.app.size.width - _NAMES - _AROUND) // len(self._compared) - 2)
        widths = (_NAMES, *(each for _ in self._compared))
        self.line("compare-names").say(
            plain(columns(("", *(shorten_path(clean(run.name), each) for run in self._compared)), widths), "bold")
        )
        lines = []
        for name, values in self._rows:
            setting = "." in name or name == "preset"
            lines.append(
                plain(columns((name, *(_fitted(clean(value), each) for value in values)), widths), "" if setting else "$muted")
            )
        settings = sum("." in name or name == "preset" for name, _ in self._rows)
        at = len(lines) - settings
        title = "Settings that differ" if settings else "They were trained with the same settings."
        lines.insert(at, plain(title, "bold"))
        lines.insert(at, Content(""))
        self.line("compare-text").say(Content("\n").join(lines))


def _fitted(value: str, width: int) -> str:
    """A path keeps its end, by which paths differ; `0.2768 (epoch 10)` may lose the word `epoch`."""
    if value.startswith("/"):
        return shorten_path(value, width)
    return value if len(value) <= width else value.replace(" (epoch ", " (")
