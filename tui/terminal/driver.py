"""Textual's driver for terminals that send invalid UTF-8. Its threads report their faults instead of dying silently."""

from __future__ import annotations

import os
import re
import select
import sys
import time
from codecs import getincrementaldecoder
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TextIO, cast

from textual import events

from loratui.engine.cleaning import without_escapes
from loratui.tui.terminal import hangup
from loratui.tui.terminal.textual_private import HookedApp, HookedDriver, XTermParser

if TYPE_CHECKING:
    from textual.message import Message


_LOOK_S = 0.1
"""How often the reading thread checks whether the app ends, and whether an escape was a key by itself."""
_READ_BYTES = 4096

_PASTE, _PASTE_END = "\x1b[200~", "\x1b[201~"
_NO_TEXT = {0: None, 0x1B: None}
_PASTE_SILENCE_S = 5.0
"""After so long a silence within a paste, its end counts as lost: until it came, the app would hear no key."""

_OLD_MOUSE = re.compile(rb"\x1b\[M[\x20-\xff]{3}", re.DOTALL)
"""A mouse event in X10's encoding: button, column and row as a byte each, 32 added. From column 96 it is invalid UTF-8."""
_OLD_MOUSE_BEGUN = re.compile(rb"\x1b\[M[\x20-\xff]{0,2}\Z", re.DOTALL)


class TypedText:
    """Decodes what a terminal sends: drops mouse events in bytes, and turns other invalid UTF-8 into U+FFFD."""

    def __init__(self) -> None:
        self._decode = getincrementaldecoder("utf-8")("replace").decode
        self._held = b""

    def take(self, data: bytes) -> str:
        """The decoded text; half a character or mouse event waits for the next call."""
        data = _OLD_MOUSE.sub(b"", self._held + data)
        begun = _OLD_MOUSE_BEGUN.search(data)
        self._held = data[begun.start() :] if begun else b""
        return self._decode(data[: len(data) - len(self._held)])

    def rest(self) -> str:
        """The kept bytes, when nothing completes them: some terminals send `ESC [ M` for a key."""
        held, self._held = self._held, b""
        return self._decode(held)


class Keys:
    """Turns what a terminal sends into events. Drops sequences with absurd numbers (a key beyond Unicode, a window of no
    pixels): the parser raises over them and is unusable afterwards.

    Pastes do not reach the parser. It would read keys after an escape within one: text from a web page could press keys, and
    so could the terminal's answer to our question amid a long paste.
    """

    def __init__(self, left_out: Callable[[str], None]) -> None:
        self._text = TypedText()
        self._parser = XTermParser()
        self._left_out = left_out
        self._pasted: list[str] | None = None
        self._recent = ""
        """The last characters read: a mark may be cut by the next read."""
        self._heard = 0.0

    def take(self, data: bytes) -> Iterable[Message]:
        """The events of `data`; call it with no bytes after a wait in vain, so a lone escape becomes a key and a paste
        without its end is released."""
        text = self._text.take(data) if data else self._text.rest()
        now = time.monotonic()
        if text:
            self._heard = now
        elif self._pasted is not None and now - self._heard > _PASTE_SILENCE_S:
            self._left_out("The terminal sent a paste without its end; loratui used what arrived.")
            yield self._paste(self._pasted)
        while text:
            if self._pasted is None:
                typed, found, text = self._until(_PASTE, text)
                for character in typed.removesuffix(_PASTE):
                    yield from self._feed(character)
                if found:
                    self._parser, self._pasted = _anew(self._parser), []  # it may hold a part of the mark
            else:
                part, found, text = self._until(_PASTE_END, text)
                self._pasted.append(part)
                if found:
                    yield self._paste(self._pasted)
        yield from self._parser.tick()

    def _feed(self, character: str) -> Iterable[Message]:
        try:
            yield from self._parser.feed(character)
        except (ValueError, ArithmeticError) as error:
            self._parser = _anew(self._parser)
            self._left_out(f"loratui ignored a sequence of the terminal: {error}")

    def _until(self, mark: str, text: str) -> tuple[str, bool, str]:
        """`text` up to the end of `mark`, whether it is there, and the rest; the text before may hold its beginning."""
        seen = self._recent + text
        place = seen.find(mark)
        if place < 0:
            self._recent = seen[1 - len(mark) :]
            return text, False, ""
        end = place + len(mark) - len(self._recent)
        self._recent = ""
        return text[:end], True, text[end:]

    def _paste(self, parts: list[str]) -> events.Paste:
        self._pasted, self._recent = None, ""
        return events.Paste(without_escapes("".join(parts).removesuffix(_PASTE_END)).translate(_NO_TEXT))


def _anew(parser: XTermParser) -> XTermParser:
    """A fresh parser that keeps what the old one knew of the terminal."""
    fresh = XTermParser()
    fresh.mouse_pixels, fresh.terminal_size = parser.mouse_pixels, parser.terminal_size
    fresh.terminal_pixel_size = parser.terminal_pixel_size
    return fresh


class Screen:
    """The terminal as a file that a thread writes to. After a fault, reported once, it accepts everything and writes nothing:
    the app would wait for a dead thread for ever."""

    def __init__(self, stream: TextIO, failed: Callable[[BaseException], None]) -> None:
        stream.flush()  # from here on the descriptor is written to directly
        self._fd = stream.fileno()
        self._encoding = stream.encoding
        self._failed = failed
        self._broken = False

    def write(self, text: str) -> int:
        """Writes everything, however slow the terminal is, even where another program made it non-blocking."""
        data = memoryview(text.encode(self._encoding, "replace"))
        while data and not self._broken:
            try:
                data = data[os.write(self._fd, data) :]
            except BlockingIOError:
                select.select([], [self._fd], [])
            except OSError as error:
                self._broken = True
                if not hangup.is_gone(self._fd):
                    self._failed(error)
        return len(text)

    def flush(self) -> None:
        """Does nothing: writes are not buffered."""

    def fileno(self) -> int:
        return self._fd


class TerminalDriver(HookedDriver):
    """Reads and writes the terminal of an app. Where the terminal is gone, `hangup` ends the process."""

    def __init__(self, app: HookedApp[Any], **options: Any) -> None:
        super().__init__(app, **options)
        self._failed = app.fail_from_thread
        self._note = app.note
        self.write_to(Screen(cast(TextIO, sys.__stderr__), self._failed))

    def on_fault(self, error: BaseException) -> None:
        if not (isinstance(error, OSError) and hangup.is_gone(self.fileno)):
            self._failed(error)

    def run_input_thread(self) -> None:
        keys = Keys(self._note)
        while not self.exit_event.is_set():
            for event in keys.take(self._read()):
                self.process_message(event)

    def _read(self) -> bytes:
        if not select.select([self.fileno], [], [], _LOOK_S)[0]:
            return b""
        try:
            data = os.read(self.fileno, _READ_BYTES)
        except BlockingIOError:  # another program made the terminal non-blocking, and read the bytes
            return b""
        if not data:
            self.exit_event.wait(_LOOK_S)  # at the end of the input there is always something to read
        return data
