"""The screens of the queue and of a sweep, at 80×24."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from screen_text import screen_text, shows, waits
from textual.widgets import Input

from loratui.engine import sealed
from loratui.engine.planning.recipe import build_recipe
from loratui.engine.runs import sweeps
from loratui.engine.runs.directory import RunDirectory, create_run
from loratui.engine.runs.queue import adding, entries
from loratui.engine.runs.queue.entries import Queue
from loratui.engine.runs.sweeps import Member, Sweep
from loratui.tui.app import LoratuiApp
from loratui.tui.wizard.sweep_dialog import SweepDialog

NAMES = ("anafox-20261121-1", "anafox-20261121-2", "anafox-20261121-3")


def made(home: Path) -> list[RunDirectory]:
    return [create_run(home, "anafox", recipe_toml="", effective_toml="", ledger={}, today="20261121") for _ in NAMES]


@pytest.fixture
def queue(home: Path) -> Path:
    """Three runs that wait, in a queue on hold: nothing is started."""
    entries.change(home, lambda _: Queue(on_hold="You have put it on hold."))
    for run in made(home):
        adding.add(run)
    return home


def order(home: Path) -> list[str]:
    return [entry.run for entry in entries.read(home).entries]


async def test_the_order_is_changed_and_a_run_taken_out(queue: Path) -> None:
    async with LoratuiApp(queue).run_test(notifications=True, size=(80, 24)) as pilot:
        await shows(pilot, "queued")
        await pilot.press("w")
        await shows(pilot, "On hold: You have put it on hold. g lets it go on.", *NAMES)
        await pilot.press("down", "down", "u")
        await waits(pilot, lambda: order(queue) == [NAMES[0], NAMES[2], NAMES[1]])
        await pilot.press("u")  # the run that was moved is still the chosen one
        await waits(pilot, lambda: order(queue) == [NAMES[2], NAMES[0], NAMES[1]])
        await pilot.press("x")
        await waits(pilot, lambda: order(queue) == [NAMES[0], NAMES[1]])
        await pilot.press("escape")
        assert "ended" not in await shows(pilot, "It was never started", "· queued")


async def test_whoever_only_looks_changes_nothing(queue: Path) -> None:
    async with LoratuiApp(queue, "queue", view_only=True).run_test(notifications=True, size=(80, 24)) as pilot:
        await shows(pilot, *NAMES)
        await pilot.press("x", "u", "g")
        assert order(queue) == list(NAMES)
        assert entries.read(queue).on_hold


async def test_a_damaged_queue_is_told(home: Path) -> None:
    (home / entries.FILE).write_text("{")
    async with LoratuiApp(home, "queue", view_only=True).run_test(notifications=True, size=(80, 24)) as pilot:
        await shows(pilot, "The queue cannot be read")


def measured(run: RunDirectory, likeness: float) -> None:
    texts = dict.fromkeys(("title", "figure", "means", "unknown", "about", "limits", "unit"), "")
    row: dict[str, Any] = {"id": "likeness", "value": likeness, "spread": 0.01, "base": 0.2, "range": [0.8, 0.95], **texts}
    points = [
        {"file": "output/x.safetensors", "step": 9, "strength": at, "value": likeness * at, "spread": 0.01} for at in (0.5, 1.0)
    ]
    parts = [
        {"id": "likeness", "measures": [row], "images": []},
        {"id": "strength", "measures": [{**row, "curve": points}], "images": []},
    ]
    sealed.write(run.validation / "measures.json", {"format": 1, "parts": parts}, run.path)


async def test_a_sweep_shows_its_pick_first_and_compares_at_another_strength(home: Path) -> None:
    runs = made(home)
    for run, likeness in zip(runs, (0.4, 0.7, 0.5), strict=True):
        measured(run, likeness)
    sweep = sweeps.create(home, "anafox", ("adapter.rank",), 3, today="20261121")
    members = tuple(Member(run.name, str(run.path), {"adapter.rank": 4 * 2**at}) for at, run in enumerate(runs))
    sweeps.write(home, Sweep(sweep.name, sweep.created, sweep.keys, 3, members))
    async with LoratuiApp(home).run_test(notifications=True, size=(80, 24)) as pilot:
        await shows(pilot, NAMES[0])
        await pilot.press("s")
        await shows(pilot, f"{NAMES[1]} has the best images at strength 1", "at strength 1", "0.70 ±0.01")
        (picked,) = [line for line in screen_text(pilot.app).splitlines() if "▸" in line]
        assert NAMES[1] in picked
        await pilot.press("s")
        await shows(pilot, "at strength 0.5", "0.35 ±0.01")
        await pilot.press("enter")
        await shows(pilot, NAMES[1], "Trigger alone")


async def test_the_dialog_says_what_a_sweep_comes_to_and_what_is_wrong(home: Path) -> None:
    async with LoratuiApp(home, "queue").run_test(notifications=True, size=(80, 24)) as pilot:
        chosen: list[Any] = []
        await pilot.app.push_screen(SweepDialog(build_recipe("demo"), 60.0), chosen.append)
        await shows(pilot, "A sweep needs a setting")
        first, second = (pilot.app.screen.query_one(f"#sweep-over-{at}", Input) for at in range(2))
        first.value = "rnak=4,8"
        await pilot.press("enter")
        await shows(pilot, "did you mean adapter.rank?")
        assert not chosen
        first.value, second.value = "rank=4,8", "training.seed=1,2"
        await shows(pilot, "4 runs, about 4 min", "rank 4, seed 1; …", "seed 2")
        await pilot.press("enter")
        await waits(pilot, lambda: bool(chosen))
        assert [(over.key, over.values) for over in chosen[0]] == [("adapter.rank", (4, 8)), ("training.seed", (1, 2))]


async def test_without_a_sweep_the_screen_says_how_to_start_one(home: Path) -> None:
    async with LoratuiApp(home, "sweep").run_test(notifications=True, size=(80, 24)) as pilot:
        await shows(pilot, "There are no sweeps yet", "--over rank=8,16")
