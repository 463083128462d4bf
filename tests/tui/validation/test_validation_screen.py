"""The check: its seven parts, the images that answer each, what a person notes, and making images."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from fake_run import (
    PROMPTS,
    FakeTrainer,
    check_cell,
    finished_run,
    list_grid,
    make_run,
    strength_cells,
    write_grid,
    write_ledger,
)
from screen_text import hides, rests, screen_text, shows, type_text, waits
from textual.app import App

from loratui.engine.errors import LoratuiError
from loratui.engine.proof import embedding_weights, face_weights
from loratui.engine.proof.notes import FORMAT, read_checklist
from loratui.engine.runs import control
from loratui.engine.runs.directory import RunDirectory
from loratui.tui.app import LoratuiApp
from loratui.tui.validation.image_screen import ValidationImage
from loratui.tui.widgets.check_list import CheckList
from loratui.tui.widgets.image_table import ImageTable
from loratui.tui.widgets.thumbnail import ThumbnailView

WIDE, NARROW = (120, 40), (80, 24)


def _app(home: Path, run: RunDirectory, *, view_only: bool = False) -> LoratuiApp:
    return LoratuiApp(home, "validation", run, view_only=view_only)


def _images(app: App[Any]) -> ImageTable:
    return app.screen.query_one(ImageTable)


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Jobs that would have been started."""
    jobs: list[str] = []
    monkeypatch.setattr("loratui.engine.runs.launcher.launch", lambda run, job="train": jobs.append(job))
    return jobs


async def test_each_part_shows_the_images_that_answer_it(home: Path) -> None:
    run = finished_run(home)
    write_ledger(run)
    write_grid(run, epochs=True)
    async with _app(home, run).run_test(notifications=True, size=WIDE) as pilot:
        await shows(pilot, "1/7 Likeness", "Is it the same person", "red clothing", "green clothing", "seed 1000")
        await pilot.press("n")
        await shows(pilot, "2/7 Generalises", "most like this training image", "anafox_03.png")
        await pilot.press("n")
        await shows(pilot, "3/7 Trigger alone", "None of the prompts is the trigger alone. g adds one.")
        await pilot.press("n")
        await shows(pilot, "4/7 Quality", "the base alone", "with the LoRA, 1")
        await pilot.press("n")
        await shows(pilot, "5/7 Strength", "0, no LoRA", "strength 0.5", "strength 1.5", "0.97 nearly same")
        await pilot.press("n")
        await shows(pilot, "6/7 Checkpoints", "the base", "step 90", "step 180", "›")
        await pilot.press("n")
        text = await shows(pilot, "7/7 Next step", "likeness weak", "10 → 12 epochs", "No file is chosen yet")
        assert "step 90" not in text
        await pilot.press("n")
        await shows(pilot, "1/7 Likeness")
        await pilot.press("p")
        await shows(pilot, "7/7 Next step")


def write_measures(run: RunDirectory, **changes: Any) -> None:
    """Measures of two parts as the job writes them; `changes` to the row of sharpness."""
    texts = {"unit": "levels", "unknown": "", "about": "The contrast of fine detail.", "limits": "Grain counts as sharp."}
    sharp = {"id": "sharpness", "title": "Sharpness", "value": 4.1, "spread": 0.2, "base": 4.3, "range": None, **texts}
    sharp |= {"figure": "0.96 of the base's", "means": "unchanged", "ratio": 0.96, **changes}
    unknown = {**sharp, "id": "variety", "title": "Variety", "value": None, "figure": "", "means": "", "unknown": "One seed."}
    likeness = {**sharp, "id": "likeness", "title": "Likeness by faces", "value": 0.5, "range": [0.41, 0.63], "figure": "0.50"}
    likeness |= {"means": "as like as the photos are to each other", "unknown": "", "below": 0.25, "within": 0.75, "above": 0.0}
    rows = {"quality": [unknown, sharp], "likeness": [likeness]}
    parts = [{"id": id, "status": "partly", "measures": measures, "images": []} for id, measures in rows.items()]
    (run.validation / "measures.json").write_text(json.dumps({"format": 1, "parts": parts}))


