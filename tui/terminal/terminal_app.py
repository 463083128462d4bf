"""An app and its terminal: only what is new is sent, keys come one after another, and a fault leaves a report."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from textual import events
from textual.app import ReturnType
from textual.geometry import Size
from textual.screen import ModalScreen

from loratui.engine.errors import ExitCode
from loratui.tui.terminal import clean, hangup, has_256_colours, has_shell
from loratui.tui.terminal.canvas import Canvas
from loratui.tui.terminal.diff_renderer import DiffRenderer
from loratui.tui.terminal.kept_focus import KeptFocus, is_too_small
from loratui.tui.terminal.key_queue import KeyQueue
from loratui.tui.terminal.output_flow import QUESTION, OutputFlow
from loratui.tui.terminal.textual_private import HookedApp, use_256_colours
from loratui.tui.terminal.window_title import WindowTitle

if TYPE_CHECKING:
    from rich.console import RenderableType
    from textual.driver import Driver

Severity = Literal["information", "warning", "error"]

_AS_WE_DRAW = "\x0f\x1b(B\x1b[r\x1b[?6l\x1b[?7l\x1b[?25l\x1b[0m\x1b[2J"
"""Letters instead of line drawing, no scrolling part, no wrapping, no cursor, no colour, nothing on the screen."""
_KEYS_WHERE_NOTHING_IS_SEEN = ("q", "escape", "ctrl+c", "ctrl+l")
"""What still works in a window that is too small: to leave, and to draw it again."""
_ERRORS_KEPT = 20
_TOLD_S, _GRAVE_S = 6.0, 12.0
"""How long a notice stays, and one of something that went wrong."""


class TerminalApp(HookedApp[ReturnType]):
    """What any full-screen app over SSH needs; what this one is about is in its subclass."""

    FAULT_CODE = int(ExitCode.CRASHED)

    def __init__(self, home: Path) -> None:
        # Without colours the terminal's own ones are kept, rather than shades of grey.
        super().__init__(ansi_color=True if "NO_COLOR" in os.environ else None)
        if self.console.color_system == "standard" and "TEXTUAL_COLOR_SYSTEM" not in os.environ and has_256_colours(os.environ):
            use_256_colours(self.console)
        self.home = home
        self.errors: deque[str] = deque(maxlen=_ERRORS_KEPT)
        """What went wrong in this app, for bug reports."""
        self.crash = ""
        """What to tell of a fault of the app itself; empty while there was none."""
        self.output_flow = OutputFlow()
        """Whether what was painted has come to the person's screen."""
        self.canvas: Canvas | None = None
        """What images are drawn on; not known before the app runs."""
        self.window_title = WindowTitle(self)
        self._grave_until = 0.0
        """Until when (monotonic, s) a notice of something that went wrong is shown."""
        self._sent = DiffRenderer()
        self._keys = KeyQueue(self, super().on_event)
        self._focus_kept = KeptFocus()
        self._sizes_told: deque[Size] = deque(maxlen=3)
        self.animation_level = "none"
        self.HORIZONTAL_BREAKPOINTS = [(0, "-cramped"), (60, "-narrow"), (100, "-wide"), (160, "-very-wide")]
        self.VERTICAL_BREAKPOINTS = [(0, "-low"), (20, "-short"), (32, "-tall")]

    def on_mount(self) -> None:
        """Ends with the terminal, and gives it back on SIGTERM and SIGHUP."""
        self.canvas = Canvas.of(self)
        self.app_resume_signal.subscribe(self, lambda _: self._sent.forget(), immediate=True)
        if not self.is_headless:
            for number in (signal.SIGTERM, signal.SIGHUP):
                if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup wants it
                    asyncio.get_running_loop().add_signal_handler(number, self.action_help_quit)
            hangup.watch(sys.__stdin__.fileno() if sys.__stdin__ else 0)

    def on_ready(self) -> None:
        """From here on only what is new is searched for garbage: a search through all that was loaded holds the screen up."""
        gc.freeze()

    def get_driver_class(self) -> type[Driver]:
        """Ours where Textual would take its own for Linux; tests and TEXTUAL_DRIVER bring others."""
        from textual.drivers.linux_driver import LinuxDriver

        from loratui.tui.terminal.driver import TerminalDriver

        chosen = super().get_driver_class()
        return TerminalDriver if chosen is LinuxDriver else chosen

    # Keys and sizes

    async def on_event(self, event: events.Event) -> None:
        """Keys in their turn, everything else at once."""
        if isinstance(event, (events.Key, events.Paste)) and not event.is_forwarded:
            if isinstance(event, events.Key) and event.key == "ctrl+c" and isinstance(self.screen, ModalScreen):
                self.action_help_quit()  # Textual keeps it from the app while a question is open
            elif not is_too_small(self.size) or (isinstance(event, events.Key) and event.key in _KEYS_WHERE_NOTHING_IS_SEEN):
                await self._keys.take(event)
        elif not (isinstance(event, events.Resize) and self._was_told_at_start(event)):
            await super().on_event(event)

    def _was_told_at_start(self, event: events.Resize) -> bool:
        """Whether it is the second word on the size with which the app begins: Textual says it itself, and then so does its
        driver. To lay out and paint the first screen once more would take a tenth of the time in which it appears."""
        self._sizes_told.append(event.size)
        return not self.is_headless and len(self._sizes_told) == 2 and self._sizes_told[0] == self._sizes_told[1]

    def on_resize(self, event: events.Resize) -> None:
        """Terminals move and drop lines when their size changes, even if it is the old one again by the time we look."""
        self.canvas = Canvas.of(self)
        self._sent.forget()
        self.refresh()
        if is_too_small(event.size):
            self._focus_kept.take(self.screen_stack)
        else:
            self._focus_kept.give_back()

    # Painting

    def before_paint(self, update: RenderableType | None) -> RenderableType | None:
        """Without what the terminal shows already."""
        return self._sent.only_new(update)

    def after_paint(self) -> None:
        """Asks the terminal to say when it has got there."""
        if self.output_flow.painted():
            self.write_to_terminal(QUESTION)

    def on_terminal_supports_synchronized_output(self) -> None:
        """The terminal's answer, which has passed everything that was painted before the question."""
        self.output_flow.answered()

    def action_repaint(self) -> None:
        """Everything again, and the terminal put back into the state that it is drawn in: others may have written to it."""
        self.write_to_terminal(_AS_WE_DRAW)
        self._sent.forget()
        self.refresh()

    def action_suspend_process(self) -> None:
        """To the shell, where there is one to come back from; without one the app would stand still for ever."""
        if has_shell():
            super().action_suspend_process()
        else:
            self.tell("There is no shell here that could bring loratui back; q leaves, and runs go on.")

    # Notices

    def tell(self, words: str, severity: Severity = "information") -> None:
        """A notice that goes by itself; errors are kept for the debug screen."""
        if severity == "error":
            self.errors.append(clean(words, 500))
        now = time.monotonic()
        if severity == "information" and now > self._grave_until:
            # Answers come in quick succession; on 24 rows a pile of them would hide what they are about.
            self.clear_notifications()
        elif severity != "information":
            self._grave_until = now + _GRAVE_S
        self.notify(clean(words), severity=severity, markup=False, timeout=_TOLD_S if severity == "information" else _GRAVE_S)

    def copy(self, text: str, what: str) -> None:
        """Puts text into the clipboard of the person's own terminal (OSC 52), and shows it: not every terminal allows that."""
        self.copy_to_clipboard(clean(text, 100_000))
        self.tell(f"{what} sent to your clipboard: {clean(text, 400)}")

    # Faults

    def on_fault(self, error: Exception) -> None:
        """Writes a report of the first one."""
        from loratui.tui.crash import crash_message, write_crash_report

        if not self.crash:
            self.crash = crash_message(error, write_crash_report(error, self.home, self.errors))

    def note(self, words: str) -> None:
        """Keeps it for bug reports: a mouse that moves says the same again and again."""
        words = clean(words, 200)
        if not self.errors or self.errors[-1] != words:
            self.errors.append(words)
