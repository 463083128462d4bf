"""A progress bar of one line, in eighths of a cell; sends only changed cells."""

from __future__ import annotations

from typing import ClassVar

from rich.segment import Segment
from textual.app import RenderResult
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

_EIGHTHS = " ▏▎▍▌▋▊▉"


class Progress(Widget):
    """Fills from left to right and ends with its percentage, so colour is not the only sign."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"progress--bar", "progress--rest"}
    DEFAULT_CSS = """
    Progress {
        height: 1;
        .progress--bar { color: $accent; background: $panel; }
        .progress--rest { color: $foreground; }
    }
    """

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self._line = ""
        self.fraction = 0.0

    def show(self, fraction: float) -> None:
        """Shows a fraction of 0 to 1."""
        self.fraction = min(1.0, max(0.0, fraction))
        before, self._line = self._line, self._text()
        if len(before) != len(self._line):
            self.refresh()
            return
        changed = [x for x, (old, new) in enumerate(zip(before, self._line, strict=True)) if old != new]
        if changed:
            self.refresh(Region(changed[0], 0, changed[-1] - changed[0] + 1, 1))

    def on_resize(self) -> None:
        self._line = self._text()
        self.refresh()

    def render(self) -> RenderResult:
        """Unused: the widget renders line by line."""
        return ""

    def render_line(self, y: int) -> Strip:
        del y
        bar = max(0, self.size.width - 6)
        styles = self.get_component_rich_style("progress--bar"), self.get_component_rich_style("progress--rest")
        line = self._line or self._text()
        return Strip([Segment(line[:bar], styles[0]), Segment(line[bar:], styles[1])], self.size.width)

    def _text(self) -> str:
        cells = max(0, self.size.width - 6)
        eighths = int(self.fraction * cells * 8)
        full, rest = divmod(eighths, 8)
        filled = ("█" * full + (_EIGHTHS[rest] if rest else ""))[:cells].ljust(cells)
        return f"{filled} {int(self.fraction * 100):>3} %"
