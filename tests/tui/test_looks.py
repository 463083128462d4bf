"""How the main screens look at 80×24 and 120×40, as text: a change of layout shows as a difference that can be read.

Written anew with `WRITE_LOOKS=1 pytest tests/tui/test_looks.py`; look at the difference before committing it.
"""

from __future__ import annotations

import itertools
import os
import time
from pathlib import Path

import pytest
from fake_run import FakeTrainer, finished_run, make_run, write_grid
from screen_text import rests, screen_lines, shows

from loratui.engine.runs.directory import RunDirectory
from loratui.tui.app import LoratuiApp
from loratui.tui.wizard.demo import demo_draft
from loratui.tui.wizard.steps import StepScreen

LOOKS = Path(__file__).parent / "looks"
WRITE = "WRITE_LOOKS" in os.environ
SIZES = ((80, 24), (120, 40))


@pytest.fixture(autouse=True)
def _nothing_that_changes(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine at hand, the place of the test and the time of day are in no image."""
    monkeypatch.setattr(
        "loratui.tui.runs.machine_line.Box.words", lambda *_: "RTX 4090 3.1 of 24 GiB 62 °C  ·  RAM 12 of 64 GiB"
    )
    monkeypatch.setattr(StepScreen, "look_at_the_machine", lambda _: None)
    monkeypatch.setattr("loratui.engine.planning.bases.discover", lambda: ([], False))
    monkeypatch.chdir(home.parent)


def _compare(app: LoratuiApp, name: str, size: tuple[int, int]) -> None:
    text = "\n".join(screen_lines(app)) + "\n"
    path = LOOKS / f"{name}-{size[0]}x{size[1]}.txt"
    if WRITE:
        LOOKS.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("size", SIZES)
async def test_no_runs(home: Path, size: tuple[int, int]) -> None:
    app = LoratuiApp(Path("home"))
    async with app.run_test(notifications=True, size=size) as pilot:
        await shows(pilot, "No runs yet", "RTX 4090")
        _compare(app, "no-runs", size)


@pytest.mark.parametrize("size", SIZES)
async def test_runs(home: Path, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.count(time.time(), 0.001)  # how long the trainers have worked is shown
    monkeypatch.setattr(time, "time", lambda: next(clock))
    finished_run(home)
    failed, running = make_run(home, "clara"), make_run(home, "bella")
    with FakeTrainer(failed) as trainer:
        trainer.start()
        trainer.steps(333)
        trainer.finish("failed", 30, "The loss of step 334 is not finite.", "Lower the learning rate.")
    with FakeTrainer(running) as trainer:
        trainer.start()
        trainer.steps(90)
        app = LoratuiApp(Path("home"))
        async with app.run_test(notifications=True, size=size) as pilot:
            await shows(pilot, "● running", "RTX 4090", "4.0 steps/s")
            _compare(app, "runs", size)


@pytest.mark.parametrize("size", SIZES)
async def test_the_check(home: Path, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    # Names stand for images, whose every half block would be in the text.
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr("loratui.engine.runs.state.RunState.image_s", 30.0)
    run = finished_run(home)
    write_grid(run, 6)
    app = LoratuiApp(Path("home"), "validation", RunDirectory(run.path.relative_to(home.parent)))
    async with app.run_test(notifications=True, size=size) as pilot:
        await shows(pilot, "6 of 8 images", "✔ done")
        await pilot.press("n", "n", "n", "n", "tab")
        await shows(pilot, "5/7 Strength", "not made yet")
        _compare(app, "check", size)
        await pilot.press("n", "n")
        await shows(pilot, "likeness weak")
        _compare(app, "check-next-step", size)
        await pilot.press("f")
        await shows(pilot, "LoRA files")
        _compare(app, "check-files", size)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("screen", "words"),
    [("plan", ("reading this machine",)), ("samples", ("→ a photo of anafox",)), ("preflight", ("Ready:",))],
)
async def test_the_wizard(home: Path, size: tuple[int, int], screen: str, words: tuple[str, ...]) -> None:
    app = LoratuiApp(Path("home"), screen, draft=demo_draft())
    async with app.run_test(notifications=True, size=size) as pilot:
        await shows(pilot, *words)
        await rests(pilot)
        _compare(app, screen, size)