@pytest.mark.parametrize("size", [WIDE, NARROW])
async def test_a_part_shows_what_was_measured_and_m_explains_it(home: Path, size: tuple[int, int]) -> None:
    run = finished_run(home)
    write_grid(run)
    write_measures(run)
    async with _app(home, run).run_test(notifications=True, size=size) as pilot:
        await shows(pilot, "Likeness")
        await pilot.press("n", "n", "n")
        if size == NARROW:
            await pilot.press("tab")
        text = await shows(pilot, "4/7 Quality", "Sharpness 0.96 of the base's: unchanged", "Variety unknown: One seed.")
        assert text.index("Sharpness") < text.index("Variety"), "what is known comes first"
        await pilot.press("m")
        await shows(
            pilot, "measures: Quality", "The contrast of fine detail.", "Grain counts as sharp.", "base's images 4.3", "± 0.2"
        )
        await pilot.press("escape")
        await shows(pilot, "4/7 Quality")
        await pilot.press("n", "n", "n", "n")
        await shows(pilot, "Likeness by faces 0.50: as like as the photos")
        await pilot.press("m")
        await shows(pilot, "the photos among themselves 0.41–0.63", "25% below, 75% within what")


@pytest.mark.parametrize(
    ("models", "lacking", "key", "what"),
    [
        (face_weights, face_weights.NONE_HERE, "f", "face models"),
        (embedding_weights, embedding_weights.NO_IMAGE_TEXT, "i", "image models"),
    ],
)
async def test_models_are_fetched_from_the_page_of_the_measures(
    home: Path, monkeypatch: pytest.MonkeyPatch, models: ModuleType, lacking: str, key: str, what: str
) -> None:
    run = finished_run(home)
    write_grid(run)
    write_measures(run, value=None, figure="", means="", unknown=lacking)
    fetched: list[Path] = []
    answers = [LoratuiError("The hub is away.", "Try later.")]

    def fetch(home: Path) -> None:
        fetched.append(home)
        if answers:
            raise answers.pop()

    monkeypatch.setattr(models, "fetch", fetch)
    async with _app(home, run).run_test(notifications=True, size=WIDE) as pilot:
        await shows(pilot, "1/7 Likeness", "m measures")
        await pilot.press("m")
        assert f"get {what}" not in await shows(pilot, "measures: Likeness")
        await pilot.press("escape")
        await shows(pilot, "1/7 Likeness")
        await pilot.press("n", "n", "n")
        await shows(pilot, "4/7 Quality")
        await pilot.press("m")
        await shows(pilot, lacking.partition(".")[0], f"{key} get {what}")
        assert not fetched, "nothing is downloaded before a yes"
        await pilot.press(key)
        await shows(pilot, "The hub is away. Try later.", f"{key} get {what}")
        await pilot.press(key)
        await shows(pilot, f"The {what} are here.")
        assert len(fetched) == 2


@pytest.mark.parametrize(
    "body",
    [
        "",
        "[]",
        "{}",
        '{"format": 1}',
        '{"format": 1, "parts": [{"id": "quality"}]}',
        '{"format": 99, "parts": []}',
        '{"format": 1, "parts": [3]}',
    ],
)
async def test_measures_that_cannot_be_used_are_no_measures(home: Path, body: str) -> None:
    run = finished_run(home)
    write_grid(run)
    (run.validation / "measures.json").write_text(body)
    async with _app(home, run).run_test(notifications=True, size=WIDE) as pilot:
        text = await shows(pilot, "1/7 Likeness", "red clothing")
        assert "unknown:" not in text
        assert not pilot.app.screen.has_measures  # type: ignore[attr-defined]  # the validation's screen


