"""The command palette: every key that works now, found by its help text."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import cast

from textual.command import DiscoveryHit, Hit, Hits, Provider

from loratui.tui.bindings import Key
from loratui.tui.keymap import HasKeys

_BEFORE_OTHERS = 1000.0
"""More than any score of the matcher, which gives a few points a letter."""


class KeyCommands(Provider):
    """The table of keys as commands."""

    async def discover(self) -> Hits:
        for key in self._now():
            yield DiscoveryHit(_words(key), partial(self._run, key))

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        for key in self._now():
            words = _words(key)
            score = matcher.match(words)
            # People search for the label of the key bar, so it ranks above a match in the sentence.
            if query.strip() and query.strip().casefold() in key.label.casefold():
                score += _BEFORE_OTHERS
            if score > 0:
                yield Hit(score, matcher.highlight(words), partial(self._run, key))

    def _now(self) -> Iterator[Key]:
        screen = cast("HasKeys", self.screen)
        return (key for key in screen.keys_here if key.id != "palette" and screen.holds(key))

    async def _run(self, key: Key) -> None:
        await self.app.run_action(key.action, self.screen)


def _words(key: Key) -> str:
    """The label first, unless the sentence begins with it anyway."""
    known = not key.label or key.help.casefold().startswith(key.label.casefold())
    return f"{'' if known else f'{key.label}: '}{key.help}  ({key.shown})"
