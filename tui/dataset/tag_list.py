"""The tags of all captions with their counts: searched, ordered, and chosen as what captions must have or must lack."""

from __future__ import annotations

from dataclasses import dataclass, field

from textual import events, on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Input, OptionList
from textual.widgets.option_list import Option

from loratui.engine.dataset.tag_table import ORDERS, Order, TagTable
from loratui.tui import text
from loratui.tui.terminal import clean
from loratui.tui.widgets.line import Line, plain

_MOST_ROWS = 500
_ORDER_WORDS: dict[Order, str] = {"frequency": "most frequent first", "rarity": "rarest first", "name": "by name"}


@dataclass(frozen=True)
class TagFilter:
    """Which captions are meant: with all of some tags, without any of others."""

    having: tuple[str, ...] = ()
    lacking: tuple[str, ...] = ()

    def turned(self, tag: str) -> TagFilter:
        """With the tag as one to have, then as one to lack, then as neither."""
        if tag in self.having:
            return TagFilter(tuple(t for t in self.having if t != tag), (*self.lacking, tag))
        if tag in self.lacking:
            return TagFilter(self.having, tuple(t for t in self.lacking if t != tag))
        return TagFilter((*self.having, tag), self.lacking)

    def __bool__(self) -> bool:
        return bool(self.having or self.lacking)

    def words(self) -> str:
        """As a person says it."""
        parts = (("with", self.having), ("without", self.lacking))
        return " ".join(f"{word} {', '.join(tags)}" for word, tags in parts if tags)


class _SearchInput(Input):
    """Escape clears and closes it, and does not leave the screen."""

    def on_key(self, event: events.Key) -> None:
        if event.key in ("escape", "down"):
            event.stop()
            event.prevent_default()
            if event.key == "escape":
                self.value = ""
                self.display = False
            self.screen.query_one("#tags").focus()


class TagList(Vertical):
    """Title, search and rows. Its screen has the keys."""

    DEFAULT_CSS = """
    TagList { height: 1fr; }
    TagList #tags-title { height: 1; margin-top: 1; color: $muted; text-wrap: nowrap; text-overflow: ellipsis; }
    TagList _SearchInput { display: none; height: 1; border: none; padding: 0; background: $panel; }
    TagList #tags { height: 1fr; border: none; padding: 0; background: $background;
        text-wrap: nowrap; text-overflow: ellipsis; }
    """

    @dataclass
    class Filtered(Message):
        """Other captions are meant."""

    @dataclass
    class Taken(Message):
        """A tag was chosen with enter."""

        tag: str

    @dataclass
    class _Shown:
        table: TagTable = field(default_factory=lambda: TagTable({}, {}))
        order: Order = "frequency"
        rows: list[str] = field(default_factory=list)

    def __init__(self) -> None:
        super().__init__()
        self._shown = self._Shown()
        self.filter = TagFilter()
        """Which captions are meant."""

    def compose(self) -> ComposeResult:
        yield Line("tags …", id="tags-title")
        yield _SearchInput(placeholder="part of a tag · esc ends", compact=True, id="tags-search")
        yield OptionList(id="tags", markup=False)

    @property
    def _options(self) -> OptionList:
        return self.query_one(OptionList)

    @property
    def tag(self) -> str:
        """The tag under the highlight, if the person is at the tags; else empty."""
        at = self._options.highlighted
        return self._shown.rows[at] if self._options.has_focus and at is not None and at < len(self._shown.rows) else ""

    def show(self, table: TagTable) -> None:
        """Shows other captions. What is no tag any more leaves the filter."""
        self._shown.table = table
        kept = TagFilter(
            tuple(tag for tag in self.filter.having if tag in table.holders),
            tuple(tag for tag in self.filter.lacking if tag in table.holders),
        )
        changed, self.filter = kept != self.filter, kept
        self._fill()
        if changed:
            self.post_message(TagList.Filtered())

    def _fill(self) -> None:
        at, shown = self._options.highlighted, self._shown
        here = shown.rows[at] if at is not None and at < len(shown.rows) else ""
        found = shown.table.rows(shown.order, self.query_one(_SearchInput).value)
        # What the filter names stays in view at the top, so that it can be taken back.
        named = [tag for tag in (*self.filter.having, *self.filter.lacking) if tag in shown.table.holders]
        shown.rows = [*named, *(tag for tag, _ in found if tag not in named)][:_MOST_ROWS]
        self._options.clear_options()
        self._options.add_options([Option(self._row(tag)) for tag in shown.rows])
        if shown.rows:
            self._options.highlighted = shown.rows.index(here) if here in shown.rows else min(at or 0, len(shown.rows) - 1)
        count = text.count(len(shown.table.holders), "tag")
        self.query_one("#tags-title", Line).say(plain(f"{count}, {_ORDER_WORDS[shown.order]}"))

    def _row(self, tag: str) -> Content:
        sign, tone = ("+", "bold $success") if tag in self.filter.having else (" ", "")
        sign, tone = ("−", "bold $error") if tag in self.filter.lacking else (sign, tone)
        return Content.assemble(plain(sign, tone), plain(f"{self._shown.table.count(tag):>4}  {clean(tag, 60)}", tone))

    def turn(self) -> None:
        """Makes the tag under the highlight one to have, then one to lack, then neither."""
        if self.tag:
            self._take_filter(self.filter.turned(self.tag))

    def clear(self) -> None:
        """All captions are meant again."""
        self._take_filter(TagFilter())

    def _take_filter(self, wanted: TagFilter) -> None:
        self.filter = wanted
        self._fill()
        self.post_message(TagList.Filtered())

    def next_order(self) -> None:
        """Turns to the next order of the rows."""
        self._shown.order = ORDERS[(ORDERS.index(self._shown.order) + 1) % len(ORDERS)]
        self._fill()

    def search(self) -> None:
        """Opens the search."""
        field = self.query_one(_SearchInput)
        field.display = True
        field.focus()

    @on(Input.Changed)
    def _searched(self, event: Input.Changed) -> None:
        event.stop()
        self._fill()

    @on(Input.Submitted)
    def _found(self, event: Input.Submitted) -> None:
        event.stop()
        self._options.focus()

    @on(OptionList.OptionSelected)
    def _taken(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self.post_message(TagList.Taken(self._shown.rows[event.option_index]))
