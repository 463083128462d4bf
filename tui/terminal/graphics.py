"""Which images this terminal can show: known by its name where that is certain, else by one question with a time limit."""

from __future__ import annotations

import os
import re
import select
import subprocess
import termios
import time
import tty
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from loratui.engine import children
from loratui.tui.terminal.canvas import window_size

Protocol = Literal["kitty", "iterm", "sixel", "none"]

PATIENCE_S = 2.0
"""Some terminals are far away; one that is silent for longer counts as unable to show images."""
GRACE_S = 4.0
"""For so long after the question, the app waits for the answer before it reads keys again: it would take it for keys."""
_LOOK_S = 0.3
"""How often the size of the window is checked."""

_KITTY_QUERY = b"\x1b_Gi=4242,s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\"
_CELL_QUERY = b"\x1b[16t"
_ATTRIBUTES_QUERY = b"\x1b[c"
"""Every terminal answers this question, in order: its answer ends all answers."""

_ATTRIBUTES = re.compile(rb"\x1b\[\?([0-9;]*)c")
_CELL = re.compile(rb"\x1b\[6;([0-9]+);([0-9]+)t")
_REPORT = re.compile(
    rb"\x1b\[[?>=]?[0-9;]*[cntRuy]|\x1b\[\?[0-9;]*\$y|\x1b_[^\x1b\x07]*(?:\x1b\\|\x07)|\x1b[P\]][^\x1b\x07]*(?:\x1b\\|\x07)"
)
"""What a terminal sends that is not a key."""

_KITTY_LIKE = ("kitty", "ghostty")
_ITERM_LIKE = ("iterm", "wezterm", "vscode", "mintty", "rio")


@dataclass(frozen=True, slots=True)
class Capability:
    """How to draw pixels here."""

    protocol: Protocol
    why: str
    """The source of this knowledge, or why there are no images."""
    cell_px: tuple[int, int] = (10, 20)
    """Width and height of a cell; a guess if terminal and kernel do not tell."""
    tmux: bool = False
    """Whether sequences must be wrapped for tmux."""
    answered: bool = True
    """False while an answer may still be on its way."""
    asked_at: float = 0.0
    """`time.monotonic()` of the question."""


@dataclass(frozen=True, slots=True)
class Tmux:
    """What tmux reports of itself and of the terminal around it."""

    terminal: str
    """Name and version of the terminal around it, such as `xterm-kitty kitty(0.32)`."""
    passthrough: bool
    place: tuple[int, int] = (0, 0)
    """Column and row of the pane in that terminal."""


def by_name(environ: Mapping[str, str], tmux: Tmux | None) -> Capability | None:
    """What the names in the environment say; None where only the terminal itself can tell.

    `LORATUI_PICTURES` (kitty, iterm, sixel or none) overrides everything.
    """
    wanted = environ.get("LORATUI_PICTURES", "")
    if wanted in ("kitty", "iterm", "sixel", "none"):
        # The test above leaves only names of the literal.
        return Capability(wanted, "LORATUI_PICTURES", tmux=tmux is not None and wanted in ("kitty", "iterm"))  # type: ignore[arg-type]
    term = environ.get("TERM", "")
    if term in ("", "dumb", "unknown", "linux"):
        return Capability("none", f"TERM is {term or 'empty'}")
    if tmux is not None:
        outside = _of_names(f"{tmux.terminal} {environ.get('LC_TERMINAL', '')}")
        if outside == "none":
            return None
        if tmux.passthrough:
            return Capability(outside, f"tmux in {tmux.terminal.split()[0] if tmux.terminal else outside}", tmux=True)
        return None
    if "STY" in environ:
        return Capability("none", "GNU screen passes no images on")
    names = " ".join(environ.get(name, "") for name in ("TERM", "TERM_PROGRAM", "LC_TERMINAL"))
    found = _of_names(names) if "KITTY_WINDOW_ID" not in environ else "kitty"
    return Capability(found, "its name") if found != "none" else None


def by_answer(reply: bytes, *, in_tmux: bool) -> Protocol:
    if not in_tmux and b"\x1b_Gi=4242;OK" in reply:
        return "kitty"
    attributes = _ATTRIBUTES.search(reply)
    if attributes and b"4" in attributes.group(1).split(b";")[1:]:
        return "sixel"
    return "none"


