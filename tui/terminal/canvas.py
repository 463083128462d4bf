"""The terminal as a canvas for images of half blocks: its colours, and the shape of its cells."""

from __future__ import annotations

import fcntl
import struct
import sys
import termios
from dataclasses import dataclass
from typing import Any

from textual.app import App
from textual.message import Message

TO_TRUE_COLOUR = "export COLORTERM=truecolor on this machine, in tmux also: tmux set -as terminal-features ',*:RGB'"
"""How to get all colours of the terminal: ssh does not pass COLORTERM on."""


class FewColoursSeen(Message):
    """An image was drawn in 256 colours."""


@dataclass(frozen=True, slots=True)
class Canvas:
    """What images of half blocks need to know of the terminal."""

    only_words: str = ""
    """Why words replace images; empty where images are drawn."""
    few_colours: bool = False
    """Whether there are only the 256 colours that every terminal has."""
    shape: float = 1.0
    """Width of a cell divided by half its height."""

    @classmethod
    def of(cls, app: App[Any]) -> Canvas:
        shape = 1.0 if app.is_headless or sys.__stdout__ is None else half_cell(sys.__stdout__.fileno())
        if app.no_color:
            return cls("(no colours here)", shape=shape)
        colours = app.console.color_system
        # With 16 colours no image is recognisable.
        words = "(too few colours here)" if colours in ("standard", "windows") else ""
        return cls(words, colours not in ("truecolor", None), shape)


def canvas_of(app: App[Any]) -> Canvas:
    """The app's canvas; the app measures again when the size changes."""
    known: Canvas | None = getattr(app, "canvas", None)
    return known or Canvas.of(app)


def half_cell(fd: int) -> float:
    """Width of a cell divided by half its height, by the window's size in pixels; 1 where that is unknown or absurd."""
    rows, columns, width, height = window_size(fd)
    if not (rows and columns and width and height):
        return 1.0
    shape: float = round(2 * width * rows / (columns * height), 2)
    return shape if 0.5 <= shape <= 2 else 1.0


def window_size(fd: int) -> tuple[int, int, int, int]:
    """The terminal's rows and columns, and its width and height in px, which tmux and ssh pass on; 0 where unknown."""
    try:
        rows, columns, width, height = struct.unpack("HHHH", fcntl.ioctl(fd, termios.TIOCGWINSZ, bytes(8)))
    except OSError:
        return 0, 0, 0, 0
    return rows, columns, width, height