async def test_new_measures_appear_when_the_job_has_written_them(home: Path) -> None:
    run = finished_run(home)
    list_grid(run, strength_cells())
    with FakeTrainer(run, "validate") as trainer:
        trainer.log.append("trainer_started", attempt=1, pid=1)
        async with _app(home, run).run_test(notifications=True, size=WIDE) as pilot:
            await shows(pilot, "1/7 Likeness")
            trainer.phase("measuring", "Measuring the images")
            write_measures(run)
            trainer.finish()
            await shows(pilot, "Likeness by faces 0.50: as like as the photos")


async def test_hostile_measures_are_cleaned(home: Path) -> None:
    run = finished_run(home)
    write_grid(run)
    write_measures(run, figure="\x1b[31mred [bold]x[/bold]", means="a\nb" * 300)
    async with _app(home, run).run_test(notifications=True, size=NARROW) as pilot:
        await pilot.press("n", "n", "n", "tab")
        text = await shows(pilot, "4/7 Quality", "[bold]x[/bold]")
        assert "\x1b" not in text
        assert "n next" in text, "the keys are still there"


async def test_the_table_stands_before_the_first_image_and_fills_as_they_come(home: Path) -> None:
    run = finished_run(home)
    list_grid(run, strength_cells())
    with FakeTrainer(run, "validate") as trainer:
        trainer.log.append("trainer_started", attempt=1, pid=1)
        trainer.phase("sampling", "Making the validation images")
        async with _app(home, run).run_test(notifications=True, size=WIDE) as pilot:
            await shows(pilot, "● making images", "Making images: 0 of 8", "not made yet")
            pilot.app.screen.query_one(CheckList).highlighted = 4
            trainer.image(PROMPTS[0], 0.0, nearest="x.png", similarity=0.5)
            await shows(pilot, PROMPTS[0], PROMPTS[1], "Making images: 1 of 8", "0.50 unlike")
            for strength in (0.5, 1.0, 1.5):
                trainer.image(PROMPTS[0], strength, nearest="x.png", similarity=0.5)
            await shows(pilot, "Making images: 4 of 8", "about ")
            await waits(pilot, lambda: len(_images(pilot.app).shown_images) == 4)
            assert all(_images(pilot.app).shown_images.values())


async def test_x_asks_the_job_to_stop_and_r_goes_on(home: Path, launched: list[str]) -> None:
    run = finished_run(home)
    list_grid(run, strength_cells())
    with FakeTrainer(run, "validate") as trainer:
        trainer.log.append("trainer_started", attempt=1, pid=1)
        trainer.image(PROMPTS[0], 0.0)
        async with _app(home, run).run_test(notifications=True, size=WIDE) as pilot:
            text = await shows(pilot, "Making images: 1 of 8", "x stop")
            assert "g make" not in text
            await pilot.press("x")
            await shows(pilot, "Stopping: 1 of 8 are made")
            assert [command.command for command in control.pending(run)] == ["stop"]
    with FakeTrainer(run, "validate") as trainer:
        trainer.acknowledge()
        trainer.finish("stopped", 143, "Stopped as asked.")
    async with _app(home, run).run_test(notifications=True, size=WIDE) as pilot:
        await shows(pilot, "1 of 8 images. r makes the rest", "r resume", "g make")
        await pilot.press("r")
        await shows(pilot, "Making the rest of the images")
        await waits(pilot, lambda: launched == ["validate"])


async def test_a_check_that_failed_says_why(home: Path) -> None:
    run = finished_run(home)
    with FakeTrainer(run, "validate") as trainer:
        trainer.log.append("trainer_started", attempt=1, pid=1)
        trainer.finish("failed", 34, "There was not enough memory.", "Free memory.")
    async with _app(home, run).run_test(notifications=True, size=WIDE) as pilot:
        await shows(pilot, "The images could not be made: There was not enough memory.")


async def test_a_run_without_a_file_cannot_be_checked_yet(home: Path) -> None:
    run = make_run(home)
    async with _app(home, run).run_test(notifications=True, size=WIDE) as pilot:
        text = await shows(pilot, "There is no LoRA file yet")
        assert "g make" not in text
        assert "f files" not in text
        await pilot.press("g", "f")
        await rests(pilot)
        assert "1/7 Likeness" in screen_text(pilot.app)


