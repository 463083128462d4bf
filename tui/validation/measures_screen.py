"""The measures of one part of the validation: figures, what they mean, and their limits."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content

from loratui.tui.screens.base import LoratuiScreen
from loratui.tui.validation import measured
from loratui.tui.validation.checklist import Point
from loratui.tui.validation.model import ValidationModel
from loratui.tui.widgets.line import Line, joined, plain


class MeasuresScreen(LoratuiScreen[None]):
    """A text that scrolls."""

    CONTEXT = "validation_measures"
    CSS_PATH = "files_screen.tcss"

    def __init__(self, model: ValidationModel, point: Point) -> None:
        super().__init__()
        self.model = model
        self._point = point

    def heading(self) -> Content:
        name = plain(self.model.run.name, "bold")
        return joined(plain("loratui", "bold $accent"), "  ", name, plain(f"  measures: {self._point.title}", "$muted"))

    def body(self) -> ComposeResult:
        with VerticalScroll(id="measures"):
            yield Line(measured.page(self.model.measured.get(self._point.id, ())))

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one("#measures").focus()

    def action_back(self) -> None:
        self.dismiss(None)
