"""Two LoRA files side by side in the app and in plain lines."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from fake_run import finished_run, write_grid
from screen_text import hides, rests, shows

from loratui.engine.proof.side_by_side import pairs_of, read_votes, side_of, votes_path
from loratui.engine.runs.directory import RunDirectory
from loratui.tui import cli
from loratui.tui.app import LoratuiApp
from loratui.tui.commands import common
from loratui.tui.validation.side_by_side_screen import SideBySideScreen

NARROW = (80, 24)


@pytest.fixture
def run(home: Path) -> RunDirectory:
    made = finished_run(home)
    write_grid(made, epochs=True)
    return made


async def test_blind_the_names_and_the_count_come_when_every_pair_has_a_vote(home: Path, run: RunDirectory) -> None:
    sides = side_of(run, "450"), side_of(run, "900")
    app = LoratuiApp(home, first=lambda: SideBySideScreen(*sides, blind=True))
    async with app.run_test(notifications=True, size=NARROW) as pilot:
        await shows(pilot, "side by side", "Which is better?", "1 of 2", "2 without a vote")
        await hides(pilot, "step 450")
        await pilot.press("left")
        await shows(pilot, "2 of 2", "1 without a vote")
        await pilot.press("p")
        await shows(pilot, "1 of 2", "You voted: A is better")
        await pilot.press("left")
        await shows(pilot, "Which is better?", "2 without a vote")
        await pilot.press("left", "space")
        await shows(pilot, "You voted: equal", "step 450: ", "step 900: ", "Equal: 1.", "too close to say")
        await pilot.press("escape")
        await shows(pilot, "status", run.name)
    pairs = sorted(pairs_of(*sides), key=lambda pair: pair.id)
    kept = read_votes(votes_path(*sides)).votes
    assert kept == {pairs[0].id: "second" if pairs[0].swapped else "first", pairs[1].id: "equal"}


async def test_a_file_of_the_list_is_compared_with_the_finished_one(home: Path, run: RunDirectory) -> None:
    async with LoratuiApp(home, "validation", run).run_test(notifications=True, size=NARROW) as pilot:
        await shows(pilot, "images")
        await pilot.press("f")
        await shows(pilot, "LoRA files")
        await pilot.press("b")
        await rests(pilot)
        await hides(pilot, "side by side  ")
        await pilot.press("up", "b")
        await shows(pilot, "Which is better?", "1 of 2")
        await pilot.press("x")
        await shows(pilot, "A: step 900", "B: anafox.safetensors")
        await pilot.press("escape")
        await shows(pilot, "LoRA files")


async def test_files_without_a_common_image_say_what_makes_some(home: Path) -> None:
    sides = side_of(finished_run(home)), side_of(finished_run(home, "other"))
    app = LoratuiApp(home, first=lambda: SideBySideScreen(*sides))
    async with app.run_test(notifications=True, size=NARROW) as pilot:
        await shows(pilot, "The two have no image of the same prompt and seed", "loratui compare makes them")
        await pilot.press("left", "space", "x", "n")
        await rests(pilot)
    assert not (home / "comparisons").exists()


def test_the_command_tells_pairs_figures_and_votes(
    home: Path, run: RunDirectory, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LORATUI_HOME", str(home))
    words = ["compare", f"{run.name}:450", f"{run.name}:900"]
    monkeypatch.setattr(common, "can_ask", lambda: True)
    monkeypatch.setattr("sys.stdin", io.StringIO("a\n=\n"))
    assert cli.main([*words, "--plain"]) == 0
    assert "step 450: 1. " in capsys.readouterr().out
    assert cli.main([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["votes"] == {"first": 1, "second": 0, "equal": 1, "open": 0}
    assert [pair["vote"] for pair in told["pairs"]] == ["first", "equal"]
    assert all(Path(pair["sheet"]).is_file() for pair in told["pairs"])
    assert told["first"]["figures"]["likeness"] is None
    assert cli.main(["compare", run.name, run.name]) == 2
    assert "named twice" in capsys.readouterr().err
    assert cli.main([*words, "--seeds", "40"]) == 2
    assert "1 to 20" in capsys.readouterr().err
