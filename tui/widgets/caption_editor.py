"""A field of several lines for one caption; pasted text is cleaned and loses its line ends."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.widgets import TextArea

from loratui.tui.terminal import clean, clean_lines


class CaptionEditor(TextArea):
    """Wraps; enter and escape end the editing, ctrl+j begins another line, pgup and pgdn change the image."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,escape", "screen.end_editing", show=False, priority=True),
        Binding("ctrl+j", "another_line", show=False, priority=True),
        Binding("pagedown", "screen.step(1)", show=False, priority=True),
        Binding("pageup", "screen.step(-1)", show=False, priority=True),
    ]
    DEFAULT_CSS = """
    CaptionEditor { height: 6; border: none; padding: 0 1; background: $surface; }
    CaptionEditor:focus { border: none; background: $panel; }
    CaptionEditor:nocolor { text-style: underline; }
    """

    def __init__(self, id: str | None = None) -> None:
        super().__init__("", id=id, soft_wrap=True, show_line_numbers=False, compact=True)
        self.cursor_blink = False

    def action_another_line(self) -> None:
        self.insert("\n")

    def set(self, caption: str) -> None:
        """Shows another caption without an edit event."""
        shown = clean_lines(caption, 100_000, 100_000)
        if shown != self.text:
            with self.prevent(TextArea.Changed):
                self.load_text(shown)
            self.move_cursor(self.document.end)

    def check_consume_key(self, key: str, character: str | None = None) -> bool:
        """Keeps the arrows for the text: during editing they are not keys of the screen."""
        return key in ("left", "right", "up", "down", "enter") or super().check_consume_key(key, character)

    # Textual calls the handlers of all classes, this one first.
    async def on_paste(self, event: events.Paste) -> None:
        event.text = clean(" ".join(event.text.split()), 100_000)
