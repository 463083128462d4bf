"""What images of half blocks are drawn on: how many colours the terminal has, and which shape its cells."""

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
"""How a terminal that has all colours gets to show them: ssh does not pass COLORTERM on."""


class FewColoursSeen(Message):
    """An image was drawn in 256 colours."""


@dataclass(frozen=True, slots=True)
class Canvas:
    """The terminal, as far as it matters to images of half blocks."""

    only_words: str = ""
    """Why words stand for images; empty where images are drawn."""
    few_colours: bool = False
    """Whether only the 256 colours that every terminal has can be used."""
    shape: float = 1.0
    """Width of a cell divided by half its height."""

    @classmethod
    def of(cls, app: App[Any]) -> Canvas:
        """The terminal of an app."""
        shape = 1.0 if app.is_headless or sys.__stdout__ is None else half_cell(sys.__stdout__.fileno())
        if app.no_color:
            return cls("(no colours here)", shape=shape)
        colours = app.console.color_system
        # With 16 colours nothing can be recognised.
        words = "(too few colours here)" if colours in ("standard", "windows") else ""
        return cls(words, colours not in ("truecolor", None), shape)


def canvas_of(app: App[Any]) -> Canvas:
    """The terminal, as the app knows it; it looks again when the size changes."""
    known: Canvas | None = getattr(app, "canvas", None)
    return known or Canvas.of(app)


def half_cell(fd: int) -> float:
    """Width of a cell divided by half its height, by the window's size in pixels; 1 where that is not told or makes no sense."""
    try:
        rows, columns, width, height = struct.unpack("HHHH", fcntl.ioctl(fd, termios.TIOCGWINSZ, bytes(8)))
    except OSError:
        return 1.0
    if not (rows and columns and width and height):
        return 1.0
    shape: float = round(2 * width * rows / (columns * height), 2)
    return shape if 0.5 <= shape <= 2 else 1.0
