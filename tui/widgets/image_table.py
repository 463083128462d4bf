"""Images in rows and columns with titles and a cursor. Only images in view are drawn and decoded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from rich.cells import set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.strip import Strip

from loratui.tui.terminal import clean
from loratui.tui.text import cut
from loratui.tui.validation.grid_images import Table, Tile
from loratui.tui.widgets.image_scroll import ImageScroll, Wanted

LEAST_WIDTH = 17
"""Least columns of the terminal for an image; a table that needs more scrolls sideways."""
MOST_ROWS = 20
_HEAD = 1
_WORDS = 2
"""Lines of a row besides the image: its title, and the words below each image."""


class ImageTable(ImageScroll):
    """A table of the validation. Its owner gives the words below an image and the path of its file."""

    DEFAULT_CSS = """
    ImageTable { background: $background; scrollbar-size-vertical: 1; overflow-x: hidden; }
    ImageTable > .table--head { color: $foreground; text-style: bold; }
    ImageTable > .table--title { color: $foreground; }
    ImageTable > .table--words { color: $muted; }
    ImageTable > .table--here { color: $foreground; background: $panel; text-style: bold; }
    ImageTable:focus > .table--here { color: $background; background: $accent; text-style: bold; }
    ImageTable:nocolor > .table--here { text-style: reverse; }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {"table--head", "table--title", "table--words", "table--here"}
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("pageup", "move(0, -3)", show=False),
        Binding("pagedown", "move(0, 3)", show=False),
        Binding("home", "move(-999, 0)", show=False),
        Binding("end", "move(999, 0)", show=False),
    ]

    @dataclass
    class Moved(Message):
        """Another image is under the cursor."""

        tile: Tile | None

    @dataclass
    class Opened(Message):
        """An image was clicked twice."""

        tile: Tile

    def __init__(self, path_of: Callable[[Tile], Path | None], words_of: Callable[[Tile], str], id: str | None = None) -> None:
        super().__init__(id=id)
        self._path_of = path_of
        self._words_of = words_of
        self._table = Table()
        self._at = (0, 0)
        """Row and column of the cursor."""
        self._first = 0
        """The leftmost column in view."""

    # What is shown

    def show(self, table: Table, *, anew: bool = False) -> None:
        """Shows another table; `anew` moves the cursor to its beginning."""
        if table == self._table and not anew:
            self.refresh()  # the words below the images may have changed
            return
        self._table = table
        if anew:
            self._at, self._first = (0, 0), 0
        row, column = self._at
        self._at = min(row, max(0, len(table.rows) - 1)), min(column, max(0, len(table.columns) - 1))
        self.lay_out()
        self.follow_cursor()
        self.post_message(self.Moved(self.tile))

    @property
    def table(self) -> Table:
        return self._table

    @property
    def tile(self) -> Tile | None:
        row, column = self._at
        rows = self._table.rows
        return rows[row].tiles[column] if row < len(rows) and column < len(rows[row].tiles) else None

    def go_to(self, tile: Tile) -> None:
        place = next(((y, row.tiles.index(tile)) for y, row in enumerate(self._table.rows) if tile in row.tiles), None)
        if place is not None:
            self._go(*place)

    # Sizes, in cells

    @property
    def _width(self) -> int:
        return max(1, self._room // self._across - 1)

    @property
    def _across(self) -> int:
        return max(1, min(len(self._table.columns), self._room // (LEAST_WIDTH + 1)))

    @property
    def _room(self) -> int:
        return self.scrollable_content_region.width or self.size.width

    @property
    def _image_rows(self) -> int:
        if self.canvas.only_words:
            return 1
        return max(3, min((self._width + 1) // 2, MOST_ROWS, self.size.height - _HEAD - _WORDS))

    @property
    def _height(self) -> int:
        return self._image_rows + _WORDS

    def lay_out(self) -> None:
        self._first = max(0, min(self._first, len(self._table.columns) - self._across))
        self.virtual_size = Size(self.size.width, _HEAD + len(self._table.rows) * self._height)
        self.refresh()
        self.decode_what_is_in_view()

    # Moving

    def action_move(self, x: int, y: int) -> None:
        row, column = self._at
        rows, columns = len(self._table.rows), len(self._table.columns)
        self._go(min(max(0, row + y), max(0, rows - 1)), min(max(0, column + x), max(0, columns - 1)))

    def _go(self, row: int, column: int) -> None:
        if (row, column) == self._at:
            return
        self._at = row, column
        self.follow_cursor()
        self.refresh()
        self.post_message(self.Moved(self.tile))

    def follow_cursor(self) -> None:
        row, column = self._at
        first = min(max(self._first, column - self._across + 1), column)
        if first != self._first:
            self._first = first
            self.decode_what_is_in_view()
        if self.size.height:
            region = Region(0, row * self._height, 1, self._height + _HEAD)
            self.scroll_to_region(region, animate=False, force=True, x_axis=False)

    def on_click(self, event: events.Click) -> None:
        row = (event.y - _HEAD + self.scroll_offset.y) // self._height
        column = self._first + event.x // (self._width + 1)
        if event.y >= _HEAD and 0 <= row < len(self._table.rows) and column < len(self._table.columns):
            self._go(row, column)
            if event.chain == 2 and self.tile is not None:
                self.post_message(self.Opened(self.tile))

    def on_focus(self) -> None:
        self.refresh()  # the cursor has other colours with the focus

    def on_blur(self) -> None:
        self.refresh()

    # Decoding

    def _visible(self) -> Sequence[Tile]:
        first = self.scroll_offset.y // self._height
        rows = self._table.rows[first : first + self.size.height // self._height + 2]
        return [tile for row in rows for tile in row.tiles[self._first : self._first + self._across] if tile is not None]

    def _wanted(self, tile: Tile) -> Wanted | None:
        path = self._path_of(tile)
        return None if path is None else Wanted(path, self._width, self._image_rows, self.canvas.shape)

    def in_view(self) -> Sequence[Wanted]:
        return [want for tile in self._visible() if (want := self._wanted(tile))]

    def arrived(self, wanted: Wanted) -> None:
        del wanted
        self.refresh()

    # Drawing

    def render_line(self, y: int) -> Strip:
        """Visible line `y`: the titles of the columns, then the rows."""
        ground = self.rich_style
        width = self._room
        if y < _HEAD:
            return Strip(self._head()).adjust_cell_length(width, ground)
        row, inner = divmod(y - _HEAD + self.scroll_offset.y, self._height)
        if row >= len(self._table.rows):
            return Strip.blank(width, ground)
        if inner == 0:
            title = clean(self._table.rows[row].title)
            return Strip([Segment(title, self.get_component_rich_style("table--title"))]).adjust_cell_length(width, ground)
        segments: list[Segment] = []
        tiles = self._table.rows[row].tiles
        for column in range(self._first, min(self._first + self._across, len(tiles))):
            segments += self._tile_line(tiles[column], inner, (row, column) == self._at)
            segments.append(Segment(" ", ground))
        return Strip(segments).adjust_cell_length(width, ground)

    def _head(self) -> list[Segment]:
        style = self.get_component_rich_style("table--head")
        columns = self._table.columns
        last = min(self._first + self._across, len(columns))
        segments = []
        for at in range(self._first, last):
            before = "‹ " if at == self._first and self._first else ""
            after = " ›" if at == last - 1 and last < len(columns) else ""
            room = self._width - len(before) - len(after)
            title = clean(columns[at])
            segments.append(Segment(set_cell_size(f"{before}{cut(title, room).center(room)}{after}", self._width) + " ", style))
        return segments

    def _tile_line(self, tile: Tile | None, inner: int, here: bool) -> list[Segment]:
        if inner == self._height - 1:
            words = self._words_of(tile) if tile is not None else "–"
            style = self.get_component_rich_style("table--here" if here else "table--words")
            marker = "▸" if here else " "
            return [Segment(set_cell_size(f"{marker}{cut(clean(words), self._width - 1)}", self._width), style)]
        want = self._wanted(tile) if tile is not None else None
        if want is None:
            middle = inner == 1 + self._image_rows // 2
            return self._words("" if tile is None or not middle else "…")
        if self.canvas.only_words:
            return self._words(want.path.name)
        if want not in self.images:
            return self._words("…" if inner == 1 + self._image_rows // 2 else "")
        drawn = self.images[want]
        if drawn is None:
            return self._words("cannot be shown" if inner == 1 + self._image_rows // 2 else "")
        line = inner - 1 - (self._image_rows - len(drawn.lines)) // 2
        if not 0 <= line < len(drawn.lines):
            return self._words("")
        left = Segment(" " * ((want.width - drawn.width) // 2))
        return list(Strip([left, *drawn.lines[line]]).adjust_cell_length(self._width, self.rich_style))

    def _words(self, words: str) -> list[Segment]:
        style: Style = self.get_component_rich_style("table--words")
        return [Segment(set_cell_size(cut(clean(words), self._width).center(self._width), self._width), style)]
