"""Prompts with their placeholders, and the numbers that go with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from screen_text import hides, rests, screen_text, shows, type_text, waits
from textual.pilot import Pilot

from loratui.tui.app import LoratuiApp
from loratui.tui.wizard.demo import demo_draft
from loratui.tui.wizard.draft import Draft


def _app(home: Path) -> LoratuiApp:
    return LoratuiApp(home, "samples", draft=demo_draft())


def _draft(pilot: Pilot[Any]) -> Draft:
    assert isinstance(pilot.app, LoratuiApp)
    return pilot.app.draft


async def test_a_prompt_is_shown_filled_in_while_it_is_typed(home: Path) -> None:
    async with _app(home).run_test(notifications=True, size=(120, 50)) as pilot:
        await shows(pilot, "→ a photo of anafox woman, smiling")
        await pilot.press("end")
        await type_text(pilot, ", {trigger} the {class}")
        await shows(pilot, ", anafox the woman")
        draft = _draft(pilot)
        assert draft.value("samples.prompts")[0].endswith(", {trigger} the {class}")


async def test_an_unknown_placeholder_is_told_and_keeps_one_here(home: Path) -> None:
    async with _app(home).run_test(notifications=True, size=(120, 50)) as pilot:
        await shows(pilot, "[5 samples]")
        await pilot.press("end")
        await type_text(pilot, " {tigger}")
        await shows(pilot, "✖ {tigger} is no placeholder; did you mean trigger?")
        await pilot.press("enter")
        await rests(pilot)
        assert "[5 samples]" in screen_text(pilot.app)
        await pilot.press("f6")
        await hides(pilot, "tigger")
        await pilot.press("enter")
        await shows(pilot, "[6 preflight]")


async def test_prompts_come_and_go(home: Path) -> None:
    async with _app(home).run_test(notifications=True, size=(120, 60)) as pilot:
        await shows(pilot, "[5 samples]")
        await pilot.press("f7")
        await shows(pilot, "empty: ignored; f8 removes it")
        draft = _draft(pilot)
        assert len(draft.value("samples.prompts")) == 2
        await type_text(pilot, "a cat")
        await shows(pilot, "→ unchanged: it has no placeholder")
        draft = _draft(pilot)
        assert draft.value("samples.prompts")[1] == "a cat"
        await pilot.press("f8")
        await hides(pilot, "a cat")
        await pilot.press("f8")
        await waits(pilot, lambda: len(_draft(pilot).value("samples.prompts")) == 1)
        assert "f8 remove" not in screen_text(pilot.app)
        await pilot.press("f6")
        await waits(pilot, lambda: len(_draft(pilot).value("samples.prompts")) == 2)


async def test_in_a_small_window_the_prompt_at_hand_stays_in_sight(home: Path) -> None:
    async with _app(home).run_test(notifications=True, size=(80, 24)) as pilot:
        await shows(pilot, "[5 samples]", "Prompt 1")
        for number in range(2, 7):
            await pilot.press("f7")
            await type_text(pilot, f"zebra {number}")
            await shows(pilot, f"Prompt {number}", f"zebra {number}")
        await pilot.press("up", "up", "up", "f8")
        await hides(pilot, "zebra 3")
        await type_text(pilot, "!")
        await shows(pilot, "Prompt 3", "zebra 4!", "zebra 5")
        draft = _draft(pilot)
        assert draft.value("samples.prompts")[1:5] == ("zebra 2", "zebra 4!", "zebra 5", "zebra 6")


async def test_numbers_out_of_range_are_told(home: Path) -> None:
    async with _app(home).run_test(notifications=True, size=(120, 60)) as pilot:
        await shows(pilot, "[5 samples]")
        await pilot.press("down", "down", "down", "9", "9", "9")
        await shows(pilot, "✖ samples.steps", "too large")
        await pilot.press("escape")
        await shows(pilot, "[4 plan]")
        await pilot.press("enter")
        await shows(pilot, "[5 samples]", "too large")


async def test_an_empty_prompt_is_left_out_and_is_there_again(home: Path) -> None:
    async with _app(home).run_test(notifications=True, size=(120, 60)) as pilot:
        await shows(pilot, "[5 samples]")
        await pilot.press("f7")
        await shows(pilot, "empty: ignored")
        await pilot.press("escape")
        await shows(pilot, "[4 plan]")
        await pilot.press("enter")
        await shows(pilot, "[5 samples]", "empty: ignored")
