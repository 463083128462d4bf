"""The list of runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_run import FakeTrainer, finished_run, make_run
from screen_text import hides, shows

from loratui.tui.app import LoratuiApp
from loratui.tui.runs.home_screen import HomeScreen
from loratui.tui.widgets.run_list import RunList


async def test_an_empty_home_says_what_to_do(home: Path) -> None:
    async with LoratuiApp(home).run_test(notifications=True, size=(80, 24)) as pilot:
        text = await shows(pilot, "No runs yet", "n new run", "t try the demo", "q leave")
        assert "delete" not in text


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_runs_are_listed_with_status_and_how_far_they_are(home: Path, size: tuple[int, int]) -> None:
    done = finished_run(home)
    running = make_run(home, "bella")
    with FakeTrainer(running) as trainer:
        trainer.start()
        trainer.steps(90)
        async with LoratuiApp(home).run_test(notifications=True, size=size) as pilot:
            text = await shows(pilot, done.name, running.name, "✔ done", "● running", "100 %", "10 %")
            assert ("optimizer step" in text) == (size[0] == 120)


async def test_a_changed_run_changes_its_line_and_the_highlight_stays(home: Path) -> None:
    finished_run(home)
    running = make_run(home, "bella")
    with FakeTrainer(running) as trainer:
        trainer.start()
        trainer.steps(90)
        async with LoratuiApp(home).run_test(notifications=True, size=(100, 30)) as pilot:
            await shows(pilot, "10 %")
            await pilot.press("down")
            chosen = pilot.app.screen.query_one(RunList).highlighted
            trainer.steps(90)
            await shows(pilot, "20 %")
            assert pilot.app.screen.query_one(RunList).highlighted == chosen


async def test_enter_opens_a_done_run_in_its_validation_and_others_in_their_training(home: Path) -> None:
    finished_run(home)
    async with LoratuiApp(home).run_test(notifications=True, size=(100, 30)) as pilot:
        await shows(pilot, "✔ done")
        await pilot.press("enter")
        await shows(pilot, "validation", "Checklist")
        await pilot.press("t")
        await shows(pilot, "All steps are done", "optimizer steps")
        await pilot.press("escape")
        await shows(pilot, "enter open")


async def test_deleting_asks_first(home: Path) -> None:
    run = finished_run(home)
    async with LoratuiApp(home).run_test(notifications=True, size=(100, 30)) as pilot:
        await shows(pilot, run.name)
        await pilot.press("d")
        await shows(pilot, f"Delete {run.name}?")
        await pilot.press("n")
        await hides(pilot, "Delete")
        assert run.path.is_dir()
        await pilot.press("d")
        await shows(pilot, f"Delete {run.name}?")
        await pilot.press("y")
        await shows(pilot, "No runs yet")
        assert not run.path.exists()


async def test_a_living_run_is_not_deleted(home: Path) -> None:
    run = make_run(home)
    with FakeTrainer(run) as trainer:
        trainer.start()
        async with LoratuiApp(home).run_test(notifications=True, size=(100, 30)) as pilot:
            await shows(pilot, run.name, "running")
            await pilot.press("d")
            await shows(pilot, "Stop it first")
    assert run.path.is_dir()


async def test_leaving_says_that_training_goes_on(home: Path) -> None:
    run = make_run(home)
    with FakeTrainer(run) as trainer:
        trainer.start()
        app = LoratuiApp(home)
        async with app.run_test(notifications=True, size=(100, 30)) as pilot:
            await shows(pilot, run.name)
            await pilot.press("q")
        assert app.return_value is not None
        assert app.return_value == (f"Training continues. Come back with: loratui attach {run.name}",)


async def test_a_home_that_cannot_be_read_is_told(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: Path) -> list[object]:
        raise PermissionError(13, "no permission", str(home))

    monkeypatch.setattr("loratui.engine.runs.summary.summarise_all", broken)
    async with LoratuiApp(home).run_test(notifications=True, size=(100, 30)) as pilot:
        await shows(pilot, "no permission")


async def test_the_screen_is_the_list_of_runs(home: Path) -> None:
    async with LoratuiApp(home).run_test(notifications=True, size=(100, 30)) as pilot:
        await shows(pilot, "No runs yet")
        assert isinstance(pilot.app.screen, HomeScreen)
