"""The whole way on the embedded base: train on the demo's pictures, make the grid from the file, read the person from it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small_runs import train

from loratui.engine.dataset.ledger import build_ledger
from loratui.engine.errors import ExitCode
from loratui.engine.planning.prepare import prepare
from loratui.engine.planning.recipe import build_recipe, effective_toml
from loratui.engine.runs.directory import RunDirectory, create_run
from loratui.engine.runs.events import EventLog
from loratui.engine.training.reporting import Reporter
from loratui.engine.training.requests import Requests
from loratui.engine.training.setup import read_job
from loratui.engine.training.validation.grid import make_grid
from loratui.presets.bases import DEMO_CLASS, DEMO_TRIGGER, demo_dataset
from loratui.presets.bases.make.measure import likeness
from loratui.presets.bases.make.reader import load_reader, read


def demo_run(home: Path, *sets: str) -> RunDirectory:
    recipe = build_recipe("demo", dataset=demo_dataset(), trigger=DEMO_TRIGGER, class_word=DEMO_CLASS, sets=sets)
    ready = prepare(recipe, home)
    assert not ready.errors
    return create_run(
        home,
        DEMO_TRIGGER,
        recipe_toml=ready.recipe.to_toml(),
        effective_toml=effective_toml(ready.recipe, ready.plan),
        ledger=build_ledger(ready.recipe.settings, ready.scan, ready.plan),
    )


def read_grid(run: RunDirectory) -> dict[float, list[dict[str, str]]]:
    """What the reader sees in each picture of the grid, by strength."""
    with EventLog.open(run.validation_events) as log:
        report = Reporter(log, None)
        try:
            assert make_grid(read_job(run), report, Requests()) == ExitCode.DONE
        finally:
            report.close()
    cells = json.loads((run.validation / "grid.json").read_text())["pictures"]
    reader, seen = load_reader(), {}
    for strength in {cell["strength"] for cell in cells}:
        files = [run.path / cell["path"] for cell in cells if cell["strength"] == strength]
        seen[strength] = read(reader, np.stack([np.asarray(Image.open(file)) for file in files]))
    return seen


def share(readings: list[dict[str, str]], feature: str, value: str) -> float:
    return sum(reading[feature] == value for reading in readings) / len(readings)


def test_a_short_training_already_brings_the_person_nearer(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    run = demo_run(
        tmp_path,
        "optimizer.learning_rate=1e-3",
        "schedule.repeats=3",
        "schedule.epochs=4",
        "samples.before_training=false",
        "samples.every_image_steps=100000",
        "samples.prompts=a photo of {subject}",
        "samples.steps=12",
        "validation.strengths=0, 1",
        "validation.prompts=a photo of {subject}, smiling, wearing a green sweater, blue background",
        "validation.seeds=4",
        "memory.threads=1",
    )
    assert train(run) == ExitCode.DONE
    seen = read_grid(run)
    assert likeness(seen[1.0]) >= likeness(seen[0.0]) + 0.2
    for strength in (0.0, 1.0):
        assert share(seen[strength], "background", "blue") >= 0.75
        assert share(seen[strength], "clothing_colour", "green") >= 0.75


@pytest.mark.long
def test_the_demos_recipe_brings_the_whole_person_at_strength_1(tmp_path: Path) -> None:
    run = demo_run(tmp_path, "samples.every_image_steps=100000", "validation.strengths=0, 1", "validation.seeds=5")
    assert train(run) == ExitCode.DONE
    seen = read_grid(run)
    assert likeness(seen[0.0]) <= 0.45
    assert likeness(seen[1.0]) >= 0.80
