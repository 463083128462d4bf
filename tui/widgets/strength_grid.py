"""The strength grid: a row for each prompt and seed, a column for each strength, filled as the pictures come."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from textual.app import ComposeResult
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.widget import Widget

from loratui.tui.store import Picture
from loratui.tui.widgets.line import Line, plain
from loratui.tui.widgets.thumbnail import ThumbnailView


@dataclass(frozen=True, slots=True)
class GridRow:
    """The pictures of one prompt and seed by strength."""

    prompt: str
    seed: int
    pictures: dict[float, Picture]


def rows_of(pictures: Sequence[Picture]) -> list[GridRow]:
    """Pictures in rows, in the order in which prompts and seeds first came; of two for one place the later counts."""
    rows: dict[tuple[str, int], GridRow] = {}
    for picture in pictures:
        if picture.grid == "strengths" and not math.isnan(picture.strength):
            row = rows.setdefault((picture.prompt, picture.seed), GridRow(picture.prompt, picture.seed, {}))
            row.pictures[picture.strength] = picture
    return list(rows.values())


def strengths_of(pictures: Sequence[Picture], planned: Sequence[float]) -> list[float]:
    """The columns: the planned strengths, and others that have pictures."""
    return sorted({*planned, *(p.strength for p in pictures if p.grid == "strengths" and not math.isnan(p.strength))})


class GridRowView(Widget):
    """One row: the prompt in a line, the pictures below it."""

    DEFAULT_CSS = """
    GridRowView { height: auto; margin-bottom: 1; }
    GridRowView .row-pictures { height: auto; }
    GridRowView ThumbnailView { width: 1fr; height: 9; margin-right: 1; }
    """

    def __init__(self, row: GridRow, strengths: Sequence[float]) -> None:
        super().__init__()
        self._row = row
        self._strengths = strengths
        self._cells = {strength: ThumbnailView("…") for strength in strengths}

    def compose(self) -> ComposeResult:
        """Prompt and cells."""
        seed = Content.assemble("  ", plain(f"seed {self._row.seed}", "$muted"))
        yield Line(Content.assemble(plain(self._row.prompt), seed), classes="row-prompt")
        with Horizontal(classes="row-pictures"):
            yield from self._cells.values()

    def fill(self, row: GridRow, folder: Path) -> None:
        """Shows the pictures that are there."""
        for strength, picture in row.pictures.items():
            cell = self._cells.get(strength)
            if cell is not None:
                cell.show(folder / picture.path)


class StrengthGrid(VerticalScroll):
    """The grid. Rows are mounted when their first picture comes."""

    DEFAULT_CSS = """
    StrengthGrid { height: 1fr; }
    StrengthGrid .grid-head { height: 1; }
    StrengthGrid .grid-head Line { width: 1fr; height: 1; margin-right: 1; text-align: center; text-wrap: nowrap; }
    """

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self._strengths: list[float] = []
        self._views: dict[tuple[str, int], GridRowView] = {}

    def on_resize(self) -> None:
        """Pictures as large as fits: square ones fill their column, and a whole row is to be seen."""
        self._fit()

    def _fit(self) -> None:
        if self._strengths:
            columns = max(1, (self.content_size.width - 1) // len(self._strengths) - 1)
            height = max(4, min((columns + 1) // 2, self.size.height - 3))
            for view in self.query(ThumbnailView):
                view.styles.height = height

    async def show(self, pictures: Sequence[Picture], planned: Sequence[float], folder: Path) -> None:
        """Shows these pictures; their paths are relative to `folder`."""
        strengths = strengths_of(pictures, planned)
        if strengths != self._strengths:
            self._strengths = strengths
            self._views.clear()
            await self.remove_children()
            await self.mount(Horizontal(*[Line(strength_words(s)) for s in strengths], classes="grid-head"))
        for row in rows_of(pictures):
            key = (row.prompt, row.seed)
            if key not in self._views:
                self._views[key] = GridRowView(row, strengths)
                await self.mount(self._views[key])
            self._views[key].fill(row, folder)
        self._fit()


def strength_words(strength: float) -> Content:
    """The title of a column; 0 is the base."""
    words = "0, no LoRA" if strength == 0 else f"strength {strength:g}"
    return plain(words, "bold")
