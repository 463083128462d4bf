"""What a person is asked before a run is resumed: whether it goes on although its base or its dataset has changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from loratui.engine.errors import LoratuiError

if TYPE_CHECKING:
    from loratui.engine.runs.directory import RunDirectory
    from loratui.tui.screens.base import LoratuiScreen

_MOST_SHOWN = 6
"""Changes of a part in the smallest window."""


async def goes_on(screen: LoratuiScreen[Any], run: RunDirectory) -> bool:
    """Shows what has changed since the run was stopped, and keeps that the person accepts it; True where nothing has changed."""
    from loratui.engine.runs.differences import accept, differences
    from loratui.tui.screens.confirm import ConfirmScreen
    from loratui.tui.terminal import clean

    found = [one for one in await screen.in_thread(differences, run) if one.asks]
    if not found:
        return True
    lines = [line for one in found for line in (one.title, *(f"· {line}" for line in one.shown(_MOST_SHOWN)))]
    question = ConfirmScreen(f"Resume {run.name}?", "\n".join(map(clean, lines)), "resume all the same")
    if not await screen.app.push_screen_wait(question):
        return False
    try:
        await screen.in_thread(accept, run, found)
    except LoratuiError as error:
        screen.loratui.tell(str(error), "error")
        return False
    return True
