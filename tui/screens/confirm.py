"""A question before an action that cannot be undone."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen

from loratui.tui.widgets.line import Line, joined, plain


class ConfirmScreen(ModalScreen[bool]):
    """Asks; `y` means yes, every usual key for no means no."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "dismiss(True)"),
        Binding("n,escape,q", "dismiss(False)"),
    ]

    def __init__(self, question: str, details: str, yes: str) -> None:
        super().__init__()
        self._question = question
        self._details = details
        self._yes = yes

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Line(plain(self._question, "bold"))
            *before, last = self._details.split("\n")
            for line in before:
                yield Line(plain(line, "$muted"), classes="tight")
            yield Line(plain(last, "$muted"))
            yield Line(
                joined(plain("y", "bold $accent"), f"  {self._yes}      ", plain("n", "bold $accent"), "  no"),
                classes="answers",
            )
