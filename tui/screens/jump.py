"""Jump mode: a letter on every part of the screen that can have the focus; pressing it goes there."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.geometry import Offset
from textual.screen import ModalScreen, Screen
from textual.widget import Widget

from loratui.tui.widgets.line import Line, plain

LETTERS = "asdfghjklqwertyuiopzxcvbnm"
"""Those under the fingers first."""


class JumpScreen(ModalScreen[None]):
    """The letters; any other key leaves everything as it is."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss")]
    DEFAULT_CSS = """
    JumpScreen { layers: letters; }
    JumpScreen .jump { layer: letters; width: 3; height: 1; background: $accent; color: $background; text-style: bold; }
    JumpScreen .jump:nocolor { text-style: reverse; }
    JumpScreen #jump-hint { dock: bottom; height: 1; background: $panel; padding: 0 1; }
    """

    def __init__(self, below: Screen[object]) -> None:
        super().__init__()
        self._seen_at = below.size
        self._targets = dict(zip(LETTERS, targets(below), strict=False))

    def compose(self) -> ComposeResult:
        """A letter at the upper left corner of each."""
        for letter, (_, at) in self._targets.items():
            label = Line(plain(f" {letter} "), classes="jump")
            label.absolute_offset = at
            yield label
        words = "Press a letter to go there; esc stays." if self._targets else "Nothing here can have the focus; esc closes."
        yield Line(plain(words, "$muted"), id="jump-hint")

    def on_key(self, event: events.Key) -> None:
        """Goes to the letter's place."""
        if event.key == "escape":
            return
        event.stop()
        target = self._targets.get(event.key)
        self.dismiss()
        if target is not None and target[0].is_attached:
            target[0].focus()

    def on_click(self) -> None:
        """The mouse has its own way of choosing."""
        self.dismiss()

    def on_resize(self, event: events.Resize) -> None:
        """In another window the places are no longer right."""
        if event.size != self._seen_at:
            self.dismiss()


def targets(screen: Screen[object]) -> list[tuple[Widget, Offset]]:
    """What can have the focus and is seen, with where its upper left corner is, from top to bottom."""
    found = []
    for widget in screen.focus_chain:
        region = widget.region
        if region.area and screen.region.contains_region(region.intersection(screen.region)):
            found.append((widget, Offset(max(0, region.x), max(0, region.y))))
    return sorted(found, key=lambda item: (item[1].y, item[1].x))
