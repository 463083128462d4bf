"""How long a run waits before it is ended is changed in its dashboard."""

from __future__ import annotations

from pathlib import Path

from ended_runs import make
from screen_text import hides, shows, type_text

from loratui.engine.runs import bounds
from loratui.tui.app import LoratuiApp


async def test_the_dashboard_changes_the_bounds_of_a_run_and_refuses_what_is_none(home: Path) -> None:
    run = make(home)
    async with LoratuiApp(home, "training", run).run_test(notifications=True, size=(80, 24)) as pilot:
        await shows(pilot, run.name, "f finished")
        await pilot.press("b")
        await shows(pilot, "Seconds until a stalled trainer", "300", "Hours until a run that waits")
        await pilot.press("end", "ctrl+u")
        await type_text(pilot, "99999")
        await pilot.press("enter")
        await shows(pilot, "86400")
        await pilot.press("end", "ctrl+u")
        await type_text(pilot, "60")
        await pilot.press("tab", "end", "ctrl+u")
        await type_text(pilot, "2.5")
        await pilot.press("enter")
        await hides(pilot, "How long to wait")
    assert bounds.read(run) == bounds.Bounds(60.0, 2.5)
