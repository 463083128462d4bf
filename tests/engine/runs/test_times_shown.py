"""What was seen stands in the ledger, adds up, and leaves the run's identity alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from loratui.engine.dataset.ledger import build_ledger, read_ledger
from loratui.engine.dataset.scan import scan
from loratui.engine.errors import DatasetError
from loratui.engine.planning.recipe import build_recipe, effective_toml, read_recipe
from loratui.engine.planning.schedule import make_plan
from loratui.engine.runs.directory import RunDirectory
from loratui.engine.runs.times_shown import record_times_shown


def test_seen_grows_to_what_was_planned(tmp_path: Path) -> None:
    for at, size in enumerate([(128, 128), (128, 128), (64, 256), (256, 64), (128, 128)]):
        (tmp_path / "set").mkdir(exist_ok=True)
        Image.new("RGB", size, (at, 0, 0)).save(tmp_path / "set" / f"{at}.png")
    recipe = build_recipe("demo", batch_size=2, sets=("schedule.image_steps=37", "repeats=2"))
    found = scan(tmp_path / "set")
    plan = make_plan(recipe, found)
    run = RunDirectory(tmp_path)
    run.dataset.write_text(json.dumps(build_ledger(recipe.settings, found, plan)))
    run.effective.write_text(effective_toml(recipe, plan))
    settings = read_recipe(run.effective).settings
    before = read_ledger(run.dataset)
    for image_step in (0, 9, 10, 31, 37):
        record_times_shown(run, settings, image_step)
        ledger = read_ledger(run.dataset)
        assert sum(entry.times_shown or 0 for entry in ledger.images) == image_step
        assert ledger.identity == before.identity
    assert [entry.times_shown for entry in ledger.images] == [entry.planned_exposures for entry in before.images]
    assert sum(entry.planned_exposures for entry in before.images) == plan.image_steps == 37


def test_a_damaged_ledger_is_left_as_it_is(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    run.dataset.write_text("{")
    with pytest.raises(DatasetError, match="damaged"):
        record_times_shown(run, build_recipe("demo").settings, 5)
    assert run.dataset.read_text() == "{"
