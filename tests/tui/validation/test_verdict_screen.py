"""The verdict on the screens of a validation, and the key that applies its advice."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from fake_run import finished_run, write_grid
from screen_text import hides, rests, shows

from loratui.engine import sealed
from loratui.engine.dataset.ledger import build_ledger
from loratui.engine.dataset.scan import scan
from loratui.engine.planning.recipe import read_recipe
from loratui.engine.planning.schedule import make_plan
from loratui.engine.proof.notes import read_checklist
from loratui.engine.runs.directory import RunDirectory
from loratui.presets.bases import demo_dataset
from loratui.tui.app import LoratuiApp

WIDE, NARROW = (120, 40), (80, 24)
FILE = "output/anafox-000540.safetensors"
USE = {
    "id": "use_best",
    "change": "Use step 540.",
    "why": "It varies more.",
    "do": {"use": {"file": FILE, "step": 540, "strength": 1}},
}
FEWER = {"id": "fewer", "change": "Fewer epochs (10 → 6).", "why": "It was right.", "do": {"settings": {"schedule.epochs": 6}}}
MORE = {"id": "more", "change": "Continue for 3 epochs.", "why": "It still grows.", "do": {"continue_epochs": 3}}
CAPTION = {"id": "words", "change": "Re-caption 1 photo.", "why": "No coat.", "do": {"re_caption": ["anafox_03.png"]}}
LOOK = {"id": "hands", "change": "Look at the hands.", "why": "Unmeasured.", "do": {"look": "Compare them in part 4."}}


def write_verdict(run: RunDirectory, *advice: dict[str, Any], **verdict: Any) -> None:
    """A verdict as the job writes it."""
    body = {
        "format": 1,
        "parts": [],
        "verdict": {"kind": "overtrained", "confidence": 0.82, "reasons": ["Images vary less.", "Colours burn."], **verdict},
        "best": {"file": FILE, "step": 540, "strength": 1.0, "reason": "It is most like her."},
        "advice": list(advice),
    }
    (run.validation / "measures.json").write_text(json.dumps(body))


def judged_run(home: Path, *advice: dict[str, Any], **verdict: Any) -> RunDirectory:
    run = finished_run(home)
    write_grid(run)
    write_verdict(run, *advice, **verdict)
    return run


@pytest.mark.parametrize("size", [WIDE, NARROW])
async def test_the_verdict_comes_first_and_v_shows_it_whole(home: Path, size: tuple[int, int]) -> None:
    run = judged_run(home, LOOK, FEWER)
    async with LoratuiApp(home, "validation", run).run_test(notifications=True, size=size) as pilot:
        text = await shows(
            pilot, "Overtrained, 82 % sure: Images vary less. (+1)", "step 540 at strength 1. It is most like her."
        )
        assert text.index("Overtrained") < text.index("Likeness")
        assert "Look at the hands. (+1)" in text
        await pilot.press("v")
        text = await shows(pilot, "Colours burn.", "Fewer epochs (10 → 6).", "Apply plans a run with schedule.epochs 6.")
        assert "You can do it: Compare them in part 4." in text
        assert "a apply" not in text, "no program can look"
        await pilot.press("down")
        await shows(pilot, "a apply")
        await pilot.press("escape")
        await shows(pilot, "Checklist")


async def test_apply_opens_the_next_plan_with_the_change_made_and_marked(home: Path) -> None:
    run = judged_run(home, LOOK, FEWER, MORE)
    app = LoratuiApp(home, "validation", run)
    async with app.run_test(notifications=True, size=NARROW) as pilot:
        await shows(pilot, "a apply")
        await pilot.press("a")
        await shows(pilot, f"◆ {run.name}: 10", f"Planned from {run.name}.", "◆ schedule.epochs 6", "6 epochs = 1 080")
        assert app.draft.recipe is not None
        assert app.draft.recipe.settings.output.planned_from == str(run.path)


async def test_a_file_is_chosen_and_its_strength_told(home: Path) -> None:
    run = judged_run(home, USE)
    async with LoratuiApp(home, "validation", run).run_test(notifications=True, size=WIDE) as pilot:
        await shows(pilot, "a apply")
        await pilot.press("a")
        await shows(pilot, "step 540 is chosen. Use it at strength 1; f keeps it.")
        await pilot.press("a")
        await rests(pilot)
    assert read_checklist(run.validation / "checklist.json").chosen == FILE, "applied twice, it is still chosen"


async def test_captions_are_written_in_the_dataset_step(home: Path) -> None:
    run = judged_run(home, CAPTION)
    photos = home / "photos"
    shutil.copytree(demo_dataset(), photos)
    recipe = read_recipe(run.recipe).with_changes({"dataset.path": str(photos)})
    found = scan(photos)
    sealed.write(run.dataset, build_ledger(recipe.settings, found, make_plan(recipe, found)), run.path)
    run.recipe.write_text(recipe.to_toml())
    app = LoratuiApp(home, "validation", run)
    async with app.run_test(notifications=True, size=WIDE) as pilot:
        await shows(pilot, "a apply")
        await pilot.press("a")
        await shows(pilot, "[3 dataset]", "◆ advice  better captions for 1 image", "listed here as “advice”")
        caption = photos / "anafox_03.txt"
        caption.write_text(f"{caption.read_text().strip()}, a red coat")
        await pilot.press("f5")
        await hides(pilot, "◆ advice")


async def test_what_cannot_be_applied_says_why(home: Path) -> None:
    run = judged_run(home, MORE)
    async with LoratuiApp(home, "validation", run).run_test(notifications=True, size=WIDE) as pilot:
        await shows(pilot, "a apply")
        await pilot.press("v")
        await shows(pilot, "Apply plans 3 epochs more from the newest checkpoint.")
        await pilot.press("enter")
        await shows(pilot, "has no checkpoint that can be used.")


async def test_a_verdict_without_advice_and_no_verdict_at_all(home: Path) -> None:
    run = judged_run(home, kind="good", reasons=[])
    async with LoratuiApp(home, "validation", run).run_test(notifications=True, size=WIDE) as pilot:
        text = await shows(pilot, "Well trained, 82 % sure: It learnt the subject and still follows the prompt.")
        assert "a apply" not in text
        await pilot.press("v")
        await shows(pilot, "There is no advice: nothing needs to change.")
        await pilot.press("a", "enter", "escape")
        await shows(pilot, "Checklist")
    (run.validation / "measures.json").unlink()
    async with LoratuiApp(home, "validation", run).run_test(notifications=True, size=WIDE) as pilot:
        text = await shows(pilot, "Checklist", "8 images")
        assert "v verdict" not in text
        assert "Well trained, 82 %" not in text


async def test_view_only_shows_the_verdict_and_applies_nothing(home: Path) -> None:
    run = judged_run(home, USE)
    async with LoratuiApp(home, "validation", run, view_only=True).run_test(notifications=True, size=WIDE) as pilot:
        await shows(pilot, "Overtrained", "v verdict")
        await pilot.press("a", "v")
        await shows(pilot, "Apply chooses")
        await pilot.press("a", "enter")
        await rests(pilot)
    assert not (run.validation / "checklist.json").exists()


@pytest.mark.long
async def test_hostile_words_are_cleaned(home: Path) -> None:
    run = judged_run(home, {**FEWER, "change": "\x1b[31m[bold]x[/bold]"}, reasons=["[red]y"])
    async with LoratuiApp(home, "validation", run).run_test(notifications=True, size=NARROW) as pilot:
        text = await shows(pilot, "[bold]x[/bold]", "[red]y", "v verdict")
        assert "\x1b" not in text
        await pilot.press("v")
        await shows(pilot, "[bold]x[/bold]", "[red]y")
