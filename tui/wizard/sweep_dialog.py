"""Asks which settings a sweep goes through, and says what it comes to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input

from loratui.engine.errors import LoratuiError
from loratui.engine.planning.sweep import Over, Variant, parse_over, variants
from loratui.presets.schema import SchemaError
from loratui.tui.terminal import clean
from loratui.tui.text import count, duration
from loratui.tui.widgets.line import Line, plain

if TYPE_CHECKING:
    from pathlib import Path

    from loratui.engine.machine.accelerator import Accelerator
    from loratui.engine.planning.recipe import Recipe

_LINES = ("rank=8,16,32", "learning_rate=5e-5,1e-4", "")
"""Examples; every line is one setting."""


class SweepDialog(ModalScreen[tuple[Over, ...] | None]):
    """Gives the settings with their values; None for no sweep."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave_it", priority=True)]

    def __init__(self, recipe: Recipe, run_s: float | None) -> None:
        super().__init__()
        self._recipe, self._run_s = recipe, run_s

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Line(plain("A sweep: every combination is a run", "bold $accent"))
            yield Line(plain("One setting a line with its values. The runs wait in the queue and are compared.", "$muted"))
            for at, example in enumerate(_LINES):
                yield Input(placeholder=example, id=f"sweep-over-{at}", compact=True, max_length=500)
            yield Line(id="sweep-comes-to")
            yield Line(plain("enter starts them · tab goes to the next line · esc changes nothing", "$muted"))

    def on_mount(self) -> None:
        self.query_one("#sweep-over-0", Input).focus()
        self._say()

    def action_leave_it(self) -> None:
        self.dismiss(None)

    @on(Input.Changed)
    def _say(self) -> None:
        """What it comes to, or what is wrong."""
        line = self.query_one("#sweep-comes-to", Line)
        try:
            _, found = self._read()
        except (LoratuiError, SchemaError) as error:
            line.say(plain(clean(str(error)), "$muted" if self._is_empty else "$error"))
            return
        takes = f", about {duration(self._run_s * len(found))} of training" if self._run_s else ""
        line.say(plain(clean(f"{count(len(found), 'run')}{takes}: {found[0].words}; …; {found[-1].words}")))

    @on(Input.Submitted)
    def _end(self, event: Input.Submitted) -> None:
        event.stop()
        try:
            overs, _ = self._read()
        except (LoratuiError, SchemaError):
            self._say()
        else:
            self.dismiss(overs)

    @property
    def _typed(self) -> list[str]:
        return [text for one in self.query(Input) if (text := one.value.strip())]

    @property
    def _is_empty(self) -> bool:
        return not self._typed

    def _read(self) -> tuple[tuple[Over, ...], tuple[Variant, ...]]:
        overs = tuple(parse_over(text) for text in self._typed)
        return overs, variants(self._recipe, overs)


def make_sweep(recipe: Recipe, overs: Sequence[Over], home: Path, machine: Accelerator) -> str:
    """Makes all runs and puts them into the queue; the name of the sweep. Raises `LoratuiError` that names the run that cannot be."""
    from loratui.tui.commands.sweep import make_all, prepare_all

    found = variants(recipe, overs)
    return make_all(found, prepare_all(found, home, machine), overs, home).name
