"""A note of several lines."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import TextArea

from loratui.engine.proof.notes import LONGEST_NOTE
from loratui.tui.terminal import clean
from loratui.tui.widgets.line import Line, joined, plain


class NoteEditor(TextArea):
    """Wraps, and cleans pasted text line by line."""

    def __init__(self, note: str) -> None:
        super().__init__(_cleaned(note), soft_wrap=True, show_line_numbers=False, compact=True, id="note")
        self.cursor_blink = False

    # Textual calls the handlers of all classes, this one first.
    async def on_paste(self, event: events.Paste) -> None:
        event.text = _cleaned(event.text)


class NoteScreen(ModalScreen[str | None]):
    """Gives the note; None if it is unchanged."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,f2", "keep", priority=True),
        Binding("f8", "discard", priority=True),
    ]
    DEFAULT_CSS = """
    NoteScreen NoteEditor { height: 8; border: none; padding: 0 1; background: $panel; margin-bottom: 1; }
    NoteScreen NoteEditor:focus { border: none; }
    """

    def __init__(self, title: str, note: str) -> None:
        super().__init__()
        self._title = title
        self._note = note

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Line(plain(self._title, "bold"))
            yield NoteEditor(self._note)
            keys = joined(plain("esc", "bold $accent"), "  save      ", plain("f8", "bold $accent"), "  discard changes")
            yield Line(keys, classes="answers")

    def on_mount(self) -> None:
        editor = self.query_one(NoteEditor)
        editor.move_cursor(editor.document.end)
        editor.focus()

    def action_keep(self) -> None:
        self.dismiss(self.query_one(NoteEditor).text)

    def action_discard(self) -> None:
        self.dismiss(None)


def _cleaned(text: str) -> str:
    return "\n".join(clean(line, LONGEST_NOTE) for line in text[:LONGEST_NOTE].split("\n"))
