"""What the screen is for and which keys work on it, generated from the table of keys."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen

from loratui.tui.bindings import CONTEXTS, keys_of
from loratui.tui.widgets.line import Line, plain

_WORDS = (
    ("image-step", "one picture shown to the model once"),
    ("optimizer step", "one update of the weights, after a whole batch"),
    ("epoch", "one pass over all pictures, each as often as its repeats say"),
    ("trigger", "the made-up word that stands for your subject"),
)


class HelpScreen(ModalScreen[None]):
    """Help for one screen."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,question_mark,f1,enter", "dismiss")]

    def __init__(self, context: str) -> None:
        super().__init__()
        self._explained = context

    def compose(self) -> ComposeResult:
        """Purpose, keys, words."""
        about = CONTEXTS[self._explained]
        with VerticalScroll(classes="dialog help"):
            yield Line(plain(about.title, "bold $accent"))
            yield Line(plain(about.help))
            yield Line(_table((key.shown, key.help) for key in keys_of(self._explained)), classes="table")
            yield Line(_table(_WORDS), classes="table")
            yield Line(plain("esc closes this help", "$muted"))


def _table(rows: Iterable[tuple[str, str]]) -> Content:
    pairs = list(rows)
    width = max(len(left) for left, _ in pairs)
    return Content("\n").join([Content.assemble((left.ljust(width + 2), "bold"), right) for left, right in pairs])
