"""One image in real pixels, drawn while the app is suspended, and again after a resize; any key returns to the app."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from loratui.engine.dataset.display import Room
from loratui.tui.terminal import clean, graphics, pixels
from loratui.tui.terminal.graphics import Capability
from loratui.tui.terminal.thumbnails import upright_image

if TYPE_CHECKING:
    from PIL import Image

_LARGEST_PX = 2400
"""More pixels than a usual screen has would only take longer to send."""

_known: dict[str, Capability] = {}
"""Each terminal is asked once; in tmux, each terminal around it. The key is tmux's report of it."""


def show(path: Path, caption: str) -> str:
    """Draws the image and waits for a key. Returns why there is no image; empty if there was one.

    The app must be suspended. Raises `ThumbnailError` for a file that cannot be shown.
    """
    from PIL import Image

    stdin, stdout = sys.__stdin__, sys.__stdout__
    if stdin is None or stdout is None or not (stdin.isatty() and stdout.isatty()):
        return "there is no terminal"
    shown = upright_image(path, Room(_LARGEST_PX, _LARGEST_PX, enlarge=False))
    image = Image.frombytes("RGB", (shown.width, shown.height), shown.rgb)
    return show_on(stdin.fileno(), stdout.fileno(), image, caption, os.environ)


def show_on(stdin: int, stdout: int, image: Image.Image, caption: str, environ: Mapping[str, str]) -> str:
    with graphics.raw(stdin):
        tmux = graphics.ask_tmux(environ)
        outside = f"{tmux.terminal} {tmux.passthrough}" if tmux else ""
        capability = _known.get(outside) or graphics.detect(stdin, stdout, environ)
        _known[outside] = capability
        if capability.protocol == "none" and capability.answered:
            return capability.why
        forget = pixels.KITTY_FORGET if capability.protocol == "kitty" else b""
        forget = pixels.through_tmux(forget) if capability.tmux and forget else forget
        try:
            _write(stdout, b"\x1b[?1049h\x1b[?25l")
            returned = False
            while not returned:
                size = _size(stdout)
                _write(stdout, forget + b"\x1b[2J\x1b[H")
                _draw(stdout, capability, image, caption, size, environ)
                returned = graphics.wait_for_key(stdin, capability, stale=_Resized(stdout, size))
        finally:
            _write(stdout, forget + b"\x1b[?25h\x1b[?1049l")
        if not capability.answered:
            # Its answer has been waited for, so it is not asked again.
            _known[outside] = graphics.Capability(capability.protocol, capability.why, capability.cell_px, capability.tmux)
    return "" if capability.protocol != "none" else capability.why


class _Resized:
    """Whether the window has a new, stable size: nothing is drawn during a drag."""

    def __init__(self, fd: int, drawn: tuple[int, int]) -> None:
        self._fd = fd
        self._drawn = self._before = drawn

    def __call__(self) -> bool:
        before, self._before = self._before, _size(self._fd)
        return self._before == before != self._drawn


def _size(fd: int) -> tuple[int, int]:
    try:
        columns, rows = os.get_terminal_size(fd)
    except OSError:
        columns = rows = 0
    if not (columns and rows):
        columns, rows = shutil.get_terminal_size()
    return columns, rows


def _draw(
    fd: int, capability: Capability, image: Image.Image, caption: str, size: tuple[int, int], environ: Mapping[str, str]
) -> None:
    columns, rows = size
    for part in _drawing(capability, image, columns, rows - 1, environ):
        _write(fd, part)
    words = clean(caption if capability.protocol != "none" else f"No image: {capability.why}.", 400)
    line = f"any key returns  ·  {words}"[: max(1, columns - 1)]
    _write(fd, f"\x1b[{rows};1H\x1b[0m{line}".encode("utf-8", "replace"))


def _drawing(capability: Capability, image: Image.Image, columns: int, rows: int, environ: Mapping[str, str]) -> list[bytes]:
    """The bytes that draw the image in the upper left of so many cells."""
    if capability.protocol == "none":
        return []
    width, height = capability.cell_px
    shown = pixels.fitted(image, min(_LARGEST_PX, columns * width), min(_LARGEST_PX, rows * height))
    cells = max(1, min(columns, round(shown.width / width))), max(1, min(rows, round(shown.height / height)))
    if capability.protocol == "sixel":
        return list(pixels.sixel(shown))
    parts = list(pixels.kitty(shown, *cells) if capability.protocol == "kitty" else pixels.iterm(shown, *cells))
    if not capability.tmux:
        return parts
    tmux = graphics.ask_tmux(environ)
    left, top = tmux.place if tmux else (0, 0)
    # tmux does not move the outer cursor before it passes a sequence on.
    at = f"\x1b7\x1b[{top + 1};{left + 1}H".encode()
    return [pixels.through_tmux(part) for part in (at, *parts, b"\x1b8")]


def _write(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]
