"""Windows too small for any screen: their size, and the focus of each screen until there is room again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from weakref import WeakKeyDictionary

from textual.geometry import Size
from textual.screen import Screen
from textual.widget import Widget

LEAST_WIDTH, LEAST_HEIGHT = 60, 20
"""Below this many columns and rows a notice takes the place of the screen."""


def is_too_small(size: Size) -> bool:
    return size.width < LEAST_WIDTH or size.height < LEAST_HEIGHT


class KeptFocus:
    """Removes the focus before its widget is hidden: Textual would move it to another widget, or lose it."""

    def __init__(self) -> None:
        self._kept: WeakKeyDictionary[Screen[Any], Widget] = WeakKeyDictionary()

    def take(self, screens: Iterable[Screen[Any]]) -> None:
        """Remembers and removes the focus of each screen."""
        for screen in screens:
            if screen.focused is not None:
                self._kept[screen] = screen.focused
                screen.set_focus(None)

    def give_back(self) -> None:
        """Restores the focus of each screen that has none."""
        while self._kept:
            screen, widget = self._kept.popitem()
            if screen.focused is None and widget.is_attached:
                screen.set_focus(widget, scroll_visible=False)