async def test_ticks_notes_and_what_was_seen_are_kept_in_the_run(home: Path) -> None:
    run = finished_run(home)
    async with _app(home, run).run_test(notifications=True, size=WIDE) as pilot:
        await shows(pilot, "0 of 7 ticked", "Is it the same person in all of them?")
        await pilot.press("space", "down", "space")
        await shows(pilot, "2 of 7 ticked", "[✔] Likeness", "[✔] Generalises")
        await pilot.press("space", "e")
        await shows(pilot, "Note on “Generalises, or remembers?”", "esc  save")
        await type_text(pilot, "the bow returns")
        await pilot.press("escape")
        await shows(pilot, "1 of 7 ticked", "note  the bow returns")
        await pilot.press("e")
        await type_text(pilot, "xyz")
        await pilot.press("f8")
        await hides(pilot, "discard changes")
        await pilot.press("p", "p", "enter", "down", "space")
        await shows(pilot, "[✔] details of the photos stick")
    path = run.validation / "checklist.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    body = json.loads(path.read_text())
    assert (body["format"], list(body["ticked"]), body["notes"]) == (FORMAT, ["likeness"], {"generalises": "the bow returns"})
    assert body["seen"] == ["sticks"]
    async with _app(home, run).run_test(notifications=True, size=WIDE) as pilot:
        await shows(pilot, "1 of 7 ticked", "2/7 Generalises", "the bow returns")


async def test_a_rating_is_given_to_the_file_of_the_image_under_the_cursor(home: Path) -> None:
    run = finished_run(home)
    write_grid(run, epochs=True)
    async with _app(home, run).run_test(notifications=True, size=WIDE) as pilot:
        await shows(pilot, "1/7 Likeness")
        pilot.app.screen.query_one(CheckList).highlighted = 5
        await shows(pilot, "step 90")
        await pilot.press("enter", "right", "right", "4")
        await shows(pilot, "step 180 ★★★★")
        await pilot.press("left", "left", "3")
        assert "the base ★" not in screen_text(pilot.app)
    assert {file: mark.rating for file, mark in read_checklist(run.validation / "checklist.json").files.items()} == {
        "output/anafox-000180.safetensors": 4
    }


async def test_an_image_large_stands_beside_the_base_or_its_nearest_photo(home: Path) -> None:
    run = finished_run(home)
    write_ledger(run)
    write_grid(run)
    async with _app(home, run).run_test(notifications=True, size=WIDE) as pilot:
        await shows(pilot, "1/7 Likeness")
        pilot.app.screen.query_one(CheckList).highlighted = 4
        await shows(pilot, "strength 1.5")
        await pilot.press("enter", "end", "enter")
        text = await shows(
            pilot, "anafox.safetensors, strength 1.5", "the base alone", "nearly the same anafox_03.png (0.97 of 1)"
        )
        assert "memorised" in text
        assert isinstance(pilot.app.screen, ValidationImage)
        assert ("path", f"{run.validation}/00-anafox-1.50-1000.png") in pilot.app.screen.copyable()
        await waits(pilot, lambda: all(view._image is not None for view in pilot.app.screen.query(ThumbnailView)))
        await pilot.press("c")
        await shows(pilot, "training image anafox_03.png", "c compare")
        await pilot.press("c")
        await hides(pilot, "training image anafox_03.png")
        await pilot.press("left")
        await shows(pilot, "strength 1", "a bit like anafox_03.png (0.79 of 1)", "It is no copy")
        await pilot.press("down")
        await shows(pilot, PROMPTS[1])
        await pilot.press("left", "left", "c")
        await shows(pilot, "the base alone", "training image anafox_03.png")
        await pilot.press("y")
        await shows(pilot, "scp line")
        await pilot.press("escape", "e")
        await type_text(pilot, "not her")
        await pilot.press("escape")
        await shows(pilot, "note  not her")
        assert read_checklist(run.validation / "checklist.json").images == {check_cell(PROMPTS[1], 0.0)["path"]: "not her"}
        await pilot.press("escape")
        await shows(pilot, "5/7 Strength")
        tile = _images(pilot.app).tile
        assert tile is not None
        assert (tile.slot.prompt, tile.slot.strength) == (PROMPTS[1], 0.0)


