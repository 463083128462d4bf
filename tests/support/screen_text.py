"""Reads what a screen shows, and waits for something to be shown."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from textual.app import App
from textual.pilot import Pilot

from loratui.tui.terminal.textual_private import has_no_message, is_idle, waits_for_paint

POLL_S = 0.01
"""How long to wait between two looks at the screen, seconds."""


def screen_lines(app: App[Any]) -> list[str]:
    """The characters on the screen, line by line."""
    return [strip.text.rstrip() for strip in app.screen._compositor.render_strips()]


def screen_text(app: App[Any]) -> str:
    """The characters on the screen."""
    return "\n".join(screen_lines(app))


async def shows(pilot: Pilot[Any], *words: str, timeout_s: float = 8.0) -> str:
    """Waits until all words are on the screen, and returns its text. Fails with the screen if they never are."""
    end = time.monotonic() + timeout_s
    while True:
        await pilot.pause(POLL_S)
        text = screen_text(pilot.app)
        missing = [word for word in words if word not in text]
        if not missing:
            return text
        assert time.monotonic() < end, f"{missing} never came:\n{text}"


async def hides(pilot: Pilot[Any], word: str, timeout_s: float = 8.0) -> str:
    """Waits until a word is gone from the screen."""
    end = time.monotonic() + timeout_s
    while word in (text := screen_text(pilot.app)):
        assert time.monotonic() < end, f"{word} never went:\n{text}"
        await pilot.pause(POLL_S)
    return text


async def waits(pilot: Pilot[Any], condition: Callable[[], bool], timeout_s: float = 8.0) -> None:
    """Waits until a condition holds."""
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, screen_text(pilot.app)
        await pilot.pause(POLL_S)


async def rests(pilot: Pilot[Any], timeout_s: float = 8.0) -> None:
    """Waits until nothing is under way: what was asked for has been done, or nothing comes of it.

    No widget has a message left, nothing is to be painted, no worker works but those that watch for as long as a screen is open
    or wait for the answer to a question.
    """
    end = time.monotonic() + timeout_s
    looks = 0
    while looks < 2:  # a message that was handled may have had something called a turn later
        await pilot.pause()
        looks = 0 if _is_under_way(pilot.app) else looks + 1
        assert time.monotonic() < end, f"no rest:\n{screen_text(pilot.app)}"


def _is_under_way(app: App[Any]) -> bool:
    if not app.is_running or not app.screen_stack:
        return False
    shown = app.screen
    pumps = [app, *(widget for screen in app.screen_stack for widget in screen.walk_children(with_self=True))]
    return (
        waits_for_paint(shown)
        or not all(is_idle(pump) or (pump is app and has_no_message(app)) for pump in pumps)
        or any(
            not worker.is_finished and worker.node.screen is shown and (worker.group, worker.description) not in _WATCHING
            for worker in app.workers
        )
    )


_WATCHING = (("follow", "follow the log"), ("box", "look at the machine"), ("look", "look at the runs"))


async def paste(pilot: Pilot[Any], text: str) -> None:
    """Pastes into the field that has the focus."""
    from textual.events import Paste

    assert pilot.app.screen.focused is not None
    pilot.app.screen.focused.post_message(Paste(text))
    await pilot.pause()


async def type_text(pilot: Pilot[Any], text: str) -> None:
    """Types characters, whatever they are called as keys."""
    from textual.keys import _character_to_key

    await pilot.press(*[_character_to_key(character) for character in text])


async def press_in_one_piece(pilot: Pilot[Any], *keys: str) -> None:
    """Presses keys as a slow line brings them: all are there before the first one is looked at. What is no key is typed."""
    from textual.events import Key
    from textual.keys import KEY_ALIASES, Keys, _character_to_key

    known = {key.value for key in Keys} | set(KEY_ALIASES)
    driver = pilot.app._driver
    assert driver is not None
    for key in keys:
        if key in known:
            driver.send_message(Key(key, "\r" if key == "enter" else None))
        else:
            for character in key:
                driver.send_message(Key(_character_to_key(character), character))
    await pilot.pause()
