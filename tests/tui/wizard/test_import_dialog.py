"""Another trainer's settings in the preset step: read, shown, taken, and kept beside the presets."""

from __future__ import annotations

import json
from pathlib import Path

from screen_text import paste, shows

from loratui.tui.app import LoratuiApp

FILES = Path(__file__).parents[2] / "importing" / "files"


async def test_settings_of_another_trainer_become_a_draft(home: Path) -> None:
    async with LoratuiApp(home).run_test(notifications=True, size=(80, 24)) as pilot:
        await shows(pilot, "No runs yet")
        await pilot.press("n")
        await shows(pilot, "[1 preset]")
        await pilot.press("i")
        await shows(pilot, "Settings of another trainer")
        await paste(pilot, str(FILES / "kohya_ss" / "unet-only-sdxl.json"))
        await pilot.press("enter")
        await shows(pilot, "kohya_ss:", "scale_weight_norms", "theirs 1 200")
        await pilot.press("enter")
        await shows(pilot, "[2 base]")
        draft = pilot.app.draft  # type: ignore[attr-defined]  # the app of this test
        assert (draft.value("base.family"), draft.value("optimizer.name")) == ("sdxl", "adafactor")
        await pilot.press("escape")
        await shows(pilot, "[1 preset]", "Your own settings", "Settings without a preset")
        await pilot.press("down", "enter")
        await shows(pilot, "[2 base]")
        assert pilot.app.draft.recipe.preset  # type: ignore[attr-defined]  # the app of this test
        await pilot.press("escape")
        await shows(pilot, "[1 preset]", "Your own settings")
        await pilot.press("home", "enter")
        await shows(pilot, "[2 base]")
        assert pilot.app.draft.value("optimizer.name") == "adafactor"  # type: ignore[attr-defined]  # the app of this test


async def test_what_cannot_be_read_is_said_in_the_dialog(home: Path, tmp_path: Path) -> None:
    other = tmp_path / "qwen.json"
    other.write_text(json.dumps({"model_type": "QWEN", "training_method": "LORA"}))
    async with LoratuiApp(home).run_test(notifications=True, size=(80, 24)) as pilot:
        await pilot.press("n")
        await shows(pilot, "[1 preset]")
        await pilot.press("i")
        await shows(pilot, "Settings of another trainer")
        await paste(pilot, str(tmp_path / "gone.json"))
        await pilot.press("enter")
        await shows(pilot, "✖", "Check")
        await pilot.press("ctrl+u")
        await paste(pilot, str(other))
        await pilot.press("enter")
        await shows(pilot, "This is a recipe for Qwen")
        await pilot.press("enter", "escape")
        await shows(pilot, "[1 preset]")
