"""Handles keys one after another: over a slow line many arrive in one piece, and each must see the effect of the last."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from textual import events
from textual.app import App, ScreenError
from textual.widget import Widget

from loratui.tui.terminal.textual_private import has_no_message, is_idle, waits_for_paint

_LOOKS_AT_ONCE, _LOOKS, _LOOK_EVERY_S = 50, 300, 0.002
"""How often a waiting key checks whether all is done: first after every other task's turn, then every 2 ms.

After the last check, half a second on an idle machine, it stops waiting: a busy widget must not delay keys. Checks are
counted, not seconds: on a loaded machine a screen may take longer to open, and gets its turn between them.
"""


class KeyQueue:
    """Passes each key or pasted text to `handle` only when the effects of the last one are over.

    Textual alone dispatches all keys of a piece before the first reaches the focused widget. So `7` and enter continued
    without the 7, a backspace cut a word in the wrong place, and a letter for a field that the key before opens counted as a
    command.

    A single key never waits. Letters after letters in the same field do not wait either: the field keeps their order.
    """

    def __init__(self, app: App[Any], handle: Callable[[events.Event], Awaitable[None]]) -> None:
        self._app = app
        self._handle = handle
        self._waiting: deque[events.Event] = deque()
        self._task: asyncio.Task[None] | None = None
        self._typed_into: Widget | None = None
        """The field that took the last key as text."""
        self._patient = True
        """False after a key has waited in vain, until the app is at rest again: then keys do not wait."""

    async def take(self, event: events.Event) -> None:
        """Handles an event now, or after those that wait. Call it while the app handles the event."""
        if not self._waiting and (self._goes_on_typing(event) or self._may_go(while_app_handles=True)):
            await self._pass_on(event)
            return
        self._waiting.append(event)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._go_on())

    async def _go_on(self) -> None:
        while self._waiting:
            await self._rest()
            handed = asyncio.Event()
            if not self._app.call_later(self._pass_on_the_next, handed):
                self._waiting.clear()  # the app is about to end
                return
            await handed.wait()

    async def _pass_on_the_next(self, handed: asyncio.Event) -> None:
        try:
            await self._pass_on(self._waiting.popleft())
            while self._waiting and (self._goes_on_typing(self._waiting[0]) or not self._patient):
                await self._pass_on(self._waiting.popleft())
        finally:
            handed.set()

    async def _pass_on(self, event: events.Event) -> None:
        focused = self._focused()
        self._typed_into = focused if focused is not None and _is_text_for(focused, event) else None
        await self._handle(event)

    def _goes_on_typing(self, event: events.Event) -> bool:
        field = self._typed_into
        return field is not None and field is self._focused() and _is_text_for(field, event)

    async def _rest(self) -> None:
        """Returns when nothing is pending between the focus and the app, or when that takes too long."""
        looks = 0
        while not self._may_go():
            await asyncio.sleep(0 if looks < _LOOKS_AT_ONCE else _LOOK_EVERY_S)
            looks += 1
            if looks >= _LOOKS:
                self._patient = False

    def _may_go(self, while_app_handles: bool = False) -> bool:
        at_rest = self._at_rest(while_app_handles)
        self._patient = self._patient or at_rest
        return at_rest or not self._patient

    def _at_rest(self, while_app_handles: bool) -> bool:
        """Whether the queues from the focus up to the app are empty, apart from what the app handles now."""
        try:
            screen = self._app.screen
        except ScreenError:
            return True  # no screen yet, or any more
        focus = screen.focused or screen
        return (
            screen.is_mounted
            and not waits_for_paint(screen)
            and all(is_idle(pump) for pump in focus.ancestors_with_self if pump is not self._app)
            and (has_no_message(self._app) if while_app_handles else is_idle(self._app))
        )

    def _focused(self) -> Widget | None:
        try:
            return self._app.focused
        except ScreenError:
            return None


def _is_text_for(field: Widget, event: events.Event) -> bool:
    if isinstance(event, events.Key):
        return event.is_printable and field.check_consume_key(event.key, event.character)
    return False
