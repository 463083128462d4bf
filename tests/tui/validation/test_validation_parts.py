"""What stands over the check: the form of what to make, the files, and the export."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from fake_run import finished_run, write_grid
from screen_text import hides, rests, screen_text, shows, type_text, waits

from loratui.engine import jobs
from loratui.engine.errors import ExitCode, UsageError
from loratui.engine.handover import publish
from loratui.engine.handover.publish import Prepared
from loratui.engine.jobs import JobFailed
from loratui.engine.machine.hub import HubError
from loratui.engine.proof.notes import read_checklist
from loratui.engine.runs.directory import RunDirectory
from loratui.tui.app import LoratuiApp
from loratui.tui.validation.validation_screen import ValidationScreen
from loratui.tui.widgets.check_list import CheckList

WIDE, NARROW = (120, 40), (80, 24)


def _app(home: Path, run: RunDirectory) -> LoratuiApp:
    return LoratuiApp(home, "validation", run)


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Jobs that would have been started."""
    jobs: list[str] = []
    monkeypatch.setattr("loratui.engine.runs.launcher.launch", lambda run, job="train": jobs.append(job))
    return jobs


async def test_a_form_whose_run_is_taken_away_writes_nothing(home: Path, launched: list[str]) -> None:
    run = finished_run(home)
    write_grid(run, 2)
    app = _app(home, run)
    async with app.run_test(notifications=True, size=WIDE) as pilot:
        await shows(pilot, "2 of 8 images")
        await pilot.press("g")
        await shows(pilot, "make images")
        shutil.rmtree(run.path)
        check = next(screen for screen in app.screen_stack if isinstance(screen, ValidationScreen))
        await waits(pilot, lambda: check.gone)
        await pilot.press("enter")
        await rests(pilot)
    assert launched == []
    assert not run.path.exists()


async def test_the_form_counts_what_it_makes_and_starts_it(home: Path, launched: list[str]) -> None:
    run = finished_run(home)
    write_grid(run, 2)
    async with _app(home, run).run_test(notifications=True, size=WIDE) as pilot:
        await shows(pilot, "2 of 8 images")
        await pilot.press("g")
        await shows(
            pilot, "make images", "→ a drawn portrait of anafox woman, red", "58 cells in the tables, 56 images to make"
        )
        await pilot.press("f3")
        await shows(pilot, "28 cells in the tables, 26 images to make")
        await shows(pilot, "each, as measured")
        await pilot.press("f6")
        await shows(pilot, "8 cells in the tables, 6 images to make")
        await pilot.press("f7")
        await shows(pilot, "Prompt 2", "empty: ignored")
        await type_text(pilot, "{trigger} portrait photo")
        await shows(pilot, "→ anafox portrait photo  (the trigger alone)", "12 cells in the tables, 10 images to make")
        await pilot.press("down", "down", "backspace", "backspace", "backspace", "backspace", "backspace")
        await shows(pilot, "9 cells in the tables")
        await pilot.press("enter")
        await shows(pilot, "Making the images. It continues if you leave.", "Checklist")
        await waits(pilot, lambda: launched == ["validate"])
    wish = json.loads((run.validation / "wish.json").read_text())
    assert (wish["grids"], wish["strengths"], wish["seeds"]) == (["strengths"], [0.0, 0.5, 1.0], 1)
    assert wish["prompts"][1] == "{trigger} portrait photo"


async def test_the_form_says_what_is_wrong_and_starts_nothing(home: Path, launched: list[str]) -> None:
    run = finished_run(home)
    async with _app(home, run).run_test(notifications=True, size=WIDE) as pilot:
        await shows(pilot, "No images yet")
        await pilot.press("g")
        await shows(pilot, "58 images to make, about")
        await type_text(pilot, " {triger}")
        await shows(pilot, "{triger} is no placeholder; did you mean trigger?")
        await pilot.press("f5", "f6")
        await shows(pilot, "No table is chosen")
        await pilot.press("enter")
        await shows(pilot, "make images")
        await pilot.press("escape")
        await shows(pilot, "Checklist")
    assert launched == []
    assert not (run.validation / "wish.json").exists()


