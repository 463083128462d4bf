"""What stands over a screen: help for the focused part, the palette, jump mode, copying, the debug screen; and view-only."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import pytest
from fake_run import FakeTrainer, finished_run, make_run
from screen_text import hides, rests, screen_text, shows, type_text, waits

from loratui.engine.runs import control
from loratui.tui import cli
from loratui.tui.app import LoratuiApp
from loratui.tui.screens.jump import JumpScreen
from loratui.tui.widgets.field import Field, FieldInput
from loratui.tui.wizard.advanced_screen import AdvancedScreen
from loratui.tui.wizard.demo import demo_draft
from loratui.tui.wizard.draft import Draft


async def test_help_explains_the_field_that_has_the_focus(home: Path) -> None:
    async with LoratuiApp(home, "plan", draft=demo_draft()).run_test(notifications=True, size=(120, 60)) as pilot:
        await shows(pilot, "1 800 image-steps")
        await pilot.press("question_mark")
        await shows(pilot, "Here: Repeats", "how often each image is shown in one epoch")


@pytest.mark.parametrize(
    ("step", "words"),
    [("plan", "go on to the next step"), ("dataset", "on to the next field; from the last one: go on to the next step")],
)
async def test_help_says_what_enter_does_in_a_field_of_this_screen(home: Path, step: str, words: str) -> None:
    async with LoratuiApp(home, step, draft=demo_draft()).run_test(notifications=True, size=(120, 60)) as pilot:
        await waits(pilot, lambda: isinstance(pilot.app.focused, FieldInput))
        await pilot.press("f1")
        text = await shows(pilot, "Here:", words)
        assert ("next field" in text) == (step == "dataset")


async def test_help_explains_a_list(home: Path) -> None:
    finished_run(home)
    async with LoratuiApp(home).run_test(notifications=True, size=(120, 60)) as pilot:
        await shows(pilot, "✔ done")
        await pilot.press("question_mark")
        await shows(pilot, "Here: a list", "chooses the line, as a click does")


async def test_the_palette_finds_a_command_by_its_word_in_the_key_bar(home: Path) -> None:
    run = make_run(home)
    with FakeTrainer(run) as trainer:
        trainer.start()
        trainer.steps(90)
        trainer.finish("paused", 0, "Paused.")
    async with LoratuiApp(home).run_test(notifications=True, size=(100, 40)) as pilot:
        await shows(pilot, "r resume")
        await pilot.press("ctrl+p")
        await shows(pilot, "What do you want to do?", "reuse: plan a new run with this run's recipe  (u)")
        await type_text(pilot, "resume")
        await waits(pilot, lambda: "with this run's recipe" not in screen_text(pilot.app))
        await shows(pilot, "resume the run from its last checkpoint  (r)")


async def test_the_palette_finds_a_command_and_carries_it_out(home: Path) -> None:
    async with LoratuiApp(home).run_test(notifications=True, size=(100, 40)) as pilot:
        await shows(pilot, "No runs yet")
        await pilot.press("ctrl+p")
        text = await shows(pilot, "What do you want to do?", "plan a new run", "(n)")
        assert "delete the run" not in text
        await type_text(pilot, "demo")
        await waits(pilot, lambda: "plan a new run" not in screen_text(pilot.app))
        await pilot.press("enter")
        await shows(pilot, "[4 plan]")


async def test_jump_mode_goes_where_the_letter_is(home: Path) -> None:
    async with LoratuiApp(home, "plan", draft=demo_draft()).run_test(notifications=True, size=(100, 30)) as pilot:
        await shows(pilot, "1 800 image-steps")
        await pilot.press("ctrl+o")
        await shows(pilot, "Press a letter to go there")
        await pilot.press("d")
        await hides(pilot, "Press a letter")
        assert [field.key for field in pilot.app.screen.query(Field) if field.entered] == ["training.batch_size"]
        await pilot.press("ctrl+o")
        await shows(pilot, "Press a letter")
        await pilot.press("escape")
        await hides(pilot, "Press a letter")
        await pilot.press("ctrl+o")
        await waits(pilot, lambda: isinstance(pilot.app.screen, JumpScreen))
        await pilot.resize_terminal(90, 28)
        await hides(pilot, "Press a letter")


async def test_what_is_copied_is_shown_too(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSH_CONNECTION", "203.0.113.9 5000 198.51.100.7 2222")
    run = finished_run(home)
    app = LoratuiApp(home)
    async with app.run_test(notifications=True, size=(140, 40)) as pilot:
        await shows(pilot, "✔ done")
        await pilot.press("y")
        text = await shows(pilot, f"loratui attach {run.name}", "scp -P 2222", "198.51.100.7:")
        assert str(run.path) in re.sub(r"[\s│]+", "", text), "a long path is broken where the window ends"
        await pilot.press("down", "enter")
        await shows(pilot, "sent to your clipboard: loratui")
        assert app.clipboard == f"loratui attach {run.name}"


async def test_copying_goes_out_as_osc_52_without_anything_harmful(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = LoratuiApp(home)
    async with app.run_test(notifications=True, size=(80, 24)) as pilot:
        await shows(pilot, "No runs yet")
        written: list[str] = []
        assert app._driver is not None
        monkeypatch.setattr(app._driver, "write", written.append)
        app.copy("a\x1b]0;b\x07\nc", "text")
        sequence = next(part for part in written if "]52;" in part)
        payload = base64.b64decode(sequence.removeprefix("\x1b]52;c;").removesuffix("\a")).decode()
        assert payload == "a␛]0;b␇␊c"


async def test_the_debug_screen_has_the_last_errors_without_secrets(home: Path) -> None:
    app = LoratuiApp(home)
    async with app.run_test(notifications=True, size=(120, 40)) as pilot:
        await shows(pilot, "No runs yet")
        app.tell("hf_abcdefghijkl was refused [red]\x1b[2J", "error")
        await pilot.press("f9")
        await shows(pilot, "For a bug report", "loratui:", "textual", "120×40", "[hidden] was refused [red]␛[2J")
        await pilot.press("y")
        await waits(pilot, lambda: "[hidden] was refused" in app.clipboard)
        assert "abcdefghijkl" not in app.clipboard


async def test_view_only_sends_and_starts_nothing(home: Path) -> None:
    run = make_run(home)
    with FakeTrainer(run) as trainer:
        trainer.start()
        trainer.steps(9)
        app = LoratuiApp(home, "training", run, view_only=True)
        async with app.run_test(notifications=True, size=(140, 40)) as pilot:
            text = await shows(pilot, "view only", "9 of 900")
            assert "pause" not in text.splitlines()[-1]
            for key in ("s", "c", "p", "x"):
                await pilot.press(key)
            await pilot.press("ctrl+p")
            text = await shows(pilot, "What do you want to do?")
            assert "save a checkpoint" not in text
            await pilot.press("escape", "question_mark")
            text = await shows(pilot, "log level: everything, warnings")
            assert "save a checkpoint" not in text
            await pilot.press("escape")
            await rests(pilot)
            assert "Stop" not in screen_text(app)
        assert control.pending(run) == []


async def test_view_only_deletes_and_starts_no_run(home: Path) -> None:
    run = finished_run(home)
    app = LoratuiApp(home, view_only=True)
    async with app.run_test(notifications=True, size=(120, 40)) as pilot:
        listed = await shows(pilot, "view only", run.name)
        assert "n new run" not in listed
        await pilot.press("d", "n", "t", "u")
        await rests(pilot)
        assert "Delete" not in screen_text(app)
        app.plan_new(demo_draft(), "preflight")
        text = await shows(pilot, "[6 preflight]", "This window is view-only")
        assert "enter start training" not in text
        await pilot.press("enter", "s", "p")
        await rests(pilot)
    assert [path.name for path in (home / "runs").iterdir()] == [run.name]
    assert not (home / "probes").exists()


def test_view_only_is_for_looking(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--view-only", "rm", "x"]) == 2
    assert "cannot be view-only" in capsys.readouterr().err


async def test_news_of_a_run_reach_a_person_who_plans_the_next(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(home)
    app = LoratuiApp(home, "plan", draft=demo_draft())
    rung: list[int] = []
    with FakeTrainer(run) as trainer:
        trainer.start()
        trainer.steps(9)
        async with app.run_test(notifications=True, size=(120, 40)) as pilot:
            monkeypatch.setattr(app, "ring", lambda: rung.append(1))
            await waits(pilot, lambda: bool(app.runs))
            trainer.finish("failed", 30, "The loss of step 10 is not a finite number.", "Lower the learning rate.")
            trainer.lock.release()
            app.look_at_the_runs_again()
            await shows(pilot, f"✖ {run.name} ended", "NaN")
            assert rung == [1]
            assert any("NaN" in error for error in app.errors)


async def test_a_hub_id_offers_the_download_and_an_embedded_base_does_not(home: Path) -> None:
    draft = Draft().with_preset("sd15-portrait")
    async with LoratuiApp(home, "base", draft=draft).run_test(notifications=True, size=(120, 40)) as pilot:
        await shows(pilot, "[2 base]", "f6 downloads it", "f6 download")
    async with LoratuiApp(home, "base", draft=demo_draft()).run_test(notifications=True, size=(120, 40)) as pilot:
        text = await shows(pilot, "toy for the demo")
        assert "f6 download" not in text


async def test_tab_completes_a_path_among_all_settings(home: Path, tmp_path: Path) -> None:
    (tmp_path / "my vae.safetensors").touch()
    async with LoratuiApp(home, "plan", draft=demo_draft()).run_test(notifications=True, size=(120, 60)) as pilot:
        await shows(pilot, "1 800 image-steps")
        pilot.app.push_screen(AdvancedScreen())
        await shows(pilot, "/ finds a setting")
        await pilot.press("slash")
        await type_text(pilot, "base.vae")
        await shows(pilot, "file or folder of a VAE")
        await pilot.press("down", "enter")
        await type_text(pilot, f"{tmp_path}/my\\ v")
        await pilot.press("tab")
        await shows(pilot, "my\\ vae.safetensors")
        await pilot.press("enter")
        await waits(pilot, lambda: pilot.app.draft.value("base.vae") == f"{tmp_path}/my vae.safetensors")
