"""Ctrl-C in a command that keeps what it has, and still tells of it."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any

INTERRUPTED = 130


class Ended:
    """Whether Ctrl-C was pressed: what is done is kept, and the next call does the rest."""

    def __init__(self) -> None:
        self._pressed = False
        self._before: Any = None

    def __call__(self) -> bool:
        return self._pressed

    def __enter__(self) -> Ended:
        self._before = signal.signal(signal.SIGINT, self._press)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self._before)

    def _press(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self._pressed = True
