"""Sample images as thumbnails: one step's side by side, or prompts against steps where there is room."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from textual import events
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip
from textual.visual import Visual

from loratui.engine.runs.records import Sample
from loratui.tui import text
from loratui.tui.runs.gallery import Gallery, Look, page
from loratui.tui.widgets.line import Line, plain
from loratui.tui.widgets.thumbnail import ThumbnailView

_LEAST_WIDTH, _LEAST_HEIGHT = 18, 8
_MOST_ROWS, _MOST_COLUMNS = 4, 6
"""More thumbnails would flood a thin line."""
_ROOM_FOR_WORDS = 16
"""With so many rows the words have their own lines; with fewer they are in the frame, and the image gets the rows."""


class _Slot(ThumbnailView):
    """One thumbnail with a line of words below it, in one widget: the wall mounts two dozen at once."""

    DEFAULT_CSS = "_Slot { width: 1fr; height: 1fr; }"

    def __init__(self) -> None:
        super().__init__()
        self.sample: Sample | None = None
        self._caption = Content("")
        self._caption_row = -1

    @property
    def image_rows(self) -> int:
        """All rows but the last, which has the words, if any."""
        return self.size.height - (1 if self._caption else 0)

    def present(self, sample: Sample | None, path: Path | None, caption: Content) -> None:
        self.sample = sample
        if caption != self._caption or caption.spans != self._caption.spans:
            other_size = bool(caption) != bool(self._caption)
            self._caption = caption
            if other_size:
                self.refresh()
                self.on_resize()
            else:
                self.refresh(Region(0, self.image_rows, self.size.width, 1))
        self.show(path, sample.sha256 if sample else "")

    def render_lines(self, crop: Region) -> list[Strip]:
        """Finds once a paint which line has the words."""
        self._caption_row = self.image_rows if self.size.width and self._caption else -1
        return super().render_lines(crop)

    def render_line(self, y: int) -> Strip:
        if y != self._caption_row:
            return super().render_line(y)
        width = self.size.width
        words = self._caption.truncate(width, ellipsis=True)
        centred = words.pad_left((width - words.cell_length) // 2)
        return Visual.to_strips(self, centred, width, 1, self.visual_style, pad=True)[0]

    def on_click(self, event: events.Click) -> None:
        event.stop()
        if self.sample is not None:
            self.post_message(SamplesPanel.Chosen(self.sample))


class SamplesPanel(Vertical):
    """Shows the samples of a `Look`. Unchanged thumbnails are not decoded or sent again."""

    DEFAULT_CSS = """
    SamplesPanel .sample-row { height: 1fr; }
    SamplesPanel > Line { height: 1; text-wrap: nowrap; text-overflow: ellipsis; }
    SamplesPanel.-close > #sample-step, SamplesPanel.-close > #sample-path { display: none; }
    """

    @dataclass
    class Chosen(Message):
        """An image was clicked."""

        sample: Sample

    def __init__(self, file: Callable[[str], Path | None], id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._file = file
        self._table, self._look = Gallery(), Look()
        self.wall = False
        """Whether prompts are shown against steps."""

    def compose(self) -> ComposeResult:
        yield Line(plain("no sample yet", "$muted"), id="sample-step")
        with Horizontal(classes="sample-row"):
            yield _Slot()
        yield Line(id="sample-prompt")
        yield Line(id="sample-path")

    def show(self, table: Gallery, look: Look) -> None:
        self._table, self._look = table, look
        self._fill()

    async def on_resize(self) -> None:
        self.set_class(self._close, "-close")
        await self.refit()

    async def set_wall(self, wall: bool) -> None:
        """Switches between the samples of a step and prompts against steps."""
        self.wall = wall
        await self.refit()

    @property
    def _close(self) -> bool:
        """Whether the image needs every row."""
        return self.content_size.height < _ROOM_FOR_WORDS

    def _wanted(self) -> tuple[int, int]:
        width, height = self.content_size
        columns = max(1, min(_MOST_COLUMNS, width // _LEAST_WIDTH))
        if not self.wall:
            return 1, max(1, min(columns, len(self._table.prompts)))
        rows = max(1, min(_MOST_ROWS, (height - 3) // _LEAST_HEIGHT, len(self._table.prompts)))
        return rows, max(1, min(columns, len(self._table.steps)))

    async def refit(self) -> None:
        """Mounts as many slots as there is room and use for, and fills them."""
        if self.needs_refit():
            rows, columns = self._wanted()
            async with self.batch():
                await self.query(".sample-row").remove()
                new = [Horizontal(*(_Slot() for _ in range(columns)), classes="sample-row") for _ in range(rows)]
                await self.mount_all(new, after="#sample-step")
        self._fill()

    def needs_refit(self) -> bool:
        """Whether room, prompts and steps ask for other slots."""
        rows, columns = self._wanted()
        lines = list(self.query(".sample-row"))
        return len(lines) != rows or any(len(line.children) != columns for line in lines)

    def _fill(self) -> None:
        lines = [list(line.query(_Slot)) for line in self.query(".sample-row")]
        if not lines or not self.is_mounted:
            return
        chosen = self._look.sample(self._table)
        cells = page(self._look, self._table, 1 if not self.wall else max(2, len(lines)), len(lines[0]))
        for y, slots in enumerate(lines):
            for x, slot in enumerate(slots):
                sample = cells[y][x] if y < len(cells) and x < len(cells[y]) else None
                slot.present(sample, self._file(sample.path) if sample else None, self._caption(sample, sample == chosen))
        self._say(chosen)

    def _caption(self, sample: Sample | None, chosen: bool) -> Content:
        if sample is None:
            return Content("")
        words = f"step {text.number(sample.step)}" if self.wall else self._number(sample) if self._wanted()[1] > 1 else ""
        if not words:
            return Content("")  # there is only one, so no choice
        return plain(f"▸{words}", "bold $accent") if chosen else plain(words, "$muted")

    def _number(self, sample: Sample) -> str:
        return f"prompt {self._table.prompts.index(sample.prompt) + 1}" if len(self._table.prompts) > 1 else ""

    def _say(self, chosen: Sample | None) -> None:
        if chosen is None:
            return
        place, count = self._look.place(self._table) + 1, len(self._table.steps)
        newest = "newest" if self._look.step is None else f"{place} of {count}"
        step = f"step {text.number(chosen.step)}"
        title = "samples" if not self._close else f"samples, {step}" if self._look.step is None else f"{step}, {newest}"
        if str(self.border_title) != title:
            self.border_title = plain(title)
        self.query_one("#sample-step", Line).say(plain(step, "bold"), plain(f"  {newest}  ← →", "$muted"))
        number = f"{self._number(chosen)}: " if len(self._table.prompts) > 1 else ""
        self.query_one("#sample-prompt", Line).say(f"{number}{chosen.prompt}")
        self.query_one("#sample-path", Line).say(plain(chosen.path, "$muted"))
