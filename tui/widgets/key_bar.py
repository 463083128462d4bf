"""The bottom line: as many of the keys that work now as fit, from the table of keys."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

from textual import events
from textual.app import RenderResult
from textual.content import Content
from textual.screen import Screen
from textual.widget import Widget

from loratui.tui.bindings import written
from loratui.tui.keymap import HasKeys

_LAST = ("back", "end_caption", "runs", "help", "leave")
"""These stay when there is no room for all."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A key in the bar."""

    id: str
    key: str
    """Textual's name of the key."""
    written: str
    label: str

    @property
    def width(self) -> int:
        return len(self.written) + 1 + len(self.label)


class KeyBar(Widget):
    """One line, painted only when the keys change; a click on a key presses it."""

    ALLOW_SELECT = False
    DEFAULT_CSS = "KeyBar { dock: bottom; height: 1; background: $panel; color: $muted; padding: 0 1; }"

    def __init__(self) -> None:
        super().__init__()
        self._shown: tuple[Shown, ...] = ()

    def on_mount(self) -> None:
        self.screen.bindings_updated_signal.subscribe(self, self._changed)
        self.call_after_refresh(self._changed, self.screen)

    def _changed(self, screen: Screen[object]) -> None:
        if screen is not self.screen or not self.is_attached:
            return
        now = tuple(self._keys_now(cast("HasKeys", screen), screen.focused))
        if now != self._shown:
            self._shown = now
            self.refresh()

    def _keys_now(self, screen: HasKeys, focused: Widget | None) -> Iterator[Shown]:
        for key in screen.keys_here:
            if not key.label or not screen.holds(key):
                continue
            # A field that takes letters takes a key's first name; then show another name.
            names = [n for n in key.keys.split(",") if focused is None or not focused.check_consume_key(n, _character(n))]
            if names:
                yield Shown(key.id, names[0], key.shown if names[0] == key.keys.split(",")[0] else written(names[0]), key.label)

    def render(self) -> RenderResult:
        return Content("  ").join(
            [Content.assemble((item.written, "bold $accent"), " ", item.label) for item in self._fitting()]
        )

    def on_click(self, event: events.Click) -> None:
        x = 0
        for item in self._fitting():
            if x <= event.x - self.gutter.left < x + item.width:
                self.app.simulate_key(item.key)
                return
            x += item.width + 2

    def _fitting(self) -> list[Shown]:
        items = list(self._shown)
        while items and sum(item.width + 2 for item in items) - 2 > self.content_size.width:
            droppable = [item for item in items if item.id not in _LAST]
            items.remove(droppable[-1] if droppable else items[-1])
        return items


def _character(name: str) -> str | None:
    """The character that a key types, if any."""
    return {"question_mark": "?", "space": " "}.get(name, name if len(name) == 1 else None)
