"""The measures of one part of the validation: figures, what they mean, and their limits."""

from __future__ import annotations

from collections.abc import Sequence

from textual import work
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content

from loratui.engine.errors import LoratuiError
from loratui.engine.proof import face_weights
from loratui.engine.proof.told import Row
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
        self._fetching = False

    def heading(self) -> Content:
        name = plain(self.model.run.name, "bold")
        return joined(plain("loratui", "bold $accent"), "  ", name, plain(f"  measures: {self._point.title}", "$muted"))

    def body(self) -> ComposeResult:
        with VerticalScroll(id="measures"):
            yield Line(measured.page(self._rows))
        yield Line(id="measures-said")

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one("#measures").focus()

    @property
    def _rows(self) -> Sequence[Row]:
        return self.model.measured.get(self._point.id, ())

    @property
    def lacks_faces(self) -> bool:
        """Whether something is unknown for want of a face model, and none is on its way."""
        return not self._fetching and any(row["unknown"] == face_weights.NONE_HERE for row in self._rows)

    @work(group="faces", description="fetch the face models")
    async def action_get_faces(self) -> None:
        """Downloads them; the next validation measures with them, and makes no image again."""
        self._fetching = True
        self.refresh_bindings()
        line = self.line("measures-said")
        line.wait(f"Getting {face_weights.offer()}")
        try:
            await self.in_thread(face_weights.fetch, self.loratui.home)
        except LoratuiError as error:
            line.say(plain(f"✖ {error}", "$error"))
            self._fetching = False
            self.refresh_bindings()
        else:
            line.say(plain("The face models are here. Make images again (g): those that exist are only measured.", "$success"))

    def action_back(self) -> None:
        self.dismiss(None)
