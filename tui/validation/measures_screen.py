"""The measures of one part of the validation: figures, what they mean, and their limits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from textual import work
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content

from loratui.engine.errors import LoratuiError
from loratui.engine.proof import embedding_weights, face_weights
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

    @property
    def lacks_models(self) -> bool:
        """The same for the models of whole images."""
        return not self._fetching and any(row["unknown"] in embedding_weights.LACKING for row in self._rows)

    @work(group="faces", description="fetch the face models")
    async def action_get_faces(self) -> None:
        """Downloads them; the next validation measures with them, and makes no image again."""
        await self._get(face_weights.offer(), face_weights.fetch, "face models")

    @work(group="models", description="fetch the image models")
    async def action_get_models(self) -> None:
        """The same for the models of whole images."""
        await self._get(embedding_weights.offer(), embedding_weights.fetch, "image models")

    async def _get(self, offer: str, fetch: Callable[[Path], None], what: str) -> None:
        self._fetching = True
        self.refresh_bindings()
        line = self.line("measures-said")
        line.wait(f"Getting {offer}")
        try:
            await self.in_thread(fetch, self.loratui.home)
        except LoratuiError as error:
            line.say(plain(f"✖ {error}", "$error"))
            self._fetching = False
            self.refresh_bindings()
        else:
            line.say(plain(f"The {what} are here. Make images again (g): those that exist are only measured.", "$success"))

    def action_back(self) -> None:
        self.dismiss(None)
