"""Keys one after another: over a slow line many come in one piece, and each must find what the one before has left."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from textual import events
from textual.app import App, ScreenError
from textual.message_pump import MessagePump

_ROUNDS = 3
"""How often the way from the focus up to the app is waited for: a key becomes a changed text, that the message of a field,
and that what the screen makes of it, each behind the last in the queues of the widgets."""
_LONGEST_S = 0.5
"""So long a key waits at most for the one before: a widget that is busy must not hold up the others."""


class KeysInTurn:
    """Hands each key or pasted text to `handle` only when what the one before has set off is over.

    Textual alone looks at all keys of a piece before the first one has reached the widget with the focus. So `7` and enter went on
    without the 7, a word before a backspace was cut in the wrong place, and a letter meant for a field that a key
    before it opens was taken for a command.
    """

    def __init__(self, app: App[Any], handle: Callable[[events.Event], Awaitable[None]]) -> None:
        self._app = app
        self._handle = handle
        self._waiting: deque[events.Event] = deque()
        self._task: asyncio.Task[None] | None = None

    async def take(self, event: events.Event) -> None:
        """Handles an event now, or behind those that wait."""
        if self._task is not None and not self._task.done():
            self._waiting.append(event)
            return
        # No other key was before it, so it need not wait.
        self._task = asyncio.create_task(self._go_on())
        await self._handle(event)

    async def _go_on(self) -> None:
        while await self._settled() and self._waiting:
            self._app.call_later(self._handle, self._waiting.popleft())

    async def _settled(self) -> bool:
        """Whether the app still lives once all has been dealt with that lay in the queues between the focus and the app."""
        if not await _reached(self._app):
            return False
        for _ in range(_ROUNDS):
            try:
                node = self._app.focused or self._app.screen
            except ScreenError:
                break  # none is there yet, or any more
            for pump in (node, *node.ancestors):
                await _reached(pump)
        return await _reached(self._app)


async def _reached(pump: MessagePump) -> bool:
    """Waits until a widget has come to the end of its queue; False if it is about to close."""
    done = asyncio.Event()
    if not pump.call_later(done.set):
        return False
    try:
        await asyncio.wait_for(done.wait(), _LONGEST_S)
    except TimeoutError:
        return pump.is_running
    return True
