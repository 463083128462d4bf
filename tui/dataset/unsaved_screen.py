"""What is to become of captions that are not saved."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen

from loratui.tui import text
from loratui.tui.dataset.model import DatasetModel
from loratui.tui.widgets.line import Line, joined, plain

UNSAVED = "Training reads the caption files. Unsaved edits are not trained on; they stay here for later."
UNSAVED_AT_THE_END = "They are not in the caption files yet. Unsaved, they stay with the draft, on this machine only."


class UnsavedScreen(ModalScreen[str | None]):
    """Asks what is to become of captions that are not saved: `save`, `keep`, or None to stay."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("s", "answer('save')"),
        Binding("k", "answer('keep')"),
        Binding("escape,n,q", "stay"),
    ]
    DEFAULT_CSS = """
    UnsavedScreen { align: center middle; background: $background 60%; }
    """

    def __init__(self, count: int, details: str, then: str = "go on") -> None:
        super().__init__()
        self._count = count
        self._details = details
        self._then = then

    def compose(self) -> ComposeResult:
        keys = (("s", f"save them and {self._then}"), ("k", f"{self._then} without saving"), ("esc", "stay here"))
        with Vertical(classes="dialog"):
            yield Line(plain(f"{text.count(self._count, 'caption')} not saved", "bold"))
            yield Line(plain(self._details, "$muted"))
            for key, words in keys:
                yield Line(joined(plain(key, "bold $accent"), f"  {words}"), classes="answers")

    def action_answer(self, answer: str) -> None:
        self.dismiss(answer)

    def action_stay(self) -> None:
        self.dismiss(None)


def ask_about_unsaved(app: App[Any], model: DatasetModel, then: Callable[[], None], details: str, what: str = "go on") -> bool:
    """Asks the person, and calls `then` once the captions are saved or need not be. False: there is nothing to ask."""

    def answered(answer: str | None) -> None:
        if answer == "save":
            model.save_captions(then)
        elif answer == "keep":
            then()

    edits = model.edits
    if edits is None or not edits.unsaved:
        return False
    app.push_screen(UnsavedScreen(edits.unsaved, details, what), answered)
    return True
