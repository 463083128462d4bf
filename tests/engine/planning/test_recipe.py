"""Recipes: built from flags, marked where changed, and the same after a round trip through TOML."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from loratui.engine.dataset.scan import scan
from loratui.engine.planning.recipe import Recipe, build_recipe, effective_toml, parse_sets, read_recipe, with_folder_names
from loratui.engine.planning.schedule import plan_for_counts
from loratui.presets import schema
from loratui.presets.schema import KEYS, SchemaError, Settings


def test_flags_lie_over_the_preset_and_sets_over_flags(tmp_path: Path) -> None:
    recipe = build_recipe(
        "sd15-portrait",
        dataset=tmp_path,
        base="embedded:sd15",
        trigger="anafox",
        class_word="woman",
        name="ana",
        batch_size=4,
        sets=("training.rank=32", "training.batch_size=3"),
    )
    values = recipe.settings
    assert (values.dataset.path, values.base.model, values.dataset.trigger) == (str(tmp_path), "embedded:sd15", "anafox")
    assert (values.dataset.class_word, values.output.name, values.adapter.rank, values.training.batch_size) == (
        "woman",
        "ana",
        32,
        3,
    )
    assert recipe.changed == {
        "dataset.path", "base.model", "dataset.trigger", "dataset.class_word", "output.name", "adapter.rank",
        "training.batch_size",
    }  # fmt: skip


def test_a_value_that_equals_the_presets_is_not_changed_and_reset_brings_it_back() -> None:
    assert build_recipe("sd15-portrait", batch_size=2).changed == frozenset()
    recipe = build_recipe("sd15-portrait", sets=("rank=64", "epochs=9"))
    assert recipe.changed == {"adapter.rank", "schedule.epochs"}
    back = recipe.reset("adapter.rank")
    assert (back.settings.adapter.rank, back.changed) == (128, {"schedule.epochs"})
    assert back.reset("schedule.epochs") == build_recipe("sd15-portrait")


@pytest.mark.parametrize("sets", [("rank",), ("rnk=3",), ("rank=x",)])
def test_wrong_sets_name_the_flag(sets: tuple[str, ...]) -> None:
    with pytest.raises(SchemaError, match="--set"):
        parse_sets(sets)


def test_toml_explains_every_key_and_marks_what_was_changed(tmp_path: Path) -> None:
    recipe = build_recipe("sd15-portrait", trigger="anafox", sets=("rank=64",))
    text = recipe.to_toml()
    table = tomllib.loads(text)
    assert sum(len(section) for section in table.values() if isinstance(section, dict)) == len(KEYS)
    assert all(info.help in text for info in KEYS.values())
    assert "rank = 64 # changed; the preset has 128" in text
    assert table["changed"] == ["adapter.rank", "dataset.trigger"]
    (tmp_path / "recipe.toml").write_text(text)
    assert read_recipe(tmp_path / "recipe.toml") == recipe


HOSTILE = st.text(max_size=30).filter(lambda t: not any(0xD800 <= ord(c) < 0xE000 for c in t))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(HOSTILE, st.lists(HOSTILE, min_size=1, max_size=3), st.integers(1, 1024), st.floats(1e-9, 10))
def test_any_recipe_survives_its_file(tmp_path: Path, trigger: str, prompts: list[str], rank: int, rate: float) -> None:
    recipe = build_recipe("demo").with_changes(
        {"dataset.trigger": trigger, "samples.prompts": prompts, "adapter.rank": rank, "optimizer.learning_rate": rate}
    )
    (tmp_path / "recipe.toml").write_text(recipe.to_toml(), encoding="utf-8")
    assert read_recipe(tmp_path / "recipe.toml") == recipe


def test_a_short_hand_written_recipe_takes_the_rest_from_its_preset(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text('preset = "sd15-portrait"\n[adapter]\nrank = 64\n')
    recipe = read_recipe(tmp_path / "r.toml")
    assert recipe.settings.schedule.exposures == 160
    assert recipe.changed == {"adapter.rank"}
    (tmp_path / "r.toml").write_text("[adapter]\nrank = 64\n")
    assert read_recipe(tmp_path / "r.toml") == Recipe(
        schema.replace(Settings(), {"adapter.rank": 64}), "", frozenset({"adapter.rank"})
    )


def test_a_recipe_runs_where_its_preset_is_unknown(tmp_path: Path) -> None:
    recipe = build_recipe("sd15-portrait", sets=("rank=64",))
    (tmp_path / "r.toml").write_text(recipe.to_toml().replace('"sd15-portrait"', '"annas-own"'))
    again = read_recipe(tmp_path / "r.toml")
    assert (again.settings, again.preset, again.changed) == (recipe.settings, "annas-own", recipe.changed)
    assert "adapter.rank" in again.with_changes({"output.name": "x"}).changed


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("[adapter]\nrnk = 4\n", r"r\.toml, line 2: adapter\.rnk: no such key; did you mean rank"),
        ("presett = 'x'\n", r"r\.toml, line 1: presett: no such key or section; did you mean preset"),
        ("preset = 4\n", r"line 1: preset: expected a name"),
        ("changed = 4\npreset = 'annas-own'\n", r"line 1: changed: expected a list"),
        ("format = 9\n", "newer loratui"),
        ("[adapter\n", "not valid TOML"),
    ],
)
def test_wrong_recipes_name_file_and_line(tmp_path: Path, source: str, complaint: str) -> None:
    (tmp_path / "r.toml").write_text(source)
    with pytest.raises(SchemaError, match=complaint):
        read_recipe(tmp_path / "r.toml")


def test_a_missing_recipe_is_named(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match=r"r\.toml: cannot be read: No such file"):
        read_recipe(tmp_path / "r.toml")


def test_the_effective_recipe_has_the_plans_numbers(tmp_path: Path) -> None:
    recipe = build_recipe("sd15-dreambooth", trigger="anafox")
    (tmp_path / "effective.toml").write_text(effective_toml(recipe, plan_for_counts(recipe, 6)))
    schedule = read_recipe(tmp_path / "effective.toml").settings.schedule
    assert (schedule.repeats, schedule.epochs, schedule.image_steps) == (1, 117, 700)
    assert recipe.settings.schedule.epochs == 0


@pytest.mark.parametrize(
    ("folders", "trigger", "expected"),
    [
        (["10_anafox woman"], "", ("anafox", "woman")),
        (["10_anafox"], "", ("anafox", "")),
        (["10_anafox red hair"], "bobcat", ("bobcat", "")),
        (["10_anafox woman", "5_bobcat man"], "", ("", "")),
        (["plain"], "", ("", "")),
    ],
)
def test_trigger_and_class_from_the_folders_name(
    tmp_path: Path, folders: list[str], trigger: str, expected: tuple[str, str]
) -> None:
    for folder in folders:
        (tmp_path / folder).mkdir()
        Image.new("RGB", (8, 8)).save(tmp_path / folder / "a.png")
    found = scan(tmp_path / folders[0] if len(folders) == 1 else tmp_path)
    dataset = with_folder_names(build_recipe("demo", trigger=trigger), found).settings.dataset
    assert (dataset.trigger, dataset.class_word) == expected
