"""Keys that come in one piece, as a slow line brings them: no word is lost, no key overtakes another."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import pytest
from fake_run import FakeTrainer, finished_run, make_run, write_grid
from screen_text import press_in_one_piece, rests, shows, waits
from textual.events import Key, Paste
from textual.pilot import Pilot
from textual.widgets import TextArea

from loratui.engine.runs.directory import RunDirectory
from loratui.presets.bases import demo_dataset
from loratui.tui import settings
from loratui.tui.app import LoratuiApp
from loratui.tui.runs.training_screen import TrainingScreen
from loratui.tui.terminal.key_queue import KeyQueue
from loratui.tui.widgets.caption_editor import CaptionEditor
from loratui.tui.widgets.field import Field
from loratui.tui.wizard.demo import demo_draft
from loratui.tui.wizard.draft import Draft


async def test_a_number_of_the_plan_and_its_enter(home: Path) -> None:
    app = LoratuiApp(home, "plan", draft=demo_draft())
    async with app.run_test(notifications=True, size=(80, 24)) as pilot:
        await shows(pilot, "[4 plan]", "× 10 epochs")
        await press_in_one_piece(pilot, "down", "5", "enter")
        await shows(pilot, "[5 samples]")
        assert app.draft.value("schedule.epochs") == 5


async def test_a_wrong_number_does_not_slip_through(home: Path) -> None:
    app = LoratuiApp(home, "plan", draft=demo_draft())
    async with app.run_test(notifications=True, size=(80, 24)) as pilot:
        await shows(pilot, "[4 plan]", "× 10 epochs")
        await press_in_one_piece(pilot, "down", "down", "99999999", "enter")
        await shows(pilot, "[4 plan]", "is too large; the most is 256")


async def test_backspaces_before_a_word(home: Path) -> None:
    app = LoratuiApp(home, "plan", draft=demo_draft())
    async with app.run_test(notifications=True, size=(80, 24)) as pilot:
        await shows(pilot, "[4 plan]", "× 10 epochs")
        await press_in_one_piece(pilot, "a", "/rank", "enter", "enter", "backspace", "backspace", "24", "enter", "escape")
        await waits(pilot, lambda: app.draft.value("adapter.rank") == 24)
        await shows(pilot, "Rank            24")


async def test_a_prompt_and_its_enter(home: Path) -> None:
    app = LoratuiApp(home, "samples", draft=demo_draft())
    async with app.run_test(notifications=True, size=(80, 24)) as pilot:
        await shows(pilot, "[5 samples]", "→ ")
        await press_in_one_piece(pilot, " on a horse", "enter")
        await shows(pilot, "[6 preflight]")
        assert app.draft.value("samples.prompts")[0].endswith("on a horse")  # type: ignore[index]
        await pilot.press("escape")
        await shows(pilot, "[5 samples]")
        await press_in_one_piece(pilot, " {foo}", "enter")
        await shows(pilot, "[5 samples]", "{foo} is no placeholder")


async def test_a_base_and_its_enter(home: Path) -> None:
    app = LoratuiApp(home, "base", draft=Draft().with_preset("demo"))
    async with app.run_test(notifications=True, size=(80, 24)) as pilot:
        await shows(pilot, "[2 base]", "toy for the demo")
        await press_in_one_piece(pilot, "zzz", "enter")
        await shows(pilot, "[3 dataset]")
        assert app.draft.value("base.model") == "embedded:sd15zzz"


async def test_the_whole_data_set_step(home: Path) -> None:
    app = LoratuiApp(home, "dataset", draft=Draft().with_preset("demo"))
    async with app.run_test(notifications=True, size=(80, 24)) as pilot:
        await shows(pilot, "[3 dataset]", "Folder")
        await press_in_one_piece(pilot, str(demo_dataset()), "enter", "anafox", "enter", "woman")
        await shows(pilot, "18 images, 18 with a caption")
        assert [field.text for field in app.screen.query(Field)] == [str(demo_dataset()), "anafox", "woman"]


async def test_a_caption_and_what_ends_it(home: Path) -> None:
    chosen = {"dataset.path": str(demo_dataset()), "dataset.trigger": "anafox", "dataset.class_word": "woman"}
    app = LoratuiApp(home, "dataset", draft=Draft().with_preset("demo").with_values(chosen))
    async with app.run_test(notifications=True, size=(80, 24)) as pilot:
        await shows(pilot, "18 images, 18 with a caption")
        await pilot.press("tab", "tab", "enter")
        await shows(pilot, "Caption", "as in its file")
        await press_in_one_piece(pilot, "e", " AGAIN", "enter")
        await shows(pilot, "not saved yet", "AGAIN")
        assert app.screen.focused is None, "the caption is left"
        assert app.screen.query_one(CaptionEditor).text.endswith(" AGAIN")
        await press_in_one_piece(pilot, "escape", "c", "down", "down", "down", "down", "enter", "hello", "enter")
        await shows(pilot, "18 captions changed here", "18  hello")


async def test_the_price_of_the_machine(home: Path) -> None:
    app = LoratuiApp(home)
    async with app.run_test(notifications=True, size=(80, 24)) as pilot:
        await shows(pilot, "No runs yet")
        await press_in_one_piece(pilot, "f2", "tab", "1.25", "enter")
        await waits(pilot, lambda: app.settings.price_per_hour == 1.25)
        assert settings.load().settings.price_per_hour == 1.25
        await shows(pilot, "No runs yet")


async def test_a_token_is_sent_whole(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from loratui.engine.machine import hub

    asked: list[str] = []

    def login(token: str) -> object:
        asked.append(token)
        raise OSError("there is no line")

    monkeypatch.setattr(hub, "login", login)
    app = LoratuiApp(home, "base", draft=Draft().with_preset("demo"))
    async with app.run_test(notifications=True, size=(80, 24)) as pilot:
        await shows(pilot, "[2 base]", "f7 token")
        await press_in_one_piece(pilot, "f7", "hf_secretword", "enter")
        await shows(pilot, "there is no line")
        assert asked == ["hf_secretword"]


async def test_a_command_of_the_palette(home: Path) -> None:
    async with LoratuiApp(home).run_test(notifications=True, size=(80, 24)) as pilot:
        await shows(pilot, "No runs yet")
        await press_in_one_piece(pilot, "ctrl+p", "versions", "enter")
        await shows(pilot, "For a bug report")


async def test_words_for_the_log_are_no_commands(home: Path) -> None:
    run = make_run(home)
    with FakeTrainer(run) as trainer:
        trainer.start()
        trainer.steps(9)
        app = LoratuiApp(home, "training", run)
        async with app.run_test(notifications=True, size=(80, 24)) as pilot:
            await shows(pilot, "9 of 900")
            await press_in_one_piece(pilot, "/xyps", "enter")
            text = await shows(pilot, "“xyps”")
            assert "Stop" not in text
            assert isinstance(app.screen, TrainingScreen), "no question was opened"
            assert not list(run.control.glob("*.json")), "nothing was commanded"


async def test_other_samples_while_it_trains(home: Path) -> None:
    run = make_run(home)
    with FakeTrainer(run) as trainer:
        trainer.start()
        trainer.steps(9)
        async with LoratuiApp(home, "training", run).run_test(notifications=True, size=(80, 24)) as pilot:
            await shows(pilot, "9 of 900")
            await press_in_one_piece(pilot, "i", "a cat ", "tab", "backspace", "backspace", "backspace", "123", "enter")
            await waits(pilot, lambda: bool(list(run.control.glob("*.json"))))
            asked = json.loads(next(run.control.glob("*.json")).read_text())
            assert asked["args"]["every_image_steps"] == 123
            assert asked["args"]["prompts"][0].startswith("a cat ")


@pytest.fixture
def checked(home: Path) -> RunDirectory:
    run = finished_run(home)
    write_grid(run)
    return RunDirectory(run.path)


async def test_a_note(home: Path, checked: RunDirectory) -> None:
    async with LoratuiApp(home, "validation", checked).run_test(notifications=True, size=(80, 24)) as pilot:
        await shows(pilot, "Checklist")
        await press_in_one_piece(pilot, "e", "the same person", "f2")
        await shows(pilot, "note  the same person")
        assert not pilot.app.screen.query(TextArea)


async def test_the_name_of_an_export(home: Path, checked: RunDirectory) -> None:
    async with LoratuiApp(home, "validation", checked).run_test(notifications=True, size=(120, 40)) as pilot:
        await shows(pilot, "Checklist")
        await pilot.press("f")
        await shows(pilot, "anafox.safetensors")
        await press_in_one_piece(pilot, "enter", "-mine", "enter")
        await shows(pilot, "✔", "beside it")
        assert (checked.path / "export" / "anafox-mine.safetensors").exists()
        assert not (checked.path / "export" / "anafox.safetensors").exists()


async def test_a_prompt_of_the_check(home: Path, checked: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    from loratui.tui.validation.validation_screen import ValidationScreen

    launched: list[str] = []
    monkeypatch.setattr(ValidationScreen, "launch", lambda _, job: launched.append(job))
    async with LoratuiApp(home, "validation", checked).run_test(notifications=True, size=(80, 24)) as pilot:
        await shows(pilot, "Checklist")
        await press_in_one_piece(pilot, "g", " on mars", "enter")
        await waits(pilot, lambda: launched == ["validate"])
        wish = json.loads((checked.validation / "wish.json").read_text())
        assert wish["prompts"][0].endswith(" on mars")


async def test_a_busy_widget_holds_the_keys_up_once_and_not_for_long(home: Path) -> None:
    app = LoratuiApp(home, "plan", draft=demo_draft())
    async with app.run_test(notifications=True, size=(80, 24)) as pilot:
        await shows(pilot, "[4 plan]", "× 10 epochs")
        busy, free, plan = asyncio.Event(), asyncio.Event(), app.screen

        async def hold() -> None:
            busy.set()
            await free.wait()

        assert app.focused is not None
        app.focused.call_later(hold)
        await busy.wait()
        begun = time.monotonic()
        send(pilot, "down", "up", "down", "up", "down", "ctrl+p")
        try:
            while app.screen is plan:
                await asyncio.sleep(0.02)
                assert time.monotonic() < begun + 2.0, "each key waited anew"
        finally:
            free.set()


async def test_keys_that_come_before_the_end_do_no_harm(home: Path) -> None:
    app = LoratuiApp(home)
    async with app.run_test(notifications=True, size=(80, 24)) as pilot:
        await shows(pilot, "No runs yet")
        send(pilot, "q", "n", "n", "escape")
        end = time.monotonic() + 5
        while app.is_running:
            await asyncio.sleep(0.02)
            assert time.monotonic() < end, "it has not ended"
    assert app.return_code == 0


@pytest.mark.parametrize("key", ["ctrl+c", "ctrl+q", "escape", "x", "down", "f1"])
async def test_a_key_that_comes_alone_waits_for_nothing(home: Path, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    app = LoratuiApp(home, "samples", draft=demo_draft())
    async with app.run_test(notifications=True, size=(80, 24)) as pilot:
        await shows(pilot, "[5 samples]", "→ ")
        await rests(pilot)
        waited = watch_waiting(monkeypatch)
        send(pilot, key)
        await rests(pilot)
        assert waited == []


async def test_a_long_text_without_brackets_waits_for_nothing_between_its_letters(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = LoratuiApp(home, "samples", draft=demo_draft())
    async with app.run_test(notifications=True, size=(80, 24)) as pilot:
        await shows(pilot, "[5 samples]", "→ ")
        waited = watch_waiting(monkeypatch)
        await press_in_one_piece(pilot, "long words " * 50, "backspace", "backspace", "ends", "enter")
        await waits(pilot, lambda: str(app.draft.value("samples.prompts")[0]).endswith("long words long wordends"))  # type: ignore[index]
        assert len(waited) <= 6, "one for the first letter, and those around keys that are no letters"


async def test_of_a_long_text_in_one_piece_only_what_it_becomes_is_worked_out(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = LoratuiApp(home, "samples", draft=demo_draft())
    async with app.run_test(notifications=True, size=(80, 24)) as pilot:
        await shows(pilot, "[5 samples]", "→ ")
        worked_out: list[str] = []
        with_values = Draft.with_values

        def counted(self: Draft, values: dict[str, object]) -> Draft:
            worked_out.append("")
            return with_values(self, values)

        monkeypatch.setattr(Draft, "with_values", counted)
        await press_in_one_piece(pilot, " long words" * 180)
        await waits(pilot, lambda: len(str(app.draft.value("samples.prompts")[0])) > 1980)  # type: ignore[index]
        assert len(worked_out) <= 20, "not once a letter"
        await shows(pilot, " … ", "Prompt 2")


async def test_what_is_pasted_keeps_its_place(home: Path) -> None:
    app = LoratuiApp(home, "samples", draft=demo_draft())
    async with app.run_test(notifications=True, size=(80, 24)) as pilot:
        await shows(pilot, "[5 samples]", "→ ")
        send(pilot, "a", Paste("PASTED"), "b", "backspace", Paste("TWO"), "end", "c", "enter")
        await waits(pilot, lambda: str(app.draft.value("samples.prompts")[0]).endswith("aPASTEDTWOc"))  # type: ignore[index]


def send(pilot: Pilot[object], *keys: str | Paste) -> None:
    """Brings keys and pasted texts in one piece, and waits for none of them."""
    driver = pilot.app._driver
    assert driver is not None
    for key in keys:
        driver.send_message(key if isinstance(key, Paste) else Key(key, key if len(key) == 1 else None))


def watch_waiting(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One number for each time that keys wait from now on."""
    waited: list[int] = []
    rest = KeyQueue._rest

    async def watched(self: KeyQueue) -> None:
        waited.append(len(self._waiting))
        await rest(self)

    monkeypatch.setattr(KeyQueue, "_rest", watched)
    return waited