async def test_from_the_part_on_the_trigger_alone_its_prompt_is_added(home: Path) -> None:
    run = finished_run(home)
    write_grid(run)
    async with _app(home, run).run_test(notifications=True, size=NARROW) as pilot:
        await shows(pilot, "Checklist")
        pilot.app.screen.query_one(CheckList).highlighted = 2
        await pilot.press("g")
        await shows(pilot, "{trigger} portrait photo", "f8 remove")
        await pilot.press("f8")
        await hides(pilot, "{trigger} portrait photo")


async def test_files_are_rated_noted_and_one_is_chosen(home: Path) -> None:
    run = finished_run(home)
    write_grid(run)
    async with _app(home, run).run_test(notifications=True, size=NARROW) as pilot:
        await shows(pilot, "Checklist")
        await pilot.press("f")
        await shows(pilot, "LoRA files", "step 90", "anafox.safetensors", "1-5 rate", "space choose")
        await pilot.press("up", "4", "space", "e")
        await shows(pilot, "Note on step 900")
        await type_text(pilot, "best hands")
        await pilot.press("escape")
        await shows(pilot, "◆ step 900", "★★★★☆", "best hands", "◆ chosen")
        await pilot.press("up", "5", "0")
        await pilot.press("escape")
        await shows(pilot, "Checklist")
        await pilot.press("p", "tab")
        await shows(pilot, "◆ chosen  output/anafox-000900.safetensors  ★★★★☆")
    kept = read_checklist(run.validation / "checklist.json")
    assert kept.chosen == "output/anafox-000900.safetensors"
    assert list(kept.files) == [kept.chosen]


async def test_the_strengths_of_a_file_are_asked_for(home: Path, launched: list[str]) -> None:
    run = finished_run(home)
    async with _app(home, run).run_test(notifications=True, size=WIDE) as pilot:
        await shows(pilot, "Checklist")
        await pilot.press("f")
        await shows(pilot, "LoRA files")
        await pilot.press("home", "s")
        await shows(pilot, "make images", "anafox-000090.safetensors", "8 images to make")
        await pilot.press("enter")
        await waits(pilot, lambda: launched == ["validate"])
    wish = json.loads((run.validation / "wish.json").read_text())
    assert (wish["file"], wish["grids"]) == ("output/anafox-000090.safetensors", ["strengths"])


async def test_the_one_is_kept_under_a_name(home: Path) -> None:
    run = finished_run(home)
    async with _app(home, run).run_test(notifications=True, size=WIDE) as pilot:
        await shows(pilot, "Checklist")
        await pilot.press("f")
        await shows(pilot, "LoRA files")
        await pilot.press("enter")
        await shows(pilot, "keep anafox.safetensors", "Apache 2.0")
        await type_text(pilot, "/../v 1")
        await shows(pilot, "will be written as anafox-.-v-1.safetensors")
        await pilot.press(*["backspace"] * 7)
        await type_text(pilot, "-v1")
        await hides(pilot, "will be written as")
        await pilot.press("enter")
        await shows(pilot, "y copies the scp line or the path. esc: back to the files")
        await shows(
            pilot, "✔", "beside it .recipe.toml, .effective.toml, .json, .preview.png", "ComfyUI: models/loras", "scp", "y copy"
        )
        await pilot.press("y")
        await shows(pilot, "scp line of the LoRA alone")
        await pilot.press("escape", "enter", "tab", "enter")
        await shows(pilot, "✖", "already")
        await pilot.press("down", "x")
        await pilot.press("enter")
        await shows(pilot, "Choose one of: as it is, kohya, peft.")
        await pilot.press("escape", "escape")
        await shows(pilot, "Checklist")
    assert (run.path / "export" / "anafox-v1.safetensors").is_file()


