"""Lines of text; only changed lines are repainted."""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import RenderResult
from textual.content import Content
from textual.geometry import Region
from textual.widget import Widget


class Rows(Widget):
    """Shows as many of its lines as fit; each is cut to the width."""

    DEFAULT_CSS = "Rows { height: 1fr; }"

    def __init__(self, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._rows: tuple[Content, ...] = ()

    def show(self, rows: Sequence[Content]) -> None:
        before, self._rows = self._rows, tuple(rows)
        if len(before) != len(self._rows):
            self.refresh()
            return
        changed = [y for y, (old, new) in enumerate(zip(before, self._rows, strict=True)) if not _same(old, new)]
        if changed:
            self.refresh(*(Region(0, y, self.size.width, 1) for y in changed))

    def render(self) -> RenderResult:
        size = self.content_size
        return Content("\n").join([row.truncate(size.width, ellipsis=True) for row in self._rows[: size.height]])

    @property
    def said(self) -> str:
        return "\n".join(row.plain for row in self._rows)


def _same(one: Content, other: Content) -> bool:
    return one == other and one.spans == other.spans
