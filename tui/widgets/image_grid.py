"""The images of a folder as tiles. Only visible tiles are drawn and decoded, so 10 000 images cost no more than 10."""

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
from loratui.tui.text import cut, cut_middle
from loratui.tui.widgets.image_scroll import ImageScroll, Wanted

TILE_WIDTH = 18
"""Columns of a tile; one blank column follows."""
IMAGE_ROWS = 6
WORD_ROWS = 2


@dataclass(frozen=True, slots=True)
class Item:
    """An image."""

    name: str
    """Its path relative to the folder."""
    path: Path


@dataclass(frozen=True, slots=True)
class Label:
    """The words below an image."""

    sign: str
    """One character for its state; a blank if there is nothing to say."""
    tone: str
    """Component class of its colour: `error`, `warning`, `note`, `out` or empty."""
    line: str
    """Size and bucket, or why loratui leaves it out."""


class ImageGrid(ImageScroll):
    """Tiles with a cursor."""

    DEFAULT_CSS = """
    ImageGrid { background: $background; scrollbar-size-vertical: 1; overflow-x: hidden; }
    ImageGrid > .grid--name { color: $foreground; }
    ImageGrid > .grid--line { color: $muted; }
    ImageGrid > .grid--here { color: $foreground; background: $panel; text-style: bold; }
    ImageGrid:focus > .grid--here { color: $background; background: $accent; text-style: bold; }
    ImageGrid > .grid--error { color: $error; text-style: bold; }
    ImageGrid > .grid--warning { color: $warning; text-style: bold; }
    ImageGrid > .grid--note { color: $accent; }
    ImageGrid > .grid--out { color: $muted; text-style: strike; }
    ImageGrid:nocolor > .grid--here { text-style: reverse; }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        f"grid--{part}" for part in ("name", "line", "here", "error", "warning", "note", "out")
    }
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("pageup", "page(-1)", show=False),
        Binding("pagedown", "page(1)", show=False),
        Binding("home", "edge(0)", show=False),
        Binding("end", "edge(-1)", show=False),
    ]

    @dataclass
    class Moved(Message):
        """The cursor is on another image."""

        item: Item

    @dataclass
    class Opened(Message):
        """An image was clicked twice."""

        item: Item

    def __init__(self, label: Callable[[str], Label], id: str | None = None) -> None:
        super().__init__(id=id)
        self._label_of = label
        self._items: Sequence[Item] = ()
        self._at = 0

    # What is shown

    def show(self, items: Sequence[Item], name: str = "") -> None:
        """Shows other images; the cursor goes to `name`, else stays on its image, else goes to the first."""
        here = name or (self.item.name if self.item else "")
        self._items = items
        self._at = next((at for at, item in enumerate(items) if item.name == here), 0)
        self.lay_out()
        self.follow_cursor()

    @property
    def item(self) -> Item | None:
        return self._items[self._at] if self._items else None

    @property
    def names(self) -> list[str]:
        return [item.name for item in self._items]

    @property
    def across(self) -> int:
        return max(1, (self.scrollable_content_region.width or self.size.width) // (TILE_WIDTH + 1))

    @property
    def _tile_height(self) -> int:
        return WORD_ROWS + (1 if self.canvas.only_words else IMAGE_ROWS)

    def lay_out(self) -> None:
        rows = -(-len(self._items) // self.across)
        self.virtual_size = Size(self.size.width, rows * self._tile_height)
        self.refresh()
        self.decode_what_is_in_view()

    # Moving

    def action_move(self, x: int, y: int) -> None:
        self._go(self._at + x + y * self.across)

    def action_page(self, pages: int) -> None:
        rows = max(1, self.size.height // self._tile_height)
        at = self._at + pages * rows * self.across
        self._go(min(max(at, 0), len(self._items) - 1))

    def action_edge(self, at: int) -> None:
        self._go(at % len(self._items) if self._items else 0)

    def go_to(self, name: str) -> None:
        at = next((at for at, item in enumerate(self._items) if item.name == name), None)
        if at is not None:
            self._go(at)

    def _go(self, at: int) -> None:
        if not 0 <= at < len(self._items) or at == self._at:
            return
        before, self._at = self._at, at
        self._refresh_tile(before)
        self._refresh_tile(at)
        self.follow_cursor()
        self.post_message(self.Moved(self._items[at]))

    def follow_cursor(self) -> None:
        if self._items and self.size.height:
            top = self._at // self.across * self._tile_height
            self.scroll_to_region(Region(0, top, 1, self._tile_height), animate=False, force=True, x_axis=False)

    def _refresh_tile(self, at: int) -> None:
        across, height = self.across, self._tile_height
        region = Region(at % across * (TILE_WIDTH + 1), at // across * height, TILE_WIDTH, height)
        self.refresh(region.translate(-self.scroll_offset))

    def on_click(self, event: events.Click) -> None:
        across = self.across
        at = (event.y + self.scroll_offset.y) // self._tile_height * across + min(event.x // (TILE_WIDTH + 1), across - 1)
        if 0 <= at < len(self._items):
            self._go(at)
            if event.chain == 2:
                self.post_message(self.Opened(self._items[at]))

    # Decoding

    def visible_items(self) -> Sequence[Item]:
        """The images in view and of one more row."""
        height, across = self._tile_height, self.across
        first = self.scroll_offset.y // height * across
        count = (self.size.height // height + 2) * across
        return self._items[first : first + count]

    def in_view(self) -> Sequence[Wanted]:
        return [self._wanted(item) for item in self.visible_items()]

    def arrived(self, wanted: Wanted) -> None:
        across = self.across
        first = self.scroll_offset.y // self._tile_height * across
        for at, item in enumerate(self.visible_items(), first):
            if item.path == wanted.path:
                self._refresh_tile(at)

    # Drawing

    def render_line(self, y: int) -> Strip:
        row, inner = divmod(y + self.scroll_offset.y, self._tile_height)
        across, ground = self.across, self.rich_style
        segments: list[Segment] = []
        for at in range(row * across, min((row + 1) * across, len(self._items))):
            segments += self._tile_line(at, inner, ground)
            segments.append(Segment(" ", ground))
        return Strip(segments).adjust_cell_length(self.size.width, ground)

    def _tile_line(self, at: int, inner: int, ground: Style) -> list[Segment]:
        words_from = self._tile_height - WORD_ROWS
        if inner < words_from:
            return self._image_line(self._items[at], inner, ground)
        label = self._label_of(self._items[at].name)
        here = at == self._at
        if inner == words_from:
            sign, name = label.sign, clean(self._items[at].name)
            style = self.get_component_rich_style("grid--here" if here else "grid--name")
            tone = style if here or not label.tone else self.get_component_rich_style(f"grid--{label.tone}")
            marker = "▸" if here else " "
            return [
                Segment(set_cell_size(f"{marker}{sign} ", 3), tone),
                Segment(set_cell_size(cut_middle(name, TILE_WIDTH - 3), TILE_WIDTH - 3), style),
            ]
        style = self.get_component_rich_style("grid--here" if here else "grid--line")
        return [Segment(set_cell_size(f" {cut(clean(label.line), TILE_WIDTH - 1)}", TILE_WIDTH), style)]

    def _image_line(self, item: Item, inner: int, ground: Style) -> list[Segment]:
        blank = [Segment(" " * TILE_WIDTH, ground)]
        if self.canvas.only_words:
            return blank
        wanted = self._wanted(item)
        if wanted not in self.images:
            return self._centred("…" if inner == IMAGE_ROWS // 2 else "")
        image = self.images[wanted]
        if image is None:
            return self._centred("cannot be shown" if inner == IMAGE_ROWS // 2 else "")
        line = inner - (IMAGE_ROWS - len(image.lines)) // 2
        if not 0 <= line < len(image.lines):
            return blank
        left = (TILE_WIDTH - image.width) // 2
        right = TILE_WIDTH - image.width - left
        return [Segment(" " * left, ground), *image.lines[line], Segment(" " * right, ground)]

    def _wanted(self, item: Item) -> Wanted:
        return Wanted(item.path, TILE_WIDTH, IMAGE_ROWS, self.canvas.shape)

    def _centred(self, words: str) -> list[Segment]:
        style: Style = self.get_component_rich_style("grid--line")
        return [Segment(words.center(TILE_WIDTH), style)]
