"""No warning contradicts a preset's own numbers, and every remedy names a value that a person would choose and that mends it."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loratui.engine.dataset.contents import DatasetScan, ImageEntry, concepts_of
from loratui.engine.planning.amount_rules import MOST_EPOCHS, ROUND_NUMBERS
from loratui.engine.planning.plan import Plan
from loratui.engine.planning.preflight import check_settings
from loratui.engine.planning.recipe import Recipe, build_recipe, parse_sets
from loratui.engine.planning.schedule import make_plan, plan_for_counts
from loratui.presets import Preset, list_presets

EVERY = [one for preset in list_presets() if preset.shipped for one in (preset, *preset.variants.values())]

AMOUNTS = ("too_many_exposures", "too_few_exposures")


def batches() -> Iterator[tuple[str, str]]:
    for batch in range(1, 5):
        for accumulation in (1, 2):
            yield f"batch_size={batch}", f"accumulation={accumulation}"


def kohya(*numbered: tuple[str, int]) -> DatasetScan:
    """Folders `N_name` with so many images each, without files."""
    images = [
        ImageEntry(
            Path(f"/set/{folder}/{at}.png"), f"{folder}/{at}.png", 1024, 1024, "PNG", None, None, folder, repeats, False, 9
        )
        for folder, count in numbered
        for repeats in [int(folder.partition("_")[0])]
        for at in range(count)
    ]
    return DatasetScan(Path("/set"), tuple(images), (), concepts_of(images), ())


@pytest.mark.parametrize("preset", EVERY, ids=lambda p: p.name)
def test_a_preset_at_any_number_of_its_band_has_no_warning_about_its_numbers(preset: Preset) -> None:
    assert not list(check_settings(build_recipe(preset.name)))
    least, most = preset.settings.dataset.images_wanted
    for sets in batches():
        recipe = build_recipe(preset.name, sets=sets)
        for images in range(least, most + 1):
            assert plan_for_counts(recipe, images).warnings == (), (images, *sets)


@pytest.mark.parametrize("preset", EVERY, ids=lambda p: p.name)
def test_nor_has_it_where_a_folders_number_is_that_of_its_rule(preset: Preset) -> None:
    least, most = preset.settings.dataset.images_wanted
    recipe = build_recipe(preset.name)
    for images in {least, (least + most) // 2, most}:
        repeats = plan_for_counts(recipe, images).repeats
        assert make_plan(recipe, kohya((f"{repeats}_anafox woman", images))).warnings == (), images


def test_nor_have_several_folders_with_balanced_numbers() -> None:
    counts = (51, 43, 32)
    numbered = [(f"{r}_{name}", n) for r, name, n in zip((10, 12, 16), ("ana", "bea", "eva"), counts, strict=True)]
    assert make_plan(build_recipe("multi-concept"), kohya(*numbered)).warnings == ()


@pytest.mark.parametrize("preset", EVERY, ids=lambda p: p.name)
def test_the_limits_of_a_preset_hold_what_its_rule_gives_its_band(preset: Preset) -> None:
    least, most = preset.settings.dataset.images_wanted
    fewest, largest = preset.settings.schedule.exposures_wanted
    for images in range(least, most + 1):
        assert fewest <= plan_for_counts(build_recipe(preset.name), images).exposures_per_image <= largest


@given(st.lists(st.integers(15, 50), min_size=2, max_size=8), st.integers(1, 2))
@settings(deadline=None)
def test_several_concepts_of_the_guides_sizes_have_no_warning(counts: list[int], accumulation: int) -> None:
    recipe = build_recipe("multi-concept", sets=(f"accumulation={accumulation}",))
    assert plan_for_counts(recipe, sum(counts), counts).warnings == ()
    assert {w.code for w in plan_for_counts(recipe.with_changes({"training.batch_size": 2}), 0, counts).warnings} == {
        "batch_with_concepts"
    }


@pytest.mark.parametrize(
    ("preset", "images", "epochs", "optimizer_steps"),
    [
        ("sd15-portrait", 11, 6, 1188),  # 400 ÷ 11 = 36 repeats, and 6 epochs to start with
        ("sd15-portrait", 15, 6, 1218),  # "done near 1 200"
        ("sd15-portrait", 30, 12, 2340),
        ("sd15-portrait:anime", 30, 12, 2340),
        ("sd15-portrait", 50, 20, 4000),  # "up to 4 000"
        ("sd15-portrait", 400, 20, 4000),  # no run without end from a folder that is too large
        ("sdxl-person", 11, 16, 3168),
        ("sdxl-person", 32, 16, 3072),
        ("sdxl-person", 50, 16, 3200),
    ],
)  # fmt: skip
def test_guide_001_trains_more_images_longer(preset: str, images: int, epochs: int, optimizer_steps: int) -> None:
    plan = plan_for_counts(build_recipe(preset), images)
    assert (plan.epochs, plan.optimizer_steps) == (epochs, optimizer_steps)


@pytest.mark.parametrize(
    ("preset", "sets", "images", "remedy"),
    [
        ("sd15-portrait", ("epochs=6",), 50, "Train 20 epochs (schedule.epochs=20)."),
        ("sd15-portrait", ("epochs=100",), 30, "Train 12 epochs (schedule.epochs=12), or use an earlier saved epoch."),
        # 1 repeat would take 80 epochs and more.
        ("sd15-portrait", ("repeats=1",), 30, "Leave schedule.repeats to the preset: it shows each image 156 times in 12 epochs."),
        ("sd15-portrait", ("image_steps=100",), 30, "Leave schedule.image_steps to the preset: it shows each image 156 times in 12 epochs."),
        ("flux-identity-18img", ("exposures=160",), 18, "Train 10 epochs (schedule.epochs=10), or use an earlier saved epoch."),
        ("pony-realism", (), 1, "Add images: this recipe is made for 14 to 50."),
        ("pony-realism", (), 2000, "Choose the best images: this recipe is made for 14 to 50."),
    ],
)  # fmt: skip
def test_remedies_are_what_a_person_would_choose(preset: str, sets: tuple[str, ...], images: int, remedy: str) -> None:
    warnings = plan_for_counts(build_recipe(preset, sets=sets), images).warnings
    assert [w.remedy for w in warnings if w.code in AMOUNTS] == [remedy]


def test_images_are_asked_for_where_a_concept_has_few_not_where_its_folder_has_a_large_number() -> None:
    recipe = build_recipe("multi-concept")
    by_number = {w.code for w in make_plan(recipe, kohya(("1_ana woman", 20), ("40_bea woman", 20))).warnings}
    assert "concepts_unbalanced" in by_number
    assert "concept_overtrains" not in by_number
    assert "concept_overtrains" in {w.code for w in make_plan(recipe, kohya(("1_ana woman", 40), ("4_bea woman", 10))).warnings}


def test_a_folders_odd_number_is_left_for_the_rules() -> None:
    """Formerly 30 images in `1_anafox` were told to train 480 epochs and more."""
    [advice] = [w for w in make_plan(build_recipe("sd15-portrait"), kohya(("1_anafox", 30))).warnings if w.code in AMOUNTS]
    assert advice.remedy == "Add --repeats rule: it shows each image 156 times in 12 epochs."


def test_a_recipe_whose_preset_is_not_known_here_is_judged_by_its_own_limits() -> None:
    strange = dataclasses.replace(build_recipe("sd15-portrait", sets=("epochs=100",)), preset="annas-own")
    [advice] = [w for w in plan_for_counts(strange, 30).warnings if w.code in AMOUNTS]
    assert advice.remedy == "Train 15 epochs (schedule.epochs=15), or use an earlier saved epoch."
    strange = dataclasses.replace(build_recipe("sd15-portrait", sets=("repeats=1",)), preset="annas-own")
    [advice] = [w for w in plan_for_counts(strange, 30).warnings if w.code in AMOUNTS]
    assert advice.remedy == "Choose schedule.repeats and schedule.epochs that make 80 to 250 together."


def test_a_preset_of_ones_own_is_not_contradicted_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORATUI_CONFIG", str(tmp_path))
    (tmp_path / "presets").mkdir()
    own = 'extends = "sd15-portrait"\n[dataset]\nimages_wanted = [3, 60]\n[schedule]\nepochs = 40\n'
    (tmp_path / "presets" / "mine.toml").write_text(own)
    assert all(plan_for_counts(build_recipe("mine"), images).warnings == () for images in range(3, 61))


@pytest.mark.parametrize(
    "own",
    [
        'extends = "sd15-portrait"\n[adapter]\nrank = 8\n',
        'extends = "sd15-portrait"\n[adapter]\nrank = 256\n',
        'extends = "sd15-portrait"\n[training]\nbatch_size = 8\n',
        'extends = "sd15-character:prodigy"\n[schedule]\nexposures = 300\n',
        'extends = "flux-identity-18img"\n[schedule]\nexposures = 200\n',  # above image_steps_warn, which it has from there
        'extends = "sd15-dreambooth"\n[dataset]\nimages_wanted = [5, 40]\n',  # above image_steps_below
        'extends = "pony-realism"\n[dataset]\nimages_wanted = [2, 9]\n[adapter]\nrank = 128\n',
    ],
)
def test_limits_that_a_preset_of_ones_own_took_over_say_nothing_of_its_own_numbers(
    own: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LORATUI_CONFIG", str(tmp_path))
    (tmp_path / "presets").mkdir()
    (tmp_path / "presets" / "mine.toml").write_text(own)
    recipe = build_recipe("mine")
    least, most = recipe.settings.dataset.images_wanted
    for images in range(least, most + 1):
        assert plan_for_counts(recipe, images).warnings == ()
    assert {"rank_high", "batch_large"} <= {
        w.code for w in plan_for_counts(build_recipe("mine", sets=("rank=512", "batch_size=5")), most).warnings
    }


@pytest.mark.parametrize("preset", EVERY, ids=lambda p: p.name)
def test_a_shipped_preset_keeps_to_its_own_limits_of_rank_and_batch(preset: Preset) -> None:
    least, most = preset.settings.adapter.rank_wanted
    assert least <= preset.settings.adapter.rank <= most
    assert preset.settings.training.batch_size <= 4


@pytest.mark.parametrize("preset", EVERY, ids=lambda p: p.name)
def test_regularisation_changes_nothing_about_a_presets_own_amount(preset: Preset) -> None:
    """It doubles the image-steps of a run; 18 photos of the FLUX preset were told that beyond 3 000 the result gets worse."""
    _, most = preset.settings.dataset.images_wanted
    recipe = build_recipe(preset.name, sets=("class_images=10",))
    plan = make_plan(recipe.with_changes({"schedule.folder_repeats": False}), kohya(("1_anafox woman", most)))
    assert plan.regularisation_images == 10
    assert {w.code for w in plan.warnings} == {"regularisation_doubles"}


def test_amounts_are_written_as_counts_are() -> None:
    messages = " ".join(w.message for w in plan_for_counts(build_recipe("sd15-dreambooth"), 1980).warnings)
    assert "they stay under 2 000, so each image is shown once." in messages
    assert "shown 1 times" not in " ".join(w.message for w in plan_for_counts(build_recipe("pony-realism"), 5000).warnings)


CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "schedule.repeats": st.integers(1, 300),
        "schedule.epochs": st.integers(1, 400),
        "schedule.exposures": st.integers(1, 2000),
        "schedule.image_steps": st.integers(1, 40_000),
        "schedule.image_steps_per_epoch": st.integers(1, 4000),
        "schedule.rule": st.sampled_from(["per_image", "per_epoch", "per_epoch_and_total", "exposures", "repeats_epochs"]),
        "training.batch_size": st.integers(1, 8),
    },
)


@given(st.sampled_from([p.name for p in EVERY]), st.integers(1, 300), CHANGES, st.one_of(st.none(), st.integers(1, 60)))
@settings(deadline=None, max_examples=300)
def test_any_remedy_mends_and_is_near_the_preset(
    preset: str, images: int, changes: dict[str, object], folder: int | None
) -> None:
    recipe = build_recipe(preset).with_changes(changes)
    plan = _planned(recipe, images, folder)
    ours = plan_for_counts(build_recipe(preset, batch_size=plan.batch_size), images).epochs
    for advice in plan.warnings:
        named = [
            int(n) for n in re.findall(r"(?<![\w.])(\d+) epochs?\b|schedule\.epochs=([1-9]\d*)", advice.remedy) for n in n if n
        ]
        assert all(n <= MOST_EPOCHS * ours and (n in ROUND_NUMBERS or n == ours) for n in named), advice.remedy
        if advice.code in AMOUNTS and (fixed := _fixed(recipe, advice.remedy)) is not None:
            after = {w.code for w in _planned(fixed, images, folder).warnings}
            assert not after & set(AMOUNTS), (advice, after)


def _planned(recipe: Recipe, images: int, folder: int | None) -> Plan:
    return plan_for_counts(recipe, images) if folder is None else make_plan(recipe, kohya((f"{folder}_anafox", images)))


def _fixed(recipe: Recipe, remedy: str) -> Recipe | None:
    """The recipe after the remedy; None for a remedy that is not about settings."""
    left: Sequence[str] = (
        re.findall(r"schedule\.\w+(?!\w*=)", remedy.partition(":")[0]) if "Leave" in remedy or "leave" in remedy else ()
    )
    if "--repeats rule" in remedy:
        recipe = recipe.with_changes({"schedule.folder_repeats": False})
    for key in left:
        recipe = recipe.reset(key)
    found = re.findall(r"\((schedule\.epochs=\d+)\)", remedy)
    if found:
        return recipe.with_changes(parse_sets(found))
    return recipe if left or "--repeats rule" in remedy else None
