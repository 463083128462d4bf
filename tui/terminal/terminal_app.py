"""The app's terminal: sends only changed cells, handles keys one after another, and writes a report of a fault."""

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
"""Letters instead of line drawing, no scroll region, no wrapping, no cursor, no colour, an empty screen."""
_KEYS_WHERE_NOTHING_IS_SEEN = ("q", "escape", "ctrl+c", "ctrl+l")
"""Keys for leaving and repainting still work in a window that is too small."""
_ERRORS_KEPT = 20
_TOLD_S, _GRAVE_S = 6.0, 12.0
"""How long a notice stays, and a notice of a problem."""


class TerminalApp(HookedApp[ReturnType]):
    """What any full-screen app over SSH needs; the subclass adds what loratui is about."""

    FAULT_CODE = int(ExitCode.CRASHED)

    def __init__(self, home: Path) -> None:
        # NO_COLOR keeps the terminal's own colours instead of shades of grey.
        super().__init__(ansi_color=True if "NO_COLOR" in os.environ else None)
        if self.console.color_system == "standard" and "TEXTUAL_COLOR_SYSTEM" not in os.environ and has_256_colours(os.environ):
            use_256_colours(self.console)
        self.home = home
        self.errors: deque[str] = deque(maxlen=_ERRORS_KEPT)
        """Problems in this app, for bug reports."""
        self.crash = ""
        """The message about a fault of the app itself; empty without one."""
        self.output_flow = OutputFlow()
        self.canvas: Canvas | None = None
        """None before the app runs."""
        self.window_title = WindowTitle(self)
        self._grave_until = 0.0
        """Until when (monotonic, s) the notice of a problem is shown."""
        self._sent = DiffRenderer()
        self._keys = KeyQueue(self, super().on_event)
        self._focus_kept = KeptFocus()
        self._sizes_told: deque[Size] = deque(maxlen=3)
        self.animation_level = "none"
        self.HORIZONTAL_BREAKPOINTS = [(0, "-cramped"), (60, "-narrow"), (100, "-wide"), (160, "-very-wide")]
        self.VERTICAL_BREAKPOINTS = [(0, "-low"), (20, "-short"), (32, "-tall")]

    def on_mount(self) -> None:
        """Ends the app with its terminal, and restores the terminal on SIGTERM and SIGHUP."""
        self.canvas = Canvas.of(self)
        self.app_resume_signal.subscribe(self, lambda _: self._sent.forget(), immediate=True)
        if not self.is_headless:
            for number in (signal.SIGTERM, signal.SIGHUP):
                if signal.getsignal(number) is not signal.SIG_IGN:  # nohup ignores it
                    asyncio.get_running_loop().add_signal_handler(number, self.action_help_quit)
            hangup.watch(sys.__stdin__.fileno() if sys.__stdin__ else 0)

    def on_ready(self) -> None:
        """Exempts all loaded objects from garbage collection: searching them delays the screen."""
        gc.freeze()

    def get_driver_class(self) -> type[Driver]:
        """Our driver instead of Textual's for Linux; tests and TEXTUAL_DRIVER choose others."""
        from textual.drivers.linux_driver import LinuxDriver

        from loratui.tui.terminal.driver import TerminalDriver

        chosen = super().get_driver_class()
        return TerminalDriver if chosen is LinuxDriver else chosen

    # Keys and sizes

    async def on_event(self, event: events.Event) -> None:
        if isinstance(event, (events.Key, events.Paste)) and not event.is_forwarded:
            if isinstance(event, events.Key) and event.key == "ctrl+c" and isinstance(self.screen, ModalScreen):
                self.action_help_quit()  # Textual withholds it from the app while a dialog is open
            elif not is_too_small(self.size) or (isinstance(event, events.Key) and event.key in _KEYS_WHERE_NOTHING_IS_SEEN):
                await self._keys.take(event)
        elif not (isinstance(event, events.Resize) and self._was_told_at_start(event)):
            await super().on_event(event)

    def _was_told_at_start(self, event: events.Resize) -> bool:
        """Whether the event repeats the size at start: Textual sends it, then its driver does. A second layout and paint of
        the first screen would take a tenth of the time until it appears."""
        self._sizes_told.append(event.size)
        return not self.is_headless and len(self._sizes_told) == 2 and self._sizes_told[0] == self._sizes_told[1]

    def on_resize(self, event: events.Resize) -> None:
        """Repaints everything: terminals move and drop lines in a resize, even if the size is the same afterwards."""
        self.canvas = Canvas.of(self)
        self._sent.forget()
        self.refresh()
        if is_too_small(event.size):
            self._focus_kept.take(self.screen_stack)
        else:
            self._focus_kept.give_back()

    # Painting

    def before_paint(self, update: RenderableType | None) -> RenderableType | None:
        return self._sent.only_new(update)

    def after_paint(self) -> None:
        """Asks the terminal to answer when the paint arrives."""
        if self.output_flow.painted():
            self.write_to_terminal(QUESTION)

    def on_terminal_supports_synchronized_output(self) -> None:
        """Takes the terminal's answer, which proves that everything before the question arrived."""
        self.output_flow.answered()

    def action_repaint(self) -> None:
        """Resets the terminal's state and repaints everything: other programs may have written to it."""
        self.write_to_terminal(_AS_WE_DRAW)
        self._sent.forget()
        self.refresh()

    def action_suspend_process(self) -> None:
        """Suspends the app if a shell can bring it back; without one it would hang for ever."""
        if has_shell():
            super().action_suspend_process()
        else:
            self.tell("There is no shell here that could bring loratui back; q leaves, and runs go on.")

    # Notices

    def tell(self, words: str, severity: Severity = "information") -> None:
        """Shows a notice for a few seconds; errors are kept for the debug screen."""
        if severity == "error":
            self.errors.append(clean(words, 500))
        now = time.monotonic()
        if severity == "information" and now > self._grave_until:
            # Notices follow each other quickly; on 24 rows a pile of them would hide the screen.
            self.clear_notifications()
        elif severity != "information":
            self._grave_until = now + _GRAVE_S
        self.notify(clean(words), severity=severity, markup=False, timeout=_TOLD_S if severity == "information" else _GRAVE_S)

    def copy(self, text: str, what: str) -> None:
        """Copies text to the clipboard of the person's terminal (OSC 52), and shows it: not every terminal allows that."""
        self.copy_to_clipboard(clean(text, 100_000))
        self.tell(f"{what} sent to your clipboard: {clean(text, 400)}")

    # Faults

    def on_fault(self, error: Exception) -> None:
        """Writes a report of the first fault."""
        from loratui.tui.crash import crash_message, write_crash_report

        if not self.crash:
            self.crash = crash_message(error, write_crash_report(error, self.home, self.errors))

    def note(self, words: str) -> None:
        """Keeps a problem for bug reports, once: a moving mouse repeats it."""
        words = clean(words, 200)
        if not self.errors or self.errors[-1] != words:
            self.errors.append(words)
