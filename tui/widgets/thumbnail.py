"""An image in the terminal, two pixels a cell; its name and size where there are too few colours."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path

from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from textual import work
from textual.app import RenderResult
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip
from textual.timer import Timer
from textual.widget import Widget
from textual.worker import get_current_worker

from loratui.engine.runs.sample_files import differs
from loratui.tui.terminal import clean, thumbnails
from loratui.tui.terminal.canvas import FewColoursSeen, canvas_of
from loratui.tui.terminal.output_flow import OutputFlow
from loratui.tui.terminal.thumbnails import Thumbnail, ThumbnailError
from loratui.tui.text import cut

_PART, _PART_EVERY_S = 2, 0.02
"""An image is sent in parts of so many lines: a whole one is ten thousand bytes, and the next key would wait for them."""


class ThumbnailView(Widget):
    """Shows one file. A thread decodes it; until then the last image stays."""

    DEFAULT_CSS = "ThumbnailView { color: $muted; }"

    @dataclass
    class Decoded(Message):
        """The image is decoded, or cannot be shown."""

        path: Path
        image: Thumbnail | None
        problem: str

    def __init__(self, placeholder: str = "", id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._placeholder = placeholder
        self._path: Path | None = None
        self._sha256 = ""
        self._image: Thumbnail | None = None
        self._problem = ""
        self._painting: Timer | None = None
        self._ground = Style()
        """The theme's background; without it the terminal's own one shows."""
        self._words: dict[int, str] = {}
        """Words in place of the image, by line."""
        self._blank = Strip([])

    def show(self, path: Path | None, sha256: str = "") -> None:
        """Shows a file, with words in its place where it has another hash than `sha256`, if that is given."""
        if (path, sha256) == (self._path, self._sha256):
            return
        self._path, self._sha256 = path, sha256
        if path is None:
            self._image, self._problem = None, ""
            self.refresh()
        self._start()

    @property
    def image_rows(self) -> int:
        """Rows for the image; a subclass may keep some at the bottom for itself."""
        return self.size.height

    @property
    def path(self) -> Path | None:
        return self._path

    def on_resize(self) -> None:
        self._start()

    def on_thumbnail_view_decoded(self, message: Decoded) -> None:
        """Takes the image, unless another file is wanted now."""
        message.stop()
        if message.path == self._path:
            self._image, self._problem = message.image, message.problem
            self._paint()
            if message.image is not None and canvas_of(self.app).few_colours:
                self.post_message(FewColoursSeen())

    def _paint(self) -> None:
        """Paints the image: at once, or in parts if the terminal confirms what arrived."""
        line: OutputFlow | None = getattr(self.app, "output_flow", None)
        if self._painting is not None:
            self._painting.stop()
        if line is None or not line.answers:
            self.refresh()
        else:
            self._paint_on(line, 0)

    def _paint_on(self, line: OutputFlow, top: int) -> None:
        """Paints from row `top`, as fast as the connection takes it."""
        if not line.behind:
            self.refresh(Region(0, top, self.size.width, _PART))
            top += _PART
        if top < self.size.height:
            self._painting = self.set_timer(_PART_EVERY_S, partial(self._paint_on, line, top))

    def render(self) -> RenderResult:
        """Unused: the widget renders line by line."""
        return ""

    def render_lines(self, crop: Region) -> list[Strip]:
        """Finds once a paint what every line needs: looking up styles costs more than drawing a line."""
        self._ground = self.rich_style
        self._blank = Strip.blank(self.size.width, self._ground)
        self._words = self._words_by_line() if self._image is None or canvas_of(self.app).only_words else {}
        return super().render_lines(crop)

    def render_line(self, y: int) -> Strip:
        image = self._image
        width = self._blank.cell_length
        if image is None or self._words:
            if y not in self._words:
                return self._blank
            return Strip([Segment(cut(self._words[y], width).center(width), self._ground)], width)
        top = max(0, (self.image_rows - image.height // 2) // 2)
        if not top <= y < top + image.height // 2:
            return self._blank
        left = max(0, (width - image.width) // 2)
        return Strip([Segment(" " * left, self._ground), *half_blocks(image, y - top)]).adjust_cell_length(width, self._ground)

    def _words_by_line(self) -> dict[int, str]:
        lines = self._said()
        top = max(0, (self.image_rows - len(lines)) // 2)
        return {top + at: line for at, line in enumerate(lines) if line}

    def _said(self) -> list[str]:
        if self._path is None:
            return [self._placeholder]
        name = clean(self._path.name)
        if self._problem:
            return [name, self._problem]
        if self._image is not None:
            return [name, f"{self._image.source_width} × {self._image.source_height} px", canvas_of(self.app).only_words]
        return [name]

    def _start(self) -> None:
        if self._path is not None and self.size.width and self.image_rows > 0:
            self._decode(self._path, self._sha256, self.size.width, self.image_rows)

    @work(thread=True, exclusive=True, group="decode", description="decode an image")
    def _decode(self, path: Path, sha256: str, columns: int, rows: int) -> None:
        canvas = canvas_of(self.app)
        image, problem = None, ""
        try:
            if differs(path, sha256):
                raise ThumbnailError("damaged: not the image that was made")
            image = thumbnails.load(path, columns, rows, few_colours=canvas.few_colours, shape=canvas.shape)
        except ThumbnailError as error:
            problem = str(error)
        if not get_current_worker().is_cancelled:
            self.post_message(self.Decoded(path, image, problem))


def half_blocks(image: Thumbnail, y: int) -> list[Segment]:
    """Line `y` of an image, one segment for each run of equal cells."""
    return [_segment(len(list(run)), upper, lower) for (upper, lower), run in groupby(image.row(y))]


def _segment(run: int, upper: tuple[int, int, int], lower: tuple[int, int, int]) -> Segment:
    if upper == lower:
        return Segment(" " * run, Style(bgcolor=Color.from_rgb(*upper)))
    return Segment("▀" * run, Style(color=Color.from_rgb(*upper), bgcolor=Color.from_rgb(*lower)))
