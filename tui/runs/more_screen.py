"""Asks how to go on from a run that has ended: epochs more, or a new run that begins with its weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList
from textual.widgets.option_list import Option

from loratui.tui.widgets.line import Line, plain

_WAYS = {
    "stretch": "epochs more, with its optimizer; learning rate stretched over all epochs",
    "restart": "epochs more, with its optimizer; learning rate from its beginning",
    "weights": "a new run that begins with its weights: other images or settings",
}


@dataclass(frozen=True, slots=True)
class More:
    """What was chosen."""

    way: Literal["stretch", "restart", "weights"]
    epochs: int


class MoreScreen(ModalScreen[More | None]):
    """Gives the choice; None if there is none. The plan step shows what it comes to."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave_it", priority=True)]

    def __init__(self, name: str, epochs: int) -> None:
        super().__init__()
        self._from_run, self._epochs = name, epochs

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Line(plain(f"More from {self._from_run}", "bold $accent"))
            yield Line(plain("In a new run; this one stays as it is.", "$muted"))
            yield Line("Epochs more:", id="more-label")
            yield Input(str(self._epochs), id="more-epochs", type="integer", max_length=6, compact=True)
            yield OptionList(*(Option(plain(words), id=way) for way, words in _WAYS.items()), id="more-ways", markup=False)
            yield Line(plain("enter opens the plan · tab goes to the number · esc changes nothing", "$muted"))

    def on_mount(self) -> None:
        self.query_one(OptionList).focus()

    def action_leave_it(self) -> None:
        self.dismiss(None)

    @on(Input.Submitted)
    def _to_the_ways(self, event: Input.Submitted) -> None:
        event.stop()
        self.query_one(OptionList).focus()

    @on(OptionList.OptionSelected)
    def _choose(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        text = self.query_one(Input).value.strip()
        if not text.isdecimal() or not 1 <= int(text) <= 100_000:
            self.query_one("#more-label", Line).say(plain("Epochs more: a number from 1 on.", "$error"))
            return
        ways: dict[str, Literal["stretch", "restart", "weights"]] = {
            "stretch": "stretch",
            "restart": "restart",
            "weights": "weights",
        }
        self.dismiss(More(ways[str(event.option_id)], int(text)))
