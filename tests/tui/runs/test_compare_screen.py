"""Runs side by side."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

from fake_run import FakeTrainer, finished_run, make_run
from rich.cells import cell_len
from screen_text import screen_lines, screen_text, shows, waits

from loratui.engine.runs.directory import RunDirectory
from loratui.engine.runs.summary import summarise_all
from loratui.tui.app import LoratuiApp
from loratui.tui.runs.comparing import compare, differing


def _second(home: Path) -> RunDirectory:
    run = make_run(home, "bella")
    text = run.effective.read_text().replace("rank = 16", "rank = 8")
    run.effective.write_text(text)
    with FakeTrainer(run) as trainer:
        trainer.start()
        trainer.steps(180)
        trainer.finish("stopped", 143, "Stopped.")
    return run


def test_only_settings_that_differ_are_listed(home: Path) -> None:
    finished_run(home)
    _second(home)
    rows = dict(compare(summarise_all(home)))
    assert rows["adapter.rank"] == ("8", "16")
    assert "adapter.alpha" not in rows
    assert rows["optimizer steps"] == ("180 of 900", "900 of 900")
    assert rows["mean loss, best epoch"][1].endswith("(epoch 10)")


def test_a_recipe_that_cannot_be_read_is_a_dash() -> None:
    assert differing([{"a.b": 1, "c.d": 2}, None]) == (("a.b", ("1", "–")), ("c.d", ("2", "–")))
    assert differing([{"a.b": 1}, {"a.b": 1}]) == ()


async def test_two_marked_runs_are_compared(home: Path) -> None:
    first, second = finished_run(home), _second(home)
    async with LoratuiApp(home).run_test(notifications=True, size=(120, 40)) as pilot:
        await shows(pilot, first.name, second.name, "space mark")
        await pilot.press("space", "down")
        assert "c compare" not in screen_text(pilot.app)
        await pilot.press("space")
        await shows(pilot, f"◆ {first.name}", f"◆ {second.name}", "c compare")
        await pilot.press("c")
        await shows(pilot, "2 runs compared", "Settings that differ", "adapter.rank", "no sample", "▀")
        await pilot.resize_terminal(80, 24)
        await waits(pilot, lambda: pilot.app.screen.size == (80, 24))
        await pilot.pause()
        await pilot.press("end")
        await shows(pilot, "adapter.rank")
        await pilot.press("b")
        await shows(pilot, "side by side", f"{second.name}, step 180", "The two have no image of the same prompt and seed")
        await pilot.press("escape")
        await shows(pilot, "2 runs compared")
        await pilot.press("escape")
        await shows(pilot, "space mark")


async def test_at_80_columns_the_names_keep_their_ends_and_the_numbers_their_epochs(home: Path) -> None:
    runs = [finished_run(home), finished_run(home), finished_run(home)]
    async with LoratuiApp(home).run_test(notifications=True, size=(80, 24)) as pilot:
        await shows(pilot, "space mark")
        await pilot.press("space", "down", "space", "down", "space", "c")
        await shows(pilot, "mean loss, last epoch", "(10)")
        names = next(line for line in screen_lines(pilot.app) if line.count("…") >= 3)
        assert [name[-2:] for name in names.split()] == sorted((run.name[-2:] for run in runs), reverse=True)


def test_a_run_whose_check_is_made_is_called_as_in_the_list(home: Path) -> None:
    finished_run(home)
    (run,) = summarise_all(home)
    rows = dict(compare([dataclasses.replace(run, job="validate", status="running")]))
    assert rows["status"] == ("● validating",)


async def test_runs_with_the_same_settings_say_so(home: Path) -> None:
    finished_run(home)
    finished_run(home)
    async with LoratuiApp(home).run_test(notifications=True, size=(120, 40)) as pilot:
        await shows(pilot, "space mark")
        await pilot.press("space", "down", "space", "c")
        await shows(pilot, "They were trained with the same settings.")


async def test_long_paths_and_wide_letters_stay_in_their_columns(home: Path) -> None:
    finished_run(home)
    other = _second(home)
    text = other.effective.read_text().replace('trigger = "anafox"', 'trigger = "anna🦊狐"')
    other.effective.write_text(re.sub(r'(?m)^path = ".*"', f'path = "/photos/{"deep/" * 20}of anna"', text))
    async with LoratuiApp(home).run_test(notifications=True, size=(120, 40)) as pilot:
        await shows(pilot, "bella", "anafox")
        await pilot.press("space", "down", "space", "c")
        await shows(pilot, "Settings that differ", "of anna", "anna🦊狐")
        lines = [line for line in screen_lines(pilot.app) if line.strip()]
        assert not [line for line in lines if line.strip() == "…"], "a line ran over"
        (trigger,) = (line for line in lines if "dataset.trigger" in line)
        (rank,) = (line for line in lines if "adapter.rank" in line)
        assert cell_len(trigger[: trigger.rindex("anafox")]) == cell_len(rank[: rank.rindex("16")])
