"""Masks that are being made for the dataset step: asked for in a dialog, made in a thread, and ended with the step."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.screen import ModalScreen

from loratui.engine.dataset import mask_making
from loratui.engine.errors import LoratuiError
from loratui.tui import text
from loratui.tui.widgets.line import Line, joined, plain

if TYPE_CHECKING:
    from loratui.engine.dataset.scan import DatasetScan

_TELL_EVERY_S = 0.7
"""Least time between two reports: each makes the screen say something new."""
Tell = Callable[[Message], object]


@dataclass
class MasksGo(Message):
    """How far the masks are."""

    words: str


@dataclass
class MasksEnded(Message):
    """No more masks are made."""

    words: str
    problem: bool = False


class Masking:
    """What the model of the dataset step knows of it. `start` begins a thread of the step's screen."""

    def __init__(self, home: Callable[[], Path], start: Callable[[str, str, Callable[[], Message | None]], None]) -> None:
        self._home, self._start = home, start
        self.words = ""
        """How far it is; empty while no masks are made."""
        self._stop = threading.Event()

    def begin(self, scan: DatasetScan, kind: str, tell: Tell) -> None:
        """Makes the masks that are missing. The person has agreed to the download."""
        self.words, self._stop = "masks: getting the model", threading.Event()
        self._start("masks", "make masks", partial(make, scan, kind, self._home(), tell, self._stop.is_set))

    def stop(self) -> None:
        """What was made stays."""
        self._stop.set()


def make(scan: DatasetScan, kind: str, home: Path, tell: Tell, cancelled: Callable[[], bool]) -> MasksEnded:
    """Makes masks in this thread."""
    told = 0.0

    def progress(done: int, total: int) -> None:
        nonlocal told
        if time.monotonic() - told >= _TELL_EVERY_S:
            told = time.monotonic()
            tell(MasksGo(f"masks {text.number(done)} of {text.number(total)}"))

    try:
        weights = mask_making.fetch(kind, home)
        made = mask_making.make(scan, kind, weights, progress=progress, cancelled=cancelled)
    except LoratuiError as error:
        return MasksEnded(str(error), problem=True)
    without = len(made.nothing) + len(made.failed)
    rest = f" {text.count(without, 'image')} without: no {kind} found, or not readable." if without else ""
    return MasksEnded(f"{text.count(len(made.made), 'mask')} made.{rest} m over an image shows its mask.")


class MasksScreen(ModalScreen[str]):
    """Asks what the masks are to mark; no answer is given by every usual key for no."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("p", "dismiss('person')"),
        Binding("f", "dismiss('face')"),
        Binding("n,escape,q", "dismiss('')"),
    ]

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Line(plain("Make the masks that are missing, beside the images?", "bold"))
            yield Line(plain("They weight the loss. Downloaded once, unless it is here:", "$muted"), classes="tight")
            for kind, what in (("person", "persons"), ("face", "faces")):
                yield Line(plain(f"{what}: {mask_making.offer(kind)}", "$muted"), classes="tight")
            yield Line(
                joined(
                    plain("p", "bold $accent"),
                    "  persons      ",
                    plain("f", "bold $accent"),
                    "  faces      ",
                    plain("n", "bold $accent"),
                    "  no",
                ),
                classes="answers",
            )