async def test_on_a_narrow_window_tab_changes_between_parts_and_images(home: Path) -> None:
    run = finished_run(home)
    write_grid(run)
    async with _app(home, run).run_test(notifications=True, size=NARROW) as pilot:
        text = await shows(pilot, "Checklist", "Is it the same person", "g make", "enter look")
        assert "seed 1000" not in text
        await pilot.press("tab")
        text = await shows(pilot, "1/7 Likeness", "seed 1000")
        assert "Checklist" not in text
        await pilot.press("n", "n", "n")
        await shows(pilot, "4/7 Quality", "the base alone")
        await pilot.press("n", "n", "n")
        await shows(pilot, "7/7", "likeness weak")
        await pilot.press("tab")
        await shows(pilot, "Checklist")


async def test_view_only_shows_everything_and_writes_nothing(home: Path, launched: list[str]) -> None:
    run = finished_run(home)
    write_grid(run, 3)
    async with _app(home, run, view_only=True).run_test(notifications=True, size=WIDE) as pilot:
        text = await shows(pilot, "1/7 Likeness", "3 of 8", "view only", "f files")
        assert not any(word in text for word in ("space tick", "g make  ", "r go on", "e note"))
        await pilot.press("space", "g", "r", "e", "tab", "5", "f")
        await shows(pilot, "LoRA files")
        await pilot.press("4", "space", "e", "s", "enter")
        await rests(pilot)
        assert "LoRA files" in screen_text(pilot.app)
        await pilot.press("escape", "p")
        await shows(pilot, "7/7", "likeness weak")
        await pilot.press("enter", "space")
        await rests(pilot)
        assert "[✔] likeness weak" not in screen_text(pilot.app)
    assert not (run.validation / "checklist.json").exists()
    assert launched == []


@pytest.mark.parametrize("variable", ["NO_COLOR", "TERM"])
async def test_without_enough_colours_names_stand_for_the_images(
    variable: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLORTERM")
    monkeypatch.setenv(variable, "linux")
    run = finished_run(home)
    write_grid(run)
    async with _app(home, run).run_test(notifications=True, size=WIDE) as pilot:
        await shows(pilot, "1/7 Likeness", "00-anafox-1.00-1000.png", "0.79 a bit like")


async def test_a_file_that_is_gone_is_said_so(home: Path) -> None:
    run = finished_run(home)
    write_grid(run)
    (run.path / check_cell(PROMPTS[0], 1.0)["path"]).unlink()
    async with _app(home, run).run_test(notifications=True, size=WIDE) as pilot:
        await shows(pilot, "1/7 Likeness", "cannot be shown")


async def test_y_copies_the_image_under_the_cursor(home: Path) -> None:
    run = finished_run(home)
    write_grid(run)
    async with _app(home, run).run_test(notifications=True, size=WIDE) as pilot:
        await shows(pilot, "a bit like")
        await pilot.press("y")
        await shows(pilot, "path of the image", "scp line of the folder")


async def test_a_disk_that_refuses_is_told(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = finished_run(home)
    (run.validation / "checklist.json").write_text('{"format": 9, "ticked": {}}')
    async with _app(home, run).run_test(notifications=True, size=WIDE) as pilot:
        await shows(pilot, "1/7 Likeness")
        await pilot.press("space")
        await shows(pilot, "unchanged.", "Update")
        assert "0 of 7 ticked" in screen_text(pilot.app)
    assert json.loads((run.validation / "checklist.json").read_text())["format"] == 9
