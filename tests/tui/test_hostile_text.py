"""Text from elsewhere - captions, prompts, file names, errors - reaches the screen as harmless characters, never as markup."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from fake_run import FakeTrainer, make_run
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from screen_text import paste, rests, screen_text, shows, waits

from loratui.engine.runs.directory import RunDirectory
from loratui.tui.app import LoratuiApp
from loratui.tui.dataset.form import DatasetForm
from loratui.tui.screens.confirm import ConfirmScreen
from loratui.tui.widgets.field import Field
from loratui.tui.widgets.line import joined, plain
from loratui.tui.wizard.draft import Draft

CORPUS = (
    "[bold red]red[/]",
    "[@click=app.leave]click me[/]",
    "[/] [/bold] [unclosed",
    "\x1b[31mred\x1b[0m",
    "\x1b]0;title\x07",
    "\x1b]52;c;ZXZpbA==\x1b\\",
    "\x9b31m\x90\x9d0;x\x9c",
    "one\ntwo\rthree\tfour\x00\x08\x7f",
    "\u202egnp.tac\u2066\u200b\ufeff",
    "$accent {subject} %s %(x)s {0}",
    "\udcff\udc80",
    "👩‍👩‍👧‍👦 é̀̂̃ 表",
    "x" * 30_000,
)

_HARMFUL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u200b\ufeff\ud800-\udfff]")


def _harmless(app: LoratuiApp) -> str:
    text = screen_text(app)
    found = _HARMFUL.search(text)
    assert found is None, (found, text)
    return text


def _run_that_says(home: Path, hostile: str) -> RunDirectory:
    run = make_run(home)
    with FakeTrainer(run) as trainer:
        trainer.start(preset=hostile, device=hostile, base=hostile)
        trainer.phase(hostile, hostile)
        trainer.log.append("progress", phase=hostile, done=1, total=2, text=hostile)
        trainer.sample(prompt=hostile)
        trainer.log.append("sample_written", step=1, image_step=2, index=0, path=f"samples/{hostile}", prompt=hostile, seed=1)
        trainer.log.append("warning", code=hostile, message=hostile, remedy=hostile)
        trainer.log.append("command_acknowledged", id=hostile, command=hostile, ok=False, message=hostile)
        trainer.log.append("output_written", step=1, epoch=1, path=hostile, bytes=1, final=True)
        trainer.log.append("run_failed_with", exit_code=1, message=hostile, remedy=hostile)
        trainer.finish(hostile, 1, hostile, hostile)
    return run


async def test_hostile_events(home: Path) -> None:
    runs = {hostile: _run_that_says(home, hostile) for hostile in CORPUS}
    app = LoratuiApp(home)
    async with app.run_test(notifications=True, size=(120, 40)) as pilot:
        for hostile, run in runs.items():
            app.open("training", run.name)
            await shows(pilot, run.name, "✖ failed", "✖")
            app.tell(hostile)
            app.push_screen(ConfirmScreen(hostile, hostile, hostile[:40]))
            await waits(pilot, lambda: isinstance(app.screen, ConfirmScreen))
            await rests(pilot)
            _harmless(app)
            app.pop_screen()
        assert app.return_code is None


async def test_markup_is_shown_as_it_was_written(home: Path) -> None:
    run = make_run(home)
    with FakeTrainer(run) as trainer:
        trainer.start()
        trainer.sample(prompt="[bold]a cat[/bold]")
    async with LoratuiApp(home, "training", run).run_test(notifications=True, size=(120, 40)) as pilot:
        await shows(pilot, "[bold]a cat[/bold]")


async def test_hostile_grids(home: Path) -> None:
    run = make_run(home)
    with FakeTrainer(run, "validate") as trainer:
        trainer.log.append("trainer_started", attempt=1, pid=1)
        for hostile in CORPUS:
            trainer.log.append("image_written", path=f"validation/{hostile}", prompt=hostile, strength=1.0, seed=1)
    async with LoratuiApp(home, "validation", run).run_test(notifications=True, size=(120, 40)) as pilot:
        await shows(pilot, "[bold red]red[/]")
        _harmless(pilot.app)  # type: ignore[arg-type]


async def test_hostile_file_names_and_captions(home: Path, tmp_path: Path) -> None:
    folder = tmp_path / "[b]photos[b]"
    folder.mkdir()
    for number, hostile in enumerate(CORPUS[:9]):
        name = hostile.replace("/", "_").replace("\x00", "")[:80]
        Image.new("RGB", (64, 64)).save(folder / f"{number}{name}.png")
        (folder / f"{number}{name}.txt").write_text(hostile, encoding="utf-8", errors="replace")
        (folder / f"broken{name}.png").write_bytes(b"no image")
    draft = Draft().with_preset("demo").with_values({"dataset.path": str(folder), "dataset.trigger": CORPUS[0]})
    async with LoratuiApp(home, "dataset", draft=draft).run_test(notifications=True, size=(120, 40)) as pilot:
        await shows(pilot, "9 images", "[b]photos[b]")
        _harmless(pilot.app)  # type: ignore[arg-type]
        pilot.app.open("plan")  # type: ignore[attr-defined]
        await shows(pilot, "The plan")
        _harmless(pilot.app)  # type: ignore[arg-type]
        pilot.app.open("preflight")  # type: ignore[attr-defined]
        await shows(pilot, "[6 preflight]", "✔")
        _harmless(pilot.app)  # type: ignore[arg-type]


async def test_hostile_pastes(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    tell = DatasetForm._tell

    def watched(form: DatasetForm) -> None:
        told.append(form.folder.text.strip())
        tell(form)

    monkeypatch.setattr(DatasetForm, "_tell", watched)
    app = LoratuiApp(home, "dataset", draft=Draft().with_preset("demo"))
    async with app.run_test(notifications=True, size=(120, 40)) as pilot:
        await shows(pilot, "[3 dataset]")
        field = app.screen.query(Field).first()
        for hostile in CORPUS[:12]:
            field.set("")
            await paste(pilot, hostile)
            await waits(pilot, lambda: bool(field.text.strip()) and told[-1:] == [field.text.strip()])  # the typing has paused
            await rests(pilot)
            _harmless(app)
        field.set("")
        await paste(pilot, "once")
        await waits(pilot, lambda: field.text == "once")


def test_strings_between_contents_are_cleaned_too() -> None:
    assert plain("[b]") == joined("[b]")
    assert plain("\x1b[31m").plain == "␛[31m"


@given(st.text(max_size=80))
def test_any_text_is_harmless_content(text: str) -> None:
    shown = plain(text)
    assert _HARMFUL.search(shown.plain) is None
    assert not shown.spans
