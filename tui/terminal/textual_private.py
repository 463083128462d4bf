"""The only module that uses private names of Textual: after an update, the canary test lists those that are gone."""

from __future__ import annotations

from typing import Any

from rich.color import ColorSystem
from rich.console import Console, RenderableType
from textual._compositor import ChopsUpdate as ChopsUpdate
from textual._compositor import CompositorUpdate as CompositorUpdate
from textual._compositor import LayoutUpdate as LayoutUpdate
from textual._xterm_parser import XTermParser as XTermParser
from textual.app import App, ReturnType
from textual.drivers.linux_driver import LinuxDriver
from textual.keys import _character_to_key
from textual.message_pump import MessagePump
from textual.screen import Screen


class HookedApp(App[ReturnType]):
    """An app whose subclass sees each paint before it is sent, and handles faults."""

    FAULT_CODE = 1
    """Exit code after a fault."""

    def before_paint(self, update: RenderableType | None) -> RenderableType | None:
        """The update to paint instead of `update`."""
        return update

    def after_paint(self) -> None:
        """Called after each paint."""

    def on_fault(self, error: Exception) -> None:
        """Called when a fault ends the app."""

    def note(self, words: str) -> None:
        """Called for a problem that does not end the app."""

    def fail(self, error: Exception) -> None:
        self._handle_exception(error)

    def fail_from_thread(self, error: BaseException) -> None:
        """As `fail`, for threads that are not Textual workers."""
        if self._loop is not None and not self._loop.is_closed():
            # Not by a message: the app handles none before it has a screen.
            fault = error if isinstance(error, Exception) else RuntimeError(f"a thread ended with {error!r}")
            self._loop.call_soon_threadsafe(self._handle_exception, fault)

    def write_to_terminal(self, text: str) -> None:
        """Sends text past the compositor, if there is a terminal."""
        if self._driver is not None and not self.is_headless:
            self._driver.write(text)

    def panic(self, *renderables: RenderableType) -> None:
        """Makes a fault of what Textual would print before it ends with exit code 0."""
        if self._exception is None:
            self.fail(RuntimeError("Textual gave up: " + " ".join(str(part) for part in renderables)))
        else:
            self._close_messages_no_wait()

    def _display(self, screen: Screen[object], renderable: RenderableType | None) -> None:
        super()._display(screen, self.before_paint(renderable))
        if renderable is not None:
            self.after_paint()

    def _handle_exception(self, error: Exception) -> None:
        self.on_fault(error)
        super()._handle_exception(error)
        self._exit_renderables.clear()
        self._return_code = self.FAULT_CODE

    def _fatal_error(self) -> None:
        # A traceback with all values belongs in the report, not on the person's terminal.
        self._close_messages_no_wait()


class HookedDriver(LinuxDriver):
    """A driver with its own output, which reports a fault of the reading thread."""

    def write_to(self, output: Any) -> None:
        """Sets the output, an object with `write`, `flush` and `fileno`. Call it before the app runs."""
        self._file = output

    def on_fault(self, error: BaseException) -> None:
        """Called when a fault ends the reading thread."""
        raise NotImplementedError

    def _run_input_thread(self) -> None:
        try:
            self.run_input_thread()
        except BaseException as error:
            self.on_fault(error)


def key_name(character: str) -> str:
    return _character_to_key(character)


def is_idle(pump: MessagePump) -> bool:
    """Whether a widget waits for its next message: it has none, and handles none."""
    queue: Any = pump._message_queue
    # With other queues in another version, keys behave as in Textual alone.
    waiting = getattr(getattr(queue, "ready_event", None), "_waiters", True)
    return queue.empty() and bool(waiting)


def has_no_message(pump: MessagePump) -> bool:
    """Whether a widget's queue is empty, though it may be handling a message."""
    return pump._message_queue.empty()


def waits_for_paint(screen: Screen[Any]) -> bool:
    """Whether callbacks wait for the next paint; often they move the focus."""
    return bool(screen._callbacks)


def colour_system(console: Console) -> ColorSystem:
    """The colour system of a console; true colour if it has none."""
    return console._color_system or ColorSystem.TRUECOLOR


def use_256_colours(console: Console) -> None:
    console._color_system = ColorSystem.EIGHT_BIT
