"""Images that are kept out of the training: which they are, and what plan and ledger make of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from made_images import noise
from PIL import Image

from loratui.engine.dataset import held_out
from loratui.engine.dataset.held_out import chosen, how_many, unknown, with_held_out
from loratui.engine.dataset.ledger import build_ledger, read_ledger
from loratui.engine.dataset.scan import scan
from loratui.engine.errors import DatasetError
from loratui.engine.planning.preflight import check_held_out
from loratui.engine.planning.recipe import Recipe, build_recipe, effective_toml, read_recipe
from loratui.engine.planning.schedule import make_plan
from loratui.engine.runs.identity import differing_settings
from loratui.presets.schema import to_table

ODD = (3, 8)


def folder_of(folder: Path, images: int, odd: tuple[int, ...] = ODD) -> Path:
    """Nearly equal images, and at the places `odd` some that are like no other."""
    folder.mkdir(parents=True)
    for at in range(images):
        image = noise(at, (4, 4), 255) if at in odd else Image.new("RGB", (4, 4), (90, 60 + at, 30))
        image.convert("RGB").resize((96, 64), Image.Resampling.NEAREST).save(folder / f"{at:02d}.png")
    return folder


def recipe_of(*held: str) -> Recipe:
    return build_recipe("demo", trigger="qxz", class_word="thing").with_changes({"dataset.held_out": held})


def test_those_are_chosen_that_no_trained_image_is_like(tmp_path: Path) -> None:
    found = scan(folder_of(tmp_path / "set", 20))
    assert chosen(found) == {f"{at:02d}.png" for at in ODD}
    marked = with_held_out(found, recipe_of("auto").settings.dataset)
    assert [image.relative for image in marked.held_out] == ["03.png", "08.png"]
    assert len(marked.training) == 18
    assert with_held_out(marked, recipe_of("auto").settings.dataset) is marked


def test_a_copy_is_never_held_out_while_its_twin_is_trained_on(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "set", 14, odd=(3, 8))
    (folder / "09.png").write_bytes((folder / "08.png").read_bytes())
    Image.open(folder / "08.png").transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(folder / "10.png")
    assert chosen(scan(folder)) == {"03.png"}


@pytest.mark.parametrize(("images", "held"), [(1, 0), (11, 0), (12, 1), (18, 2), (30, 3), (1000, held_out.MOST)])
def test_one_of_ten_from_twelve_on(images: int, held: int) -> None:
    assert how_many([None] * images) == held  # type: ignore[list-item]  # only their number counts


def test_each_concept_spares_its_own_and_regularisation_none(tmp_path: Path) -> None:
    folder_of(tmp_path / "set" / "1_ana woman", 13, odd=(2,))
    folder_of(tmp_path / "set" / "1_bea woman", 5)
    folder_of(tmp_path / "set" / "reg" / "1_woman", 14, odd=(4,))
    found = scan(tmp_path / "set")
    assert chosen(found) == {"1_ana woman/02.png"}
    plan = make_plan(build_recipe("multi-concept", sets=("dataset.held_out=auto",)), found)
    assert [(concept.name, concept.images) for concept in plan.concepts] == [("ana woman", 12), ("bea woman", 5)]


def test_a_name_that_no_recipe_can_hold_is_not_chosen(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "set", 12, odd=(3,))
    (folder / "03.png").rename(folder / "\udcff.png")
    [name] = chosen(scan(folder))
    assert name.isascii()


def test_what_is_held_out_counts_nowhere_and_is_marked_in_the_ledger(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "set", 20)
    recipe, found = recipe_of("auto"), scan(folder)
    plan = make_plan(recipe, found)
    assert (plan.images, plan.held_out) == (18, ("03.png", "08.png"))
    assert plan.formula.startswith("18 images")
    assert sum(bucket.images for bucket in plan.buckets) == 18
    assert sum(plan.image_exposures) == plan.image_steps == 18 * plan.repeats * plan.epochs
    (tmp_path / "dataset.json").write_text(json.dumps(build_ledger(recipe.settings, found, plan)))
    entries = read_ledger(tmp_path / "dataset.json").images
    assert [(entry.relative, entry.repeats, entry.planned_exposures) for entry in entries if entry.held_out] == [
        ("03.png", 0, 0),
        ("08.png", 0, 0),
    ]
    rows = build_ledger(recipe_of().settings, found, make_plan(recipe_of(), found))["images"]
    assert not any("held_out" in row for row in rows), "without the choice a ledger is as it was"


def test_the_trained_images_are_planned_as_in_a_folder_without_the_others(tmp_path: Path) -> None:
    whole, less = folder_of(tmp_path / "whole", 20), folder_of(tmp_path / "less", 20)
    for name in ("03.png", "08.png"):
        (less / name).unlink()
    with_them, without = make_plan(recipe_of("08.png", "03.png"), scan(whole)), make_plan(recipe_of(), scan(less))
    assert with_them.image_exposures == (*without.image_exposures, 0, 0)
    assert with_them.image_repeats == (*without.image_repeats, 0, 0)
    assert {**with_them.to_json(), "held_out": ()} == without.to_json()


def test_the_names_are_in_force_and_auto_stays_in_the_recipe(tmp_path: Path) -> None:
    recipe = recipe_of("auto")
    plan = make_plan(recipe, scan(folder_of(tmp_path / "set", 20)))
    (tmp_path / "effective.toml").write_text(effective_toml(recipe, plan))
    assert read_recipe(tmp_path / "effective.toml").settings.dataset.held_out == ("03.png", "08.png")
    assert recipe.settings.dataset.held_out == ("auto",)


def test_names_that_are_not_there_are_refused_and_too_few_images_told(tmp_path: Path) -> None:
    found = scan(folder_of(tmp_path / "set", 5))
    dataset = recipe_of("03.png", "typo.png").settings.dataset
    assert unknown(found, dataset) == ("typo.png",)
    [finding] = check_held_out(recipe_of("03.png", "typo.png").settings, found)
    assert (finding.code, finding.files, finding.settings) == (
        "held_out_unknown",
        ("typo.png",),
        {"dataset.held_out": ["03.png"]},
    )
    assert [one.code for one in check_held_out(recipe_of("auto").settings, found)] == ["held_out_few"]
    assert not list(check_held_out(recipe_of("03.png").settings, found))
    with pytest.raises(DatasetError, match="all images are held out"):
        make_plan(recipe_of(*(image.relative for image in found.images)), found)


def test_a_checkpoint_of_a_version_without_the_setting_fits_a_run_that_holds_out_nothing() -> None:
    own = to_table(recipe_of().settings)
    stored = {**own, "dataset": {key: value for key, value in own["dataset"].items() if key != "held_out"}}
    assert differing_settings(stored, own) == set()
    assert differing_settings(stored, to_table(recipe_of("a.png").settings)) == {("dataset", "held_out")}
