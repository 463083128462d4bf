"""Text that changes while one looks."""

from __future__ import annotations

import pytest
from screen_text import rests, shows, waits
from textual.app import App, ComposeResult

from loratui.tui.widgets import line as module
from loratui.tui.widgets.line import Line


class OneLine(App[None]):
    def compose(self) -> ComposeResult:
        yield Line("at rest")


async def test_a_wait_says_for_what_and_how_long_until_something_else_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    read: list[float] = []

    def monotonic() -> float:
        read.append(now[0])
        return now[0]

    monkeypatch.setattr(module, "monotonic", monotonic)
    monkeypatch.setattr(module, "_TICK_S", 0.01)
    app = OneLine()
    async with app.run_test(size=(60, 3)) as pilot:
        line = app.query_one(Line)
        line.wait("Asking the hub", "p cancels.")
        assert line.said == "Asking the hub … p cancels."
        now[0] += 1.9
        await waits(pilot, lambda: read[-2:] == [101.9, 101.9])
        assert line.said == "Asking the hub … p cancels."  # hardly worth telling
        now[0] += 12.0
        await shows(pilot, "Asking the hub … 13 s p cancels.")
        line.say("It is here.")
        now[0] += 5.0
        await rests(pilot)
        assert line.said == "It is here."
        assert line._waiting is None
        line.wait("Cancelling")
        assert line.said == "Cancelling …"  # counted anew
