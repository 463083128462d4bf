"""The log with its filter: words or a regular expression, and a level."""

from __future__ import annotations

import time

from textual import events, on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Input

from loratui.engine.runs.clock import zone
from loratui.tui.runs.store import RunStore
from loratui.tui.widgets.line import plain
from loratui.tui.widgets.log_tail import LEVELS, Least, LogTail, matcher


class _FilterInput(Input):
    """Escape clears and closes it, and does not leave the screen."""

    def on_key(self, event: events.Key) -> None:
        if event.key == "escape":
            event.stop()
            event.prevent_default()
            self.value = ""
            self.display = False
            self.screen.set_focus(None)


class LogPanel(Vertical):
    """Title and lines of the log."""

    DEFAULT_CSS = "LogPanel _FilterInput { display: none; height: 1; border: none; padding: 0; background: $panel; }"

    def __init__(self, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._least: Least = "everything"
        self._problem = ""

    def compose(self) -> ComposeResult:
        yield _FilterInput(
            placeholder="words, or /regular expression/ · enter keeps, esc clears", id="log-filter", compact=True
        )
        yield LogTail(id="log")

    def on_mount(self) -> None:
        self._say()

    def show(self, store: RunStore) -> None:
        self.query_one(LogTail).show(store.log, store.log_count)

    def ask(self) -> None:
        field = self.query_one(_FilterInput)
        field.display = True
        field.focus()

    def next_level(self) -> None:
        """Turns from everything to warnings and errors, to errors alone, and back."""
        names = list(LEVELS)
        self._least = names[(names.index(self._least) + 1) % len(names)]
        self._apply()

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        event.stop()
        self._apply()

    @on(Input.Submitted)
    def _kept(self, event: Input.Submitted) -> None:
        event.stop()
        if not event.value:
            self.query_one(_FilterInput).display = False
        self.screen.set_focus(None)

    def _apply(self) -> None:
        matches, self._problem = matcher(self.query_one(_FilterInput).value)
        self.query_one(LogTail).filter(matches, self._least)
        self._say()

    def _say(self) -> None:
        wanted = self.query_one(_FilterInput).value
        parts = ["log"] + ([self._least] if self._least != "everything" else []) + ([f"“{wanted}”"] if wanted else [])
        self.border_title = plain(" · ".join([*parts, f"times in {zone(time.time())}"]))
        self.border_subtitle = plain(self._problem)
