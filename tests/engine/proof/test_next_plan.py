"""From an advice to the plan of the next run, its lineage, and what it changes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from fake_run import finished_run

from loratui.engine.dataset.prepared_copy import read_history
from loratui.engine.dataset.scan import scan
from loratui.engine.errors import DatasetError, UsageError
from loratui.engine.planning.recipe import read_recipe
from loratui.engine.proof.judgement import Advice, Best, Do
from loratui.engine.proof.next_plan import NextPlan, next_plan
from loratui.engine.runs import continuing, lineage
from loratui.engine.runs.directory import RunDirectory, create_run
from loratui.engine.runs.lineage import Lineage
from loratui.engine.runs.parents import parent_of
from loratui.presets.bases import demo_dataset


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    return finished_run(tmp_path_factory.mktemp("home"))


def follow(run: RunDirectory, do: Do, home: Path) -> NextPlan:
    return next_plan(run, Advice("x", "X.", "", do), home)


def test_settings_are_changed_and_everything_else_is_as_it_was(run: RunDirectory, tmp_path: Path) -> None:
    recipe = follow(run, Do(settings={"schedule.epochs": 6, "adapter.rank": 8}), tmp_path).recipe
    before = read_recipe(run.recipe)
    assert recipe.settings.output.planned_from == str(run.path)
    assert recipe.with_changes({"schedule.epochs": 0, "adapter.rank": 16, "output.planned_from": ""}) == before
    parent = parent_of(recipe.settings)
    assert parent is not None
    assert parent.run == run.name
    changed = {one.key: (one.before, one.value) for one in parent.changed_by(recipe.settings)}
    assert changed == {"schedule.epochs": (10, 6), "adapter.rank": (16, 8)}  # 10 by the preset's rule


def test_the_lineage_of_the_next_run_names_this_one(run: RunDirectory, tmp_path: Path) -> None:
    toml = follow(run, Do(settings={"adapter.rank": 8}), tmp_path).recipe.to_toml()
    second = create_run(tmp_path, "anafox", recipe_toml=toml, effective_toml=toml, ledger={})
    continuing.begin(second)
    (told,) = lineage.ancestors(second)
    assert (told.kind, told.run, told.path) == ("planned_from", run.name, str(run.path))
    assert told.words == f"planned from {run.name}"
    assert told.told_in_files == "", "no weights come from it"


def test_a_plan_goes_back_to_the_run_that_advised_it_not_to_the_file_that_it_begins_with(run: RunDirectory) -> None:
    settings = read_recipe(run.recipe).with_changes(
        {"output.planned_from": str(run.path), "adapter.start_from": "/elsewhere/output/a.safetensors"}
    )
    parent = parent_of(settings.settings)
    assert parent is not None
    assert parent.lineage == Lineage(kind="planned_from", run=run.name, path=str(run.path), step=0, sha256="")


def test_a_parent_that_is_gone_is_none(run: RunDirectory, tmp_path: Path) -> None:
    recipe = read_recipe(run.recipe)
    assert parent_of(recipe.settings) is None
    assert parent_of(recipe.with_changes({"output.planned_from": str(tmp_path / "gone")}).settings) is None


def test_images_are_left_out_in_a_copy(run: RunDirectory, tmp_path: Path) -> None:
    recipe = follow(run, Do(leave_out=("anafox_03.png", "gone.png")), tmp_path).recipe
    copy = Path(recipe.settings.dataset.path)
    assert copy.parent == tmp_path / "datasets"
    assert len(scan(copy).images) == 17
    history = read_history(copy)
    assert history is not None
    assert history.source.resolve() == demo_dataset().resolve()
    assert [remedy.relative for remedy in history.remedies] == ["anafox_03.png"]
    assert len(scan(demo_dataset()).images) == 18, "the folder stays as it is"


def test_what_cannot_be_left_out_is_told(tmp_path: Path) -> None:
    run = finished_run(tmp_path)
    photos = tmp_path / "photos"
    photos.mkdir()
    shutil.copy(demo_dataset() / "anafox_03.png", photos)
    recipe = read_recipe(run.recipe).with_changes({"dataset.path": str(photos)})
    run.recipe.write_text(recipe.to_toml())
    with pytest.raises(DatasetError, match=r"no longer has gone\.png"):
        follow(run, Do(leave_out=("gone.png",)), tmp_path)
    with pytest.raises(DatasetError, match="nothing is left to train on"):
        follow(run, Do(leave_out=("anafox_03.png",)), tmp_path)
    shutil.rmtree(photos)
    with pytest.raises(DatasetError, match="photos"):
        follow(run, Do(leave_out=("anafox_03.png",)), tmp_path)


def test_captions_are_the_persons(run: RunDirectory, tmp_path: Path) -> None:
    plan = follow(run, Do(re_caption=("anafox_03.png",)), tmp_path)
    assert plan.re_caption == ("anafox_03.png",)
    assert plan.recipe.settings.dataset.path == str(demo_dataset())


@pytest.mark.parametrize(
    ("do", "told"),
    [
        (
            Do(use=Best("output/anafox-000540.safetensors", 540, 0.8, "")),
            r"needs no new run.*strength 0\.8: loratui keep .* --file anafox-000540",
        ),
        (Do(look="Look at the hands."), r"cannot carry out this advice\. Look at the hands\."),
        (Do(continue_epochs=3), r"no checkpoint that can be used\. Begin with its weights"),
        (Do(settings={"when_finished.command": ["rm"]}), r"sets when_finished\.command, which no advice may"),
        (Do(settings={"dataset.path": "/etc"}), r"sets dataset\.path, which no advice may"),
    ],
)
def test_an_advice_from_which_no_run_follows_says_what_to_do(run: RunDirectory, tmp_path: Path, do: Do, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        follow(run, do, tmp_path)


def test_a_file_that_was_not_trained_here_has_no_plan(tmp_path: Path) -> None:
    run = finished_run(tmp_path)
    lineage.keep(run, lineage.of_file(run.output / "anafox.safetensors", "imported"))
    with pytest.raises(UsageError, match="not trained here"):
        follow(run, Do(settings={"adapter.rank": 8}), tmp_path)
