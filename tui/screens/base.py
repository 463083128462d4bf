"""What all screens share: heading, key bar, view-only, and a notice where the terminal is too small."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from operator import attrgetter
from typing import TYPE_CHECKING, Any, ClassVar, ParamSpec, TypeVar

from textual import events
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.content import Content
from textual.screen import Screen
from textual.widget import Widget
from textual.worker import Worker

from loratui.tui.bindings import Key
from loratui.tui.keymap import action_name, bindings_for, keys_of
from loratui.tui.services import Services, services_of
from loratui.tui.terminal.kept_focus import LEAST_HEIGHT, LEAST_WIDTH, is_too_small
from loratui.tui.widgets.key_bar import KeyBar
from loratui.tui.widgets.line import Line, plain

if TYPE_CHECKING:
    from loratui.tui.messages import RunsListed

_WAKE_S = 0.5
"""How often a resting thread checks whether it was cancelled."""

T = TypeVar("T")
R = TypeVar("R")
P = ParamSpec("P")


class LoratuiScreen(Screen[T]):
    """A screen of the app. Subclasses define `CONTEXT`, their name in the table of keys, and `body()`."""

    CONTEXT: ClassVar[str]
    PURPOSE: ClassVar[str] = ""
    """Its purpose, for the heading."""
    PANE: ClassVar[str] = ""
    """Id of a text without focus that may overflow: pgdn and pgup scroll it."""

    def __init_subclass__(cls, **options: Any) -> None:
        """Adds the key bindings of the screen's own `CONTEXT`."""
        if "CONTEXT" in vars(cls) and "BINDINGS" not in vars(cls):
            cls.BINDINGS = [*bindings_for(cls.CONTEXT)]
        super().__init_subclass__(**options)

    @property
    def run_name(self) -> str:
        """The run that the screen shows; empty without one."""
        return ""

    @property
    def loratui(self) -> Services:
        return services_of(self)

    @property
    def stands(self) -> bool:
        """Whether its widgets exist: from compose until Textual removes the screen."""
        return self.is_mounted and self.display  # Textual displays nothing of what it removes

    async def in_thread(self, function: Callable[P, R], *arguments: P.args, **options: P.kwargs) -> R:
        """What a function returns that is called in a thread. Ends the worker that awaits it if the screen has gone by then."""
        try:
            return await asyncio.to_thread(function, *arguments, **options)
        finally:
            if not self.stands:
                raise asyncio.CancelledError

    def rest(self, worker: Worker[object], seconds: float) -> None:
        """Sleeps in a worker thread; wakes soon after a cancel, and at once when the app ends."""
        end = time.monotonic() + seconds
        while not worker.is_cancelled and (left := end - time.monotonic()) > 0:
            if self.loratui.ending.wait(min(_WAKE_S, left)):
                return

    def compose(self) -> ComposeResult:
        with Horizontal(id="heading"):
            yield Line(self.heading(), id="heading-left")
            if self.loratui.view_only:
                yield Line(plain("view only", "bold $warning"), id="heading-view-only")
            yield Line(self.heading_right(), id="heading-right")
        yield from self.body()
        yield KeyBar()
        yield Line(id="too-small")

    def heading(self) -> Content:
        """The left half of the first line: program, run and purpose."""
        words = [("loratui", "bold $accent"), (self.run_name, "bold"), (self.PURPOSE, "$muted")]
        return Content("  ").join([plain(word, style) for word, style in words if word])

    def heading_right(self) -> Content:
        return Content("")

    def body(self) -> ComposeResult:
        raise NotImplementedError

    # Keys

    @property
    def only_looks(self) -> bool:
        """Whether this screen may change nothing."""
        return self.loratui.view_only

    @property
    def can_copy(self) -> bool:
        """Whether `y` has something to offer."""
        return True

    @property
    def pane_overflows(self) -> bool:
        return self._pane().max_scroll_y > 0

    @property
    def keys_here(self) -> tuple[Key, ...]:
        """The keys of this screen, with the person's own; in view-only mode without those that change something."""
        only_looks = self.only_looks
        return tuple(key for key in keys_of(self.CONTEXT, self.loratui.key_table) if not (key.changes and only_looks))

    def holds(self, key: Key) -> bool:
        """Whether a key of this screen works now; the key bar hides the others."""
        if key.changes and self.only_looks:
            return False
        return not key.when or (self.stands and bool(attrgetter(key.when)(self)))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        del parameters
        key = _keys_by_action(self.CONTEXT).get(action)
        return key is None or self.holds(key)

    def on_mount(self) -> None:
        if self.PANE:
            self.watch(self._pane(), "show_vertical_scrollbar", self.refresh_bindings, init=False)

    def _pane(self) -> Widget:
        return self.query_one(f"#{self.PANE}")

    def action_scroll_pane(self, pages: int) -> None:
        """Scrolls by pages; two lines stay, for orientation."""
        pane = self._pane()
        pane.scroll_relative(y=pages * max(1, pane.size.height - 2), animate=False)

    def action_help(self) -> None:
        from loratui.tui.screens.help import HelpScreen

        self.app.push_screen(HelpScreen(self.CONTEXT, self, self.focused))

    def action_palette(self) -> None:
        from textual.command import CommandPalette

        from loratui.tui.screens.palette import KeyCommands

        self.app.push_screen(CommandPalette(providers=[KeyCommands], placeholder="What do you want to do?"))

    def action_jump(self) -> None:
        from loratui.tui.screens.jump import JumpScreen

        self.app.push_screen(JumpScreen(self, self.parts()))

    def action_preferences(self) -> None:
        from loratui.tui.screens.preferences import PreferencesScreen

        self.app.push_screen(PreferencesScreen())

    def action_debug(self) -> None:
        from loratui.tui.screens.debug import DebugScreen

        self.app.push_screen(DebugScreen())

    def action_copy(self) -> None:
        from loratui.tui.screens.copying import CopyScreen

        items = self.copyable()
        if items:
            self.app.push_screen(CopyScreen(items))
        else:
            self.loratui.tell("Nothing to copy here.")

    def parts(self) -> Sequence[tuple[Widget, str]]:
        """For the jump mode: parts without focus, each with the action that goes there."""
        return ()

    def asks_before_leaving(self, leave: Callable[[], None]) -> bool:
        """Asks about unsaved work and calls `leave` after the answer; False if there is none."""
        del leave
        return False

    def copyable(self) -> Sequence[tuple[str, str]]:
        """Names and texts that `y` offers to copy."""
        return ()

    def farewell(self) -> Iterator[str]:
        """Lines to print when the person leaves the app from here."""
        yield from ()

    def runs_listed(self, message: RunsListed) -> None:
        """Takes a new list of runs."""

    def download_went(self, repo: str, words: str) -> None:
        """Takes a download's progress; empty `words` mean that it ended."""

    def line(self, id: str) -> Line:
        return self.query_one(f"#{id}", Line)

    def present(self, id: str, there: bool) -> None:
        """Shows a widget, or removes it and its room."""
        # By a class: a style would override the notice of a window that is too small.
        self.query_one(f"#{id}").set_class(not there, "-absent")

    def on_resize(self, event: events.Resize) -> None:
        small = is_too_small(event.size)
        self.set_class(small, "-too-small")
        if small:
            size = f"{event.size.width}×{event.size.height}"
            wanted = f"loratui needs {LEAST_WIDTH}×{LEAST_HEIGHT}: make the window larger, or use loratui --plain."
            self.line("too-small").say(f"This terminal is {size}. {wanted}")


@cache
def _keys_by_action(context: str) -> dict[str, Key]:
    return {action_name(key): key for key in keys_of(context)}
