"""Jump mode: a letter on every part of the screen that can have the focus; its key goes there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.geometry import Offset
from textual.screen import ModalScreen, Screen
from textual.widget import Widget

from loratui.tui.widgets.line import Line, plain

LETTERS = "asdfghjklqwertyuiopzxcvbnm"
"""The home row first."""


class JumpScreen(ModalScreen[None]):
    """The letters; any other key only closes."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss")]
    DEFAULT_CSS = """
    JumpScreen { layers: letters; }
    JumpScreen .jump { layer: letters; width: 3; height: 1; background: $accent; color: $background; text-style: bold; }
    JumpScreen .jump:nocolor { text-style: reverse; }
    JumpScreen #jump-hint { dock: bottom; height: 1; background: $panel; padding: 0 1; }
    """

    def __init__(self, below: Screen[Any], parts: Sequence[tuple[Widget, str]] = ()) -> None:
        """`parts` cannot have the focus; each has the screen's action that goes there."""
        super().__init__()
        self._seen_at = below.size
        self._below = below
        self._targets = dict(zip(LETTERS, targets(below, parts), strict=False))

    def compose(self) -> ComposeResult:
        for letter, target in self._targets.items():
            label = Line(plain(f" {letter} "), classes="jump")
            label.absolute_offset = target.at
            yield label
        words = "Press a letter to go there; esc cancels." if self._targets else "Nothing to jump to here; esc closes."
        yield Line(plain(words, "$muted"), id="jump-hint")

    async def on_key(self, event: events.Key) -> None:
        if event.key == "escape":
            return
        event.stop()
        target = self._targets.get(event.key)
        self.dismiss()
        if target is None or not target.widget.is_attached:
            return
        if target.action:
            await self.app.run_action(target.action, self._below)
        else:
            target.widget.focus()

    def on_click(self) -> None:
        self.dismiss()

    def on_resize(self, event: events.Resize) -> None:
        if event.size != self._seen_at:  # the targets have moved
            self.dismiss()


@dataclass(frozen=True, slots=True)
class Target:
    """A part of the screen."""

    widget: Widget
    at: Offset
    """Its upper left corner."""
    action: str = ""
    """The screen's action that goes there; empty: focus it."""


def targets(screen: Screen[Any], parts: Sequence[tuple[Widget, str]] = ()) -> list[Target]:
    found = []
    for widget, action in [*((widget, "") for widget in screen.focus_chain), *parts]:
        region = widget.region
        if region.area and screen.region.contains_region(region.intersection(screen.region)):
            found.append(Target(widget, Offset(max(0, region.x), max(0, region.y)), action))
    return sorted(found, key=lambda target: (target.at.y, target.at.x))
