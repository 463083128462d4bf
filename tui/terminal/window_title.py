"""The title of the terminal's window: ours while the app is open, afterwards the old one."""

from __future__ import annotations

import os
from typing import Any

from loratui.tui.terminal import clean
from loratui.tui.terminal.textual_private import HookedApp

_KEEP, _GIVE_BACK = "\x1b[22;2t", "\x1b[23;2t"
"""XTWINOPS 22 and 23: the terminal itself keeps the title on a stack."""


class WindowTitle:
    """Sets the title by OSC 2 when it changes."""

    def __init__(self, app: HookedApp[Any]) -> None:
        self._app = app
        self._said = ""

    def say(self, title: str) -> None:
        """Shows `title`; an empty one restores the old title."""
        if title == self._said or self._app.is_headless or os.environ.get("TERM", "").startswith("linux"):
            return
        if not self._said:
            self._app.write_to_terminal(_KEEP)
        self._app.write_to_terminal(f"\x1b]2;{clean(title, 200)}\x07" if title else _GIVE_BACK)
        self._said = title

    @property
    def farewell(self) -> str:
        """The sequence that restores the old title after the app has ended; empty if it is already there."""
        return _GIVE_BACK if self._said else ""
