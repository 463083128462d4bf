"""Stands in for face detectors that misbehave in a worker of the deep pass."""

from __future__ import annotations

import os
import signal
import time
from typing import Any


class _OnAColour:
    def __init__(self, crash: bool) -> None:
        self._crash = crash

    def detect(self, image: Any) -> list[object]:
        if image.getpixel((0, 0)) == (1, 2, 3):
            if self._crash:
                os.kill(os.getpid(), signal.SIGSEGV)
            time.sleep(60)
        return []


def crashes_on_a_colour() -> _OnAColour:
    """A detector that kills its process at an image of the colour (1, 2, 3)."""
    return _OnAColour(crash=True)


def hangs_on_a_colour() -> _OnAColour:
    """A detector that does not return from such an image."""
    return _OnAColour(crash=False)


def fails_to_begin() -> object:
    """A detector whose weights are damaged."""
    raise RuntimeError("the network cannot be read")


class _Fails:
    def detect(self, image: Any) -> list[object]:
        raise RuntimeError("the network does not fit the image")


def fails() -> _Fails:
    """A detector that fails at every image."""
    return _Fails()