async def test_an_upload_is_shown_before_it_is_sent(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = finished_run(home)
    sent: list[Prepared] = []
    problems = [HubError("network", "The hub cannot be reached.", "Check the network.")]

    def prepare(run: RunDirectory, file: str, name: str, repo: str, staging: Path, *, public: bool) -> Prepared:
        if repo == "me/open":
            raise UsageError("me/open is public.", "Choose another name.")
        (staging / "README.md").write_text("# the card")
        return Prepared(
            repo, "missing", public, {f"{name}.safetensors": run.path / file, "README.md": staging / "README.md"}, "# the card"
        )

    def upload(prepared: Prepared) -> bool:
        assert all(path.is_file() for path in prepared.files.values())
        if problems:
            raise problems.pop()
        sent.append(prepared)
        return True

    monkeypatch.setattr(publish, "prepare", prepare)
    monkeypatch.setattr(publish, "upload", upload)
    async with _app(home, run).run_test(notifications=True, size=NARROW) as pilot:
        await shows(pilot, "Checklist")
        await pilot.press("f")
        await shows(pilot, "LoRA files")
        await pilot.press("u")
        await shows(pilot, "upload anafox.safetensors", "Apache 2.0", "only you")
        await type_text(pilot, "me/open")
        await pilot.press("enter")
        await shows(pilot, "me/open is public.")
        await pilot.press("backspace", "backspace", "backspace", "backspace")
        await type_text(pilot, "ana")
        await pilot.press("enter")
        await shows(pilot, "me/ana, a new private repository", "anafox.safetensors  10 B", "u uploads this", "# the card")
        await pilot.press("tab", "x")
        await shows(pilot, "enter shows what would be uploaded")
        await pilot.press("backspace", "enter")
        await shows(pilot, "u uploads this")
        assert sent == []
        await pilot.press("u")
        await shows(pilot, "The hub cannot be reached.", "u tries again")
        await pilot.press("u")
        await shows(pilot, "✔ https://huggingface.co/me/ana", "y copies the address")
        staged = sent[0].files["README.md"]
        assert staged.is_file()
        await pilot.press("escape")
        await shows(pilot, "LoRA files")
        await waits(pilot, lambda: not staged.exists())
    assert (len(sent), sent[0].public) == (1, False)


async def test_a_report_is_written_from_the_validation(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = finished_run(home)
    asked: list[tuple[str, object]] = []

    def job(name: str, request: object, **_: object) -> dict[str, str]:
        asked.append((name, request))
        if len(asked) > 1:
            raise JobFailed("The disk is full.", "Free some space.", ExitCode.DISK)
        return {"html": str(run.path / "report" / "r.html")}

    monkeypatch.setattr(jobs, "run", job)
    async with _app(home, run).run_test(notifications=True, size=NARROW) as pilot:
        await shows(pilot, "Checklist")
        await pilot.press("w")
        await shows(pilot, "The report is written")
        await pilot.press("y")
        await shows(pilot, "scp line of the report")
        await pilot.press("escape", "w")
        await shows(pilot, "The disk is full.")
    assert asked == [("report", {"run": str(run.path), "folder": "", "photos": False})] * 2


async def test_hostile_names_and_notes_stay_words(home: Path) -> None:
    run = finished_run(home)
    hostile = "x\x1b[31m\x1b]0;evil\x07 [bold]no[/bold]"
    (run.output / f"anafox-{'0' * 6}\u202e[b].safetensors").write_bytes(b"x")
    (run.validation / "checklist.json").write_text(
        json.dumps({"format": 2, "notes": {"likeness": hostile}, "files": {"output/anafox.safetensors": {"note": hostile}}})
    )
    async with _app(home, run).run_test(notifications=True, size=WIDE) as pilot:
        text = await shows(pilot, "[bold]no[/bold]")
        assert "\x1b" not in text
        await pilot.press("e")
        text = await shows(pilot, "Note on")
        assert "\x1b" not in text
        await pilot.press("f8", "f")
        text = await shows(pilot, "LoRA files", "[bold]no[/bold]")
        assert "\x1b" not in text
        assert "evil\x07" not in screen_text(pilot.app)
