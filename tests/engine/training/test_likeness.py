"""The whole way on the embedded bases: train on the demo's images, make the grid from the file, read the person from it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small_runs import train

from loratui.engine import sealed
from loratui.engine.dataset.ledger import build_ledger
from loratui.engine.durable import make_directory
from loratui.engine.errors import ExitCode
from loratui.engine.planning.prepare import prepare
from loratui.engine.planning.recipe import build_recipe, effective_toml
from loratui.engine.planning.validation_grid import GridRequest
from loratui.engine.proof.kept import read_parts
from loratui.engine.runs.directory import RunDirectory, create_run
from loratui.engine.runs.event_log import EventLog
from loratui.engine.training.control_queue import ControlQueue
from loratui.engine.training.reporting import Reporter
from loratui.engine.training.setup import read_job
from loratui.engine.training.validation.grid import make_grid
from loratui.presets.bases import DEMO_CLASS, DEMO_TRIGGER, demo_dataset
from loratui.presets.bases.make.measure import likeness
from loratui.presets.bases.make.reader import load_reader, read


def demo_run(home: Path, *sets: str, preset: str = "demo") -> RunDirectory:
    recipe = build_recipe(preset, dataset=demo_dataset(), trigger=DEMO_TRIGGER, class_word=DEMO_CLASS, sets=sets)
    ready = prepare(recipe, home)
    assert not ready.errors
    return create_run(
        home,
        DEMO_TRIGGER,
        recipe_toml=ready.recipe.to_toml(),
        effective_toml=effective_toml(ready.recipe, ready.plan),
        ledger=build_ledger(ready.recipe.settings, ready.scan, ready.plan),
    )


def read_grid(run: RunDirectory) -> dict[float, dict[int, list[dict[str, str]]]]:
    """What the reader sees in each image of the recipe's grids, by strength and seed."""
    make_directory(run.validation)
    sealed.write(run.validation / "wish.json", GridRequest(grids=("strengths",)).to_json(), run.path)
    with EventLog.open(run.validation_events) as log:
        report = Reporter(log)
        try:
            assert make_grid(read_job(run), report, ControlQueue()) == ExitCode.DONE
        finally:
            report.close()
    cells = json.loads((run.validation / "grid.json").read_text())["images"]
    readings = read(load_reader(), np.stack([np.asarray(Image.open(run.path / cell["path"])) for cell in cells]))
    seen: dict[float, dict[int, list[dict[str, str]]]] = {}
    for cell, reading in zip(cells, readings, strict=True):
        seen.setdefault(cell["strength"], {}).setdefault(cell["seed"], []).append(reading)
    return seen


def every(seeds: dict[int, list[dict[str, str]]]) -> list[dict[str, str]]:
    return [reading for readings in seeds.values() for reading in readings]


def share(readings: list[dict[str, str]], feature: str, value: str) -> float:
    return sum(reading[feature] == value for reading in readings) / len(readings)


def test_a_short_training_already_brings_the_person_nearer(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    run = demo_run(
        tmp_path,
        "optimizer.learning_rate=2e-3",
        "schedule.repeats=3",
        "schedule.epochs=2",
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
    seen = {strength: every(seeds) for strength, seeds in read_grid(run).items()}
    assert likeness(seen[1.0]) >= likeness(seen[0.0]) + 0.2
    for strength in (0.0, 1.0):
        assert share(seen[strength], "background", "blue") >= 0.75
        assert share(seen[strength], "clothing_colour", "green") >= 0.75
    measured = {
        part["id"]: {row["id"]: row for row in part["measures"]} for part in read_parts(run.validation / "measures.json")
    }
    found = measured["likeness"]["likeness"]
    assert found["value"] >= found["base"] + 0.2, "the validation says so too"
    assert found["value"] == pytest.approx(likeness(seen[1.0]), abs=0.2), "by the reader, in place of a face model"
    assert measured["likeness"]["one_face"]["value"] == 1
    assert "a copy" not in measured["generalises"]["copy_hash"]["means"].split(" of ")[0]
    assert found["range"][0] > found["base"]


@pytest.mark.long
@pytest.mark.parametrize("preset", ["demo", "demo:sdxl", "demo:flux"])
def test_the_demos_recipe_brings_the_whole_person_at_strength_1_for_every_seed(tmp_path: Path, preset: str) -> None:
    sets = ("samples.every_image_steps=100000", "validation.strengths=0, 1", "validation.seeds=5")
    run = demo_run(tmp_path, *sets, preset=preset)
    assert train(run) == ExitCode.DONE
    seen = read_grid(run)
    base, own = seen[0.0], seen[1.0]
    assert base.keys() == own.keys()
    assert len(own) == 5
    assert all(likeness(own[seed]) >= likeness(base[seed]) + 0.3 for seed in own)
    assert likeness(every(base)) <= 0.45
    assert likeness(every(own)) >= 0.80
