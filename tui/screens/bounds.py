"""Asks how long a stalled trainer, and a disk that takes nothing, is waited for before a run is ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input

from loratui.engine.errors import LoratuiError
from loratui.engine.runs.bounds import Bounds
from loratui.presets.schema import SchemaError
from loratui.tui.widgets.line import Line, plain

_FIELDS = {
    "end_stalled_after_s": "Seconds until a stalled trainer is ended and restarted (0: never)",
    "end_disk_wait_after_h": "Hours until a run that waits for its disk is ended (0: never)",
}


class BoundsScreen(ModalScreen[None]):
    """A field for each bound; what is typed holds once the screen is closed by `enter`."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss", priority=True)]

    def __init__(self, chosen: Bounds, change: Callable[[Mapping[str, Any]], object]) -> None:
        """`change` takes values by their names. It raises `LoratuiError`, `SchemaError`."""
        super().__init__()
        self._chosen, self._change = asdict(chosen), change

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Line(plain("How long to wait", "bold $accent"))
            for name, label in _FIELDS.items():
                yield Line(plain(label, "$muted"))
                yield Input(f"{self._chosen[name]:g}", id=name, type="number", max_length=8, compact=True)
            yield Line(id="bounds-said")
            yield Line(plain("enter saves · tab: next field · esc changes nothing", "$muted"))

    def on_mount(self) -> None:
        self.query_one(Input).focus()

    @on(Input.Submitted)
    def _submit(self, event: Input.Submitted) -> None:
        event.stop()
        try:
            typed = {name: float(self.query_one(f"#{name}", Input).value) for name in _FIELDS}
            self._change({name: value for name, value in typed.items() if value != self._chosen[name]})
        except (LoratuiError, SchemaError) as error:
            self.query_one("#bounds-said", Line).say(plain(str(error), "$error"))
        except ValueError:
            self.query_one("#bounds-said", Line).say(plain("Type a number in each field.", "$error"))
        else:
            self.dismiss()
