"""Text on the screen that is never parsed as markup, always cleaned, and repainted only when it changes."""

from __future__ import annotations

from time import monotonic

from textual.content import Content
from textual.selection import Selection
from textual.timer import Timer
from textual.widgets import Static

from loratui.tui.terminal import clean
from loratui.tui.widgets.hanging import Hanging


def plain(value: object, style: str = "") -> Content:
    """Any text as harmless content: cleaned, not parsed as markup. `style` is a Textual style, such as `$error` or `bold`."""
    return Content.styled(clean(value), style) if style else Content(clean(value))


def joined(*parts: Content | str) -> Content:
    """Contents in a row; strings among them are cleaned."""
    return Content("").join([part if isinstance(part, Content) else plain(part) for part in parts])


_TICK_S = 1.0
_WORTH_TELLING_S = 2
"""Shorter waits show no seconds: they would only flicker."""


class Line(Static):
    """Text that can change."""

    DEFAULT_CSS = "Line { height: auto; }"

    def __init__(self, value: Content | str = "", *, id: str | None = None, classes: str | None = None) -> None:
        self._said = value if isinstance(value, Content) else plain(value)
        self._waiting: Timer | None = None
        self._hanging = Hanging(self._said)
        super().__init__(self._hanging, id=id, classes=classes)

    def say(self, *parts: Content | str) -> None:
        """Shows other text; the same text sends nothing to the terminal."""
        self._wait_no_more()
        self._show_text(joined(*parts))

    def wait(self, what: str, after: str = "", *, style: str = "$muted") -> None:
        """Says what the app waits for, and for how many seconds so far, until the line says something else."""
        self._wait_no_more()
        since = monotonic()

        def tick() -> None:
            waited = int(monotonic() - since)
            seconds = f" {waited} s" if waited >= _WORTH_TELLING_S else ""
            self._show_text(plain(f"{what} …{seconds} {after}".rstrip(), style))

        tick()
        self._waiting = self.set_interval(_TICK_S, tick)

    def _wait_no_more(self) -> None:
        if self._waiting is not None:
            self._waiting.stop()
            self._waiting = None

    def _show_text(self, said: Content) -> None:
        if said == self._said and said.spans == self._said.spans:
            return
        width = self.styles.width
        as_wide_as_its_text = width is not None and width.is_auto and said.cell_length != self._said.cell_length
        relayout = said.plain.count("\n") != self._said.plain.count("\n") or as_wide_as_its_text or self._wraps(said)
        self._said = said
        self._hanging = Hanging(said)
        self.update(self._hanging, layout=relayout)

    @property
    def said(self) -> str:
        return self._said.plain

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        return selection.extract(self._hanging.wrapped(max(1, self.content_size.width)).plain), "\n"

    def _wraps(self, said: Content) -> bool:
        """Whether the old or the new text may need another number of lines."""
        width = max(1, self.content_size.width)
        return said.cell_length > width or self._said.cell_length > width
