"""The strength grid and the checklist."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fake_run import PROMPTS, FakeTrainer, finished_run, make_run, write_grid
from screen_text import screen_text, shows, waits

from loratui.tui import checklist
from loratui.tui.app import LoratuiApp
from loratui.tui.store import Picture
from loratui.tui.widgets.strength_grid import rows_of, strengths_of
from loratui.tui.widgets.thumbnail import ThumbnailView


async def test_without_pictures_one_key_makes_them(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = finished_run(home)
    launched: list[str] = []
    monkeypatch.setattr("loratui.engine.runs.launcher.launch", lambda run, job="train": launched.append(job))
    async with LoratuiApp(home, "validation", run).run_test(notifications=True, size=(120, 40)) as pilot:
        await shows(pilot, "No pictures yet", "makes the grid: 8 pictures", "0, no LoRA", "strength 1.5")
        await pilot.press("g")
        await shows(pilot, "it goes on if you leave")
        assert launched == ["validate"]


async def test_the_grid_fills_as_the_pictures_come(home: Path) -> None:
    run = finished_run(home)
    with FakeTrainer(run, "validate") as trainer:
        trainer.log.append("trainer_started", attempt=1, pid=1)
        trainer.phase("sampling", "Making 8 pictures")
        async with LoratuiApp(home, "validation", run).run_test(notifications=True, size=(120, 40)) as pilot:
            await shows(pilot, "● making the grid", "0 of 8 so far")
            trainer.picture(PROMPTS[0], 0.0)
            trainer.log.append("progress", phase="sampling", done=30, total=120, text="pictures")
            text = await shows(pilot, PROMPTS[0], "1 of 8 so far", "(25 %)")
            assert PROMPTS[1] not in text
            for strength in (0.5, 1.0, 1.5):
                trainer.picture(PROMPTS[0], strength)
            trainer.picture(PROMPTS[1], 0.0)
            await shows(pilot, PROMPTS[1], "5 of 8 so far")
            views = pilot.app.screen.query(ThumbnailView)
            await waits(pilot, lambda: sum(view._picture is not None for view in views) == 5)


async def test_a_finished_grid_can_be_made_anew(home: Path) -> None:
    run = finished_run(home)
    write_grid(run)
    async with LoratuiApp(home, "validation", run).run_test(notifications=True, size=(120, 40)) as pilot:
        await shows(pilot, "8 of 8 pictures. g makes them anew.", "g make grid")


async def test_a_grid_that_failed_says_why(home: Path) -> None:
    run = finished_run(home)
    with FakeTrainer(run, "validate") as trainer:
        trainer.log.append("trainer_started", attempt=1, pid=1)
        trainer.finish("failed", 34, "There was not enough memory.", "Free memory.")
    async with LoratuiApp(home, "validation", run).run_test(notifications=True, size=(120, 40)) as pilot:
        await shows(pilot, "The grid could not be made: There was not enough memory.")


async def test_ticks_are_kept_in_the_run(home: Path) -> None:
    run = finished_run(home)
    async with LoratuiApp(home, "validation", run).run_test(notifications=True, size=(120, 40)) as pilot:
        await shows(pilot, "0 of 7 ticked", "Is it the same person in all of them?")
        await pilot.press("space", "down", "enter")
        await shows(pilot, "2 of 7 ticked", "[✔] Likeness", "[✔] Generalises")
        await pilot.press("space")
        await shows(pilot, "1 of 7 ticked")
    body = json.loads((run.validation / "checklist.json").read_text())
    assert list(body["ticked"]) == ["likeness"]
    async with LoratuiApp(home, "validation", run).run_test(notifications=True, size=(120, 40)) as pilot:
        await shows(pilot, "1 of 7 ticked")


async def test_on_a_narrow_window_tab_changes_between_grid_and_checklist(home: Path) -> None:
    run = finished_run(home)
    write_grid(run)
    async with LoratuiApp(home, "validation", run).run_test(notifications=True, size=(80, 24)) as pilot:
        text = await shows(pilot, PROMPTS[0], "tab switch")
        assert "Likeness" not in text
        await pilot.press("tab")
        text = await shows(pilot, "Likeness", "space tick")
        assert PROMPTS[0] not in text
        await pilot.press("tab")
        await shows(pilot, PROMPTS[0])


async def test_the_last_point_says_what_to_do_about_what_was_seen(home: Path) -> None:
    run = finished_run(home)
    async with LoratuiApp(home, "validation", run).run_test(notifications=True, size=(120, 40)) as pilot:
        await shows(pilot, "Next step")
        await pilot.press("end")
        await shows(pilot, "likeness weak", "right at an earlier epoch")


async def test_a_run_without_a_file_cannot_be_validated_yet(home: Path) -> None:
    run = make_run(home)
    async with LoratuiApp(home, "validation", run).run_test(notifications=True, size=(120, 40)) as pilot:
        text = await shows(pilot, "There is no LoRA file yet")
        assert "g make grid" not in text
        await pilot.press("g")
        await pilot.pause(0.1)
        assert "There is no LoRA file yet" in screen_text(pilot.app)


def test_rows_follow_prompts_and_seeds_and_a_new_picture_takes_the_place_of_the_old() -> None:
    pictures = [
        Picture("a", "first", 1.0, 7),
        Picture("b", "second", 0.0, 7),
        Picture("c", "first", 1.0, 8),
        Picture("d", "first", 1.0, 7),
        Picture("e", "first", float("nan"), 7),
    ]
    rows = rows_of(pictures)
    assert [(row.prompt, row.seed) for row in rows] == [("first", 7), ("second", 7), ("first", 8)]
    assert rows[0].pictures[1.0].path == "d"
    assert strengths_of(pictures, (0.0, 0.5)) == [0.0, 0.5, 1.0]


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"ticked": 3}', '{"ticked": {"likeness": "yes", "unknown": 1}}', "\x00"])
def test_a_checklist_file_that_is_rubbish_is_no_ticks(tmp_path: Path, content: str) -> None:
    path = tmp_path / "checklist.json"
    path.write_text(content)
    assert checklist.read_ticks(path) == {}


def test_ticking_twice_takes_the_tick_away(tmp_path: Path) -> None:
    ticks = checklist.toggled({}, "strength", now=5.4)
    assert ticks == {"strength": 5}
    assert checklist.toggled(ticks, "strength") == {}
    checklist.write_ticks(tmp_path / "new" / "checklist.json", ticks)
    assert checklist.read_ticks(tmp_path / "new" / "checklist.json") == {"strength": 5.0}