def detect(stdin: int, stdout: int, environ: Mapping[str, str]) -> Capability:
    """What this terminal can show. `stdin` must be in raw mode (`raw`); asks at most once, and reads the whole answer."""
    tmux = ask_tmux(environ)
    known = by_name(environ, tmux)
    if known is not None and known.protocol == "none":
        return known
    asked_at = time.monotonic()
    # After ssh from inside tmux only TERM tells of it; tmux would take kitty's question for a window's title.
    far = tmux is None and environ.get("TERM", "").startswith(("tmux", "screen"))
    os.write(stdout, (b"" if known or tmux or far else _KITTY_QUERY) + _CELL_QUERY + _ATTRIBUTES_QUERY)
    reply = read_until(stdin, lambda data: _ATTRIBUTES.search(data) is not None, asked_at + PATIENCE_S)
    answered = _ATTRIBUTES.search(reply) is not None
    cell = _CELL.search(reply)
    told = (int(cell.group(2)), int(cell.group(1))) if cell else (0, 0)
    size = told if all(told) else cell_by_kernel(stdout)
    if known is not None:
        return Capability(known.protocol, known.why, size, known.tmux, answered, asked_at)
    if not answered:
        return Capability("none", f"the terminal did not answer within {PATIENCE_S:g} s", answered=False, asked_at=asked_at)
    protocol = by_answer(reply, in_tmux=tmux is not None or far)
    why = "the terminal's answer" if protocol != "none" else _why_none(environ, tmux, far)
    return Capability(protocol, why, size, answered=True, asked_at=asked_at)


def _why_none(environ: Mapping[str, str], tmux: Tmux | None, far: bool) -> str:
    if tmux is not None and tmux.passthrough:
        outside = f"the terminal around it ({tmux.terminal.split()[0]})" if tmux.terminal else "the terminal around it"
        return f"tmux shows no sixel here, and {outside} is not known for images (LORATUI_PICTURES overrides this)"
    if tmux is not None:
        return "tmux shows no sixel here and passes no images on (set -g allow-passthrough on)"
    if far:
        return f"by its TERM ({environ['TERM']}) you come from inside tmux or screen, which shows no sixel here"
    return "this terminal shows no images"


def ask_tmux(environ: Mapping[str, str]) -> Tmux | None:
    """What tmux reports; None outside tmux."""
    if "TMUX" not in environ:
        return None
    format = "#{client_termname} #{client_termtype}\n#{pane_left} #{pane_top}\n#{allow-passthrough}"
    try:
        said = children.ask("tmux", "display-message", "-p", format, timeout_s=1.0, environ=environ).decode("utf-8", "replace")
        terminal, place, passthrough = [*said.splitlines(), "", "0 0", ""][:3]
        left, top = (int(number) for number in place.split())
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return Tmux("", False)
    # Up to 3.3 tmux calls it 1 or 0, afterwards on, all or off.
    return Tmux(terminal.strip(), passthrough.strip() in ("on", "all", "1"), (left, top))


def cell_by_kernel(fd: int) -> tuple[int, int]:
    """Width and height of a cell in px, from the window's size; 10 × 20 if unknown."""
    rows, columns, width, height = window_size(fd)
    cell = (width // columns, height // rows) if rows and columns else (0, 0)
    return cell if all(cell) else (10, 20)


@contextmanager
def raw(fd: int) -> Iterator[None]:
    """The terminal passes each byte on at once and echoes none; unread bytes are dropped at the end."""
    before = termios.tcgetattr(fd)
    try:
        tty.setraw(fd)
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSAFLUSH, before)


def read_until(fd: int, enough: Callable[[bytes], bool], deadline: float) -> bytes:
    """Bytes until `enough(bytes)` is true, the deadline (`time.monotonic()`), or the end of the terminal."""
    data = b""
    while not enough(data):
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([fd], [], [], left)[0]:
            break
        part = _read(fd)
        if not part:
            break
        data += part
    return data


def _read(fd: int) -> bytes:
    """What has come; empty if the terminal is gone."""
    try:
        return os.read(fd, 4096)
    except OSError:
        return b""


def wait_for_key(fd: int, capability: Capability, *, stale: Callable[[], bool] = lambda: False) -> bool:
    """Returns when a person has pressed a key and no answer of the terminal can still come, or when the terminal is gone.

    A few times a second it asks `stale` whether the image must be drawn again: then it returns early, with False.
    """
    answered, pressed, pending = capability.answered, False, b""
    while not (pressed and (answered or time.monotonic() >= capability.asked_at + GRACE_S)):
        limit_s = max(0.0, capability.asked_at + GRACE_S - time.monotonic()) if pressed else 3600.0
        if not select.select([fd], [], [], min(limit_s, 0.1 if pending else _LOOK_S))[0]:
            # Half a report waits for its other half; a lone escape is a key.
            pressed, pending = pressed or bool(pending), b""
            if not pressed and stale():
                return False
            continue
        part = _read(fd)
        if not part:
            return True
        pending += part
        answered = answered or _ATTRIBUTES.search(pending) is not None
        pending = _REPORT.sub(b"", pending)
        if pending and not pending.startswith(b"\x1b"):
            pressed, pending = True, b""
    return True


def _of_names(names: str) -> Protocol:
    lowered = names.lower()
    if any(name in lowered for name in _KITTY_LIKE):
        return "kitty"
    if any(name in lowered for name in _ITERM_LIKE):
        return "iterm"
    return "none"
