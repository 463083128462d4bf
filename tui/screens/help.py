"""Help: the purpose of a screen and its keys, from the table of keys."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import OptionList

from loratui.tui.bindings import CONTEXTS, Key
from loratui.tui.keymap import HasKeys
from loratui.tui.widgets.field import Field
from loratui.tui.widgets.line import Line, plain

_FIELD_BY_FIELD = ("dataset",)
"""Screens on which enter goes from field to field."""
_ON = ("next", "apply_edit", "write_file", "make_now")
"""Ids of the actions that enter triggers in a field."""
_WORDS = (
    ("image-step", "one image shown to the model once"),
    ("optimizer step", "one update of the weights, after a whole batch"),
    ("epoch", "one pass over all images, each shown once per repeat"),
    ("trigger", "the made-up word for your subject"),
)


class HelpScreen(ModalScreen[None]):
    """Help for one screen and its focused widget."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,question_mark,f1,enter", "dismiss")]

    def __init__(self, context: str, screen: HasKeys, focused: Widget | None = None) -> None:
        super().__init__()
        self._explained = context
        self._keys = [(key, screen.holds(key)) for key in screen.keys_here]
        """Each key, and whether it works now."""
        self._focused_below = focused

    def compose(self) -> ComposeResult:
        about = CONTEXTS[self._explained]
        with VerticalScroll(classes="dialog wide help"):
            yield Line(plain(about.title, "bold $accent"))
            yield Line(plain(about.help))
            title, rows = about_widget(self._focused_below, self._explained, [key for key, _ in self._keys])
            if rows:
                yield Line(plain(title, "bold"))
                yield Line(_table(rows), classes="table")
                yield Line(plain("Keys of this screen", "bold"))
            yield Line(_table((key.shown, key.help, holds) for key, holds in self._keys), classes="table")
            if not all(holds for _, holds in self._keys):
                yield Line(plain("Grey keys do nothing at the moment.", "$muted"))
            yield Line(_table(_WORDS), classes="table")
            yield Line(plain("To change keys, edit keys.toml (see the manual). The mouse works too.", "$muted"))
            yield Line(plain("esc closes this help", "$muted"))


def about_widget(widget: Widget | None, context: str, keys: Iterable[Key]) -> tuple[str, list[tuple[str, str]]]:
    """A title, and rows of key and meaning, for the focused widget; both empty if it takes no keys."""
    field = next((node for node in widget.ancestors_with_self if isinstance(node, Field)), None) if widget else None
    if field is not None:
        on = next((key.help for key in keys if key.id in _ON), "")
        rows = [("↑ ↓", "to the field above or below")]
        if on:
            rows.append(("enter", f"on to the next field; from the last one: {on}" if context in _FIELD_BY_FIELD else on))
        if field.completes:
            rows.append(("tab →", "take the grey completion"))
        return f"Here: {field.label}{f', {field.help}' if field.help else ''}", rows
    if isinstance(widget, OptionList):
        return "Here: a list", [("↑ ↓", "move; home and end go to the ends"), ("enter", "chooses the line, as a click does")]
    if isinstance(widget, VerticalScroll):
        return "Here: a text", [("↑ ↓", "scroll; page up and page down go faster")]
    return "", []


def _table(rows: Iterable[tuple[str, str] | tuple[str, str, bool]]) -> Content:
    """Two columns; a row with a false third value is grey."""
    table = [(left, right, all(holds)) for left, right, *holds in rows]
    width = max(len(left) for left, _, _ in table)
    return Content("\n").join(
        [
            Content.assemble(
                plain(left.ljust(width + 2), "bold" if holds else "$muted"), plain(right, "" if holds else "$muted")
            )
            for left, right, holds in table
        ]
    )
