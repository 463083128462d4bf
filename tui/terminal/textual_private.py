"""Every private name of Textual that the app relies on, and no other module of it: at an update, the canary test tells which are gone."""

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
    """An app whose subclass sees each paint before it is sent, and decides how a fault ends the app."""

    FAULT_CODE = 1
    """Exit code after a fault."""

    def before_paint(self, update: RenderableType | None) -> RenderableType | None:
        """What is painted instead of `update`."""
        return update

    def after_paint(self) -> None:
        """A paint was handed to the driver."""

    def on_fault(self, error: Exception) -> None:
        """A fault ends the app."""

    def note(self, words: str) -> None:
        """Something went wrong that ends nothing."""

    def fail(self, error: Exception) -> None:
        """Ends the app with a fault."""
        self._handle_exception(error)

    def fail_from_thread(self, error: BaseException) -> None:
        """As `fail`, to be called in a thread that is no worker of Textual's."""
        if self._loop is not None and not self._loop.is_closed():
            # Not by a message: the app does not look at those before it has a screen.
            fault = error if isinstance(error, Exception) else RuntimeError(f"a thread ended with {error!r}")
            self._loop.call_soon_threadsafe(self._handle_exception, fault)

    def write_to_terminal(self, text: str) -> None:
        """Sends text past the compositor; nothing where there is no terminal."""
        if self._driver is not None and not self.is_headless:
            self._driver.write(text)

    def panic(self, *renderables: RenderableType) -> None:
        """What Textual would print in place of the app, and end with 0, is a fault like any other."""
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
        # A traceback with the values of all variables is for the report's reader, not for the person's terminal.
        self._close_messages_no_wait()


class HookedDriver(LinuxDriver):
    """A driver that writes where it is told, and tells of a fault in the thread that reads."""

    def write_to(self, output: Any) -> None:
        """Has everything written to `output`, which can write, flush and tell its descriptor. To be called before the app runs."""
        self._file = output

    def on_fault(self, error: BaseException) -> None:
        """The thread that reads has ended with a fault."""
        raise NotImplementedError

    def _run_input_thread(self) -> None:
        try:
            self.run_input_thread()
        except BaseException as error:
            self.on_fault(error)


def key_name(character: str) -> str:
    """Textual's name of the key that types a character."""
    return _character_to_key(character)


def is_idle(pump: MessagePump) -> bool:
    """Whether a widget waits for its next message: neither has it one, nor does it handle one."""
    queue: Any = pump._message_queue
    # Should another version keep its queues otherwise, keys go as Textual alone has them go.
    waiting = getattr(getattr(queue, "ready_event", None), "_waiters", True)
    return queue.empty() and bool(waiting)


def has_no_message(pump: MessagePump) -> bool:
    """Whether nothing waits in the queue of a widget, which may be handling something."""
    return pump._message_queue.empty()


def waits_for_paint(screen: Screen[Any]) -> bool:
    """Whether something is to be done after the next paint, which often is another focus."""
    return bool(screen._callbacks)


def colour_system(console: Console) -> ColorSystem:
    """What a console writes colours in; all of them where it writes none."""
    return console._color_system or ColorSystem.TRUECOLOR


def use_256_colours(console: Console) -> None:
    """Has a console write the colours that every terminal has."""
    console._color_system = ColorSystem.EIGHT_BIT
