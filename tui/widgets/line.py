"""Text on the screen that is never read as markup, always cleaned, and repainted only when it says something else."""

from __future__ import annotations

from textual.content import Content
from textual.widgets import Static

from loratui.tui.terminal import clean


def plain(value: object, style: str = "") -> Content:
    """Any text as harmless content: cleaned, not parsed as markup. `style` is Textual's, such as `$error` or `bold`."""
    return Content.styled(clean(value), style) if style else Content(clean(value))


def joined(*parts: Content | str) -> Content:
    """Contents one after the other; strings in between are cleaned."""
    return Content("").join([part if isinstance(part, Content) else plain(part) for part in parts])


class Line(Static):
    """Text that changes while one looks."""

    DEFAULT_CSS = """
    Line { height: auto; }
    """

    def __init__(self, value: Content | str = "", *, id: str | None = None, classes: str | None = None) -> None:
        self._said = value if isinstance(value, Content) else plain(value)
        super().__init__(self._said, id=id, classes=classes)

    def say(self, *parts: Content | str) -> None:
        """Shows other text. Says nothing to the terminal if it is the same."""
        said = joined(*parts)
        if said == self._said and said.spans == self._said.spans:
            return
        width = self.styles.width
        as_wide_as_its_text = width is not None and width.is_auto and said.cell_length != self._said.cell_length
        relayout = said.plain.count("\n") != self._said.plain.count("\n") or as_wide_as_its_text or self._wraps(said)
        self._said = said
        self.update(said, layout=relayout)

    @property
    def said(self) -> str:
        """The text as shown, without styles."""
        return self._said.plain

    def _wraps(self, said: Content) -> bool:
        """Whether the text, old or new, may need more than the lines it has."""
        width = max(1, self.content_size.width)
        return said.cell_length > width or self._said.cell_length > width
