"""The plan: the guides' numbers by preset, exact optimizer steps for folders, and that the trainer makes just those."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from loratui.engine.dataset.buckets import BucketRule, assign
from loratui.engine.dataset.contents import concepts_of
from loratui.engine.dataset.ledger import build_ledger
from loratui.engine.dataset.scan import DatasetScan, ImageEntry, scan, without
from loratui.engine.errors import DatasetError
from loratui.engine.planning.order import OrderEntry, epoch_batches
from loratui.engine.planning.plan import Plan
from loratui.engine.planning.recipe import Recipe, build_recipe, effective_toml, read_recipe
from loratui.engine.planning.schedule import make_plan, match_regularisation, plan_for_counts


def image(path: Path, size: tuple[int, int] = (128, 128)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, "gray").save(path)


@pytest.mark.parametrize(
    ("preset", "images", "batch", "repeats", "epochs", "image_steps", "optimizer_steps"),
    [
        ("flux-identity-18img", 18, None, 10, 10, 1800, 900),
        ("flux-identity-18img", 18, 1, 10, 10, 1800, 1800),
        ("pony-realism", 23, None, 40, 6, 5520, 2760),
        ("sd15-portrait", 15, None, 27, 6, 2430, 1218),
        ("sdxl-person", 32, None, 12, 16, 6144, 3072),
        ("sd15-dreambooth", 6, None, 1, 117, 700, 700),
        ("sd15-character", 30, 1, 10, 10, 3000, 3000),
        ("sdxl-character", 20, 1, 10, 5, 1000, 1000),
        ("demo", 18, None, 10, 10, 1800, 900),
    ],
)
def test_the_guides_examples(
    preset: str, images: int, batch: int | None, repeats: int, epochs: int, image_steps: int, optimizer_steps: int
) -> None:
    plan = plan_for_counts(build_recipe(preset, batch_size=batch), images)
    assert (plan.images, plan.repeats, plan.epochs) == (images, repeats, epochs)
    assert (plan.image_steps, plan.optimizer_steps) == (image_steps, optimizer_steps)
    assert plan.exposures_per_image == image_steps / images


def test_the_guides_example_of_several_concepts() -> None:
    plan = plan_for_counts(build_recipe("multi-concept"), 126, (51, 43, 32))
    assert [(c.images, c.repeats) for c in plan.concepts] == [(51, 10), (43, 12), (32, 16)]
    assert (plan.images, plan.repeats, plan.epochs, plan.image_steps, plan.optimizer_steps) == (126, 10, 10, 15_380, 15_380)


@pytest.mark.parametrize(
    ("preset", "images", "formula"),
    [
        (
            "flux-identity-18img",
            18,
            "18 images × 10 repeats = 180 image-steps an epoch; × 10 epochs = 1 800 image-steps; ÷ batch 2 = 900 optimizer steps",
        ),
        (
            "sd15-portrait",
            15,
            "15 images × 27 repeats = 405 image-steps an epoch; × 6 epochs = 2 430 image-steps; ÷ batch 2, short last batches counted, = 1 218 optimizer steps",
        ),
        (
            "sd15-dreambooth",
            6,
            "6 images × 1 repeat = 6 image-steps an epoch; × 117 epochs, ending at 700 image-steps; ÷ batch 1 = 700 optimizer steps",
        ),
    ],
)
def test_the_formula_is_written_out(preset: str, images: int, formula: str) -> None:
    assert plan_for_counts(build_recipe(preset), images).formula == formula


def test_dreambooth_at_batch_2_cuts_the_last_epoch_exactly() -> None:
    plan = plan_for_counts(build_recipe("sd15-dreambooth", batch_size=2), 6)
    # 116 whole epochs of 3 batches, then 4 of 6 images: 2 batches.
    assert (plan.epochs, plan.image_steps, plan.optimizer_steps, plan.image_steps_cap) == (117, 700, 350, 700)


@given(st.integers(1, 300), st.integers(1, 8), st.integers(1, 5), st.integers(1, 4))
def test_one_bucket_is_counted_with_ceilings(images: int, batch: int, accumulation: int, processes: int) -> None:
    recipe = build_recipe(
        "flux-identity-18img", batch_size=batch, sets=(f"accumulation={accumulation}", f"processes={processes}")
    )
    plan = plan_for_counts(recipe, images)
    steps = math.ceil(math.ceil(images * 10 / batch) / (accumulation * processes))
    assert (plan.steps_per_epoch, plan.optimizer_steps) == (steps, 10 * steps)


def test_an_explicit_total_ends_the_run_there() -> None:
    recipe = build_recipe("flux-identity-18img", sets=("schedule.image_steps=400",))
    plan = plan_for_counts(recipe, 18)
    assert (plan.epochs, plan.image_steps, plan.optimizer_steps) == (3, 400, 200)
    shorter = plan_for_counts(build_recipe("demo", sets=("schedule.epochs=2", "schedule.image_steps=4000")), 18)
    assert (shorter.epochs, shorter.image_steps, shorter.image_steps_cap) == (2, 360, 0)


def test_no_images_no_plan(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="0 images"):
        plan_for_counts(build_recipe("demo"), 0)
    with pytest.raises(DatasetError, match="no images to train on"):
        make_plan(build_recipe("demo"), DatasetScan(tmp_path, (), (), (), ()))


def test_mixed_shapes_make_short_batches(tmp_path: Path) -> None:
    """18 images in buckets of 2, 7, 5, 1 and 3, which kohya's trainer counts as 180 / 90 / 47 batches an epoch."""
    sizes = [(128, 128)] * 2 + [(64, 256)] * 7 + [(256, 64)] * 5 + [(64, 128)] + [(128, 64)] * 3
    for at, size in enumerate(sizes):
        image(tmp_path / f"{at:02}.png", size)
    for batch, ten, one in ((1, 180, 18), (2, 90, 11), (4, 47, 7)):
        plan = make_plan(build_recipe("demo", batch_size=batch), scan(tmp_path))
        assert plan.steps_per_epoch == ten
        assert sorted((b.width, b.height, b.images) for b in plan.buckets) == [
            (64, 128, 1), (64, 256, 7), (128, 64, 3), (128, 128, 2), (256, 64, 5),
        ]  # fmt: skip
        single = make_plan(build_recipe("demo", batch_size=batch, sets=("repeats=1", "epochs=1")), scan(tmp_path))
        assert single.optimizer_steps == one


def test_folder_numbers_win_and_are_marked(tmp_path: Path) -> None:
    for at in range(3):
        image(tmp_path / "7_anafox woman" / f"{at}.png")
    plan = make_plan(build_recipe("sd15-portrait"), scan(tmp_path))
    assert (plan.repeats, plan.concepts[0].from_folder, plan.concepts[0].rule_repeats) == (7, True, 133)
    assert "folder_repeats" in {w.code for w in plan.warnings}
    ruled = make_plan(build_recipe("sd15-portrait", sets=("folder_repeats=false",)), scan(tmp_path))
    assert (ruled.repeats, ruled.concepts[0].from_folder) == (133, False)


@pytest.mark.parametrize(("regularisation", "preset"), [(30, "demo"), (1, "demo"), (5, "sd15-dreambooth")])
def test_regularisation_doubles_an_epoch(tmp_path: Path, regularisation: int, preset: str) -> None:
    for at in range(4):
        image(tmp_path / f"{at}.png")
    alone = make_plan(build_recipe(preset), scan(tmp_path))
    for at in range(regularisation):
        image(tmp_path / "reg" / "2_woman" / f"{at}.png", (128, 64))
    plan = make_plan(build_recipe(preset), scan(tmp_path))
    assert plan.images == 4
    assert plan.regularisation_images == regularisation
    assert plan.image_steps == 2 * alone.image_steps
    assert plan.exposures_per_image == alone.exposures_per_image
    assert "× 2 with regularisation" in plan.formula


def test_the_cost_of_regularisation_is_counted_in_steps(tmp_path: Path) -> None:
    """Images of other shapes make short batches of their own, so that the cost is more than a doubling."""
    for at in range(5):
        image(tmp_path / f"{at}.png")
    for at in range(30):
        image(tmp_path / "reg" / f"{at:02}.png", (128, 64))
    alone = make_plan(build_recipe("demo", batch_size=2, sets=("repeats=3",)), scan_without(tmp_path, "reg"))
    plan = make_plan(build_recipe("demo", batch_size=2, sets=("repeats=3",)), scan(tmp_path))
    assert plan.regularisation_optimizer_steps == plan.optimizer_steps - alone.optimizer_steps > 0
    assert plan.regularisation_image_steps == alone.image_steps
    assert (plan.regularisation_unused, plan.prior_weight) == (15, 1.0)
    advice = {w.code: w.message for w in plan.warnings}
    assert (
        f"{plan.regularisation_optimizer_steps} of the {plan.optimizer_steps} optimizer steps"
        in advice["regularisation_doubles"]
    )
    assert "15 of the 30" in advice["regularisation_unused"]
    weightless = make_plan(build_recipe("demo", sets=("prior_weight=0",)), scan(tmp_path))
    assert "regularisation_weightless" in {w.code for w in weightless.warnings}


def scan_without(folder: Path, child: str) -> DatasetScan:
    found = scan(folder)
    return without(found, {i.relative: "is not wanted" for i in found.images if i.relative.startswith(f"{child}/")})


@given(st.lists(st.integers(1, 9), min_size=1, max_size=30), st.integers(0, 400))
def test_regularisation_is_matched_exactly(repeats: list[int], wanted: int) -> None:
    shown = match_regularisation(repeats, wanted)
    assert sum(shown) == wanted
    if wanted >= sum(repeats):
        assert all(n >= r for n, r in zip(shown, repeats, strict=True))
        assert max(n - r for n, r in zip(shown, repeats, strict=True)) <= 1 + min(
            n - r for n, r in zip(shown, repeats, strict=True)
        )


def test_without_regularisation_images_nothing_is_matched() -> None:
    assert match_regularisation([], 50) == []


def entry(at: int, size: tuple[int, int], folder: str, repeats: int | None, regularisation: bool) -> ImageEntry:
    relative = f"{folder}/{at}.png"
    return ImageEntry(Path("/set") / relative, relative, *size, "PNG", None, None, folder, repeats, regularisation, 100)


def a_scan(counts: list[int], numbers: list[int | None], regularisation: int, sizes: list[tuple[int, int]]) -> DatasetScan:
    images = [
        entry(at, sizes[at % len(sizes)], f"c{concept}", numbers[concept % len(numbers)], False)
        for concept, count in enumerate(counts)
        for at in range(count)
    ]
    images += [entry(at, sizes[at % len(sizes)], "reg", 2, True) for at in range(regularisation)]
    ordered = tuple(sorted(images, key=lambda i: i.relative))
    return DatasetScan(Path("/set"), ordered, (), concepts_of(ordered), ())


SIZES = st.lists(st.tuples(st.integers(20, 500), st.integers(20, 500)), min_size=1, max_size=5)


@settings(deadline=None)
@given(
    st.sampled_from(["demo", "sd15-portrait", "sd15-dreambooth", "multi-concept", "pony-realism"]),
    st.lists(st.integers(1, 12), min_size=1, max_size=3),
    st.lists(st.sampled_from([None, 1, 3]), min_size=1, max_size=3),
    st.integers(0, 7),
    SIZES,
    st.integers(1, 4),
    st.integers(1, 3),
)
def test_the_planned_steps_are_those_of_the_trainers_course(
    preset: str,
    counts: list[int],
    numbers: list[int | None],
    regularisation: int,
    sizes: list[tuple[int, int]],
    batch: int,
    accumulation: int,
) -> None:
    """Counts the windows that the trainer would go through, from the values that it is given."""
    recipe = build_recipe(
        preset, batch_size=batch, sets=(f"training.accumulation={accumulation}", "resolution=128", "bucket_step=32")
    )
    found = a_scan(counts, numbers, regularisation, sizes)
    plan = make_plan(recipe, found)
    if plan.image_steps > 3000:
        return
    image_steps, steps = walk(recipe, plan, found)
    assert (image_steps, steps) == (plan.image_steps, plan.optimizer_steps)


def walk(recipe: Recipe, plan: Plan, found: DatasetScan) -> tuple[int, int]:
    """Image-steps and optimizer steps, one window after the other."""
    rule = BucketRule.of(recipe.settings.dataset)
    entries = [
        OrderEntry(at, assign(i.width, i.height, rule), r)
        for at, (i, r) in enumerate(zip(found.images, plan.image_repeats, strict=True))
    ]
    image_steps = steps = 0
    shown = sum(e.repeats for e in entries)
    for epoch in range(1, plan.epochs + 1):
        limit = min(shown, plan.image_steps_cap - image_steps) if plan.image_steps_cap else None
        batches = epoch_batches(
            entries, seed=recipe.settings.training.seed, epoch=epoch, batch_size=plan.batch_size, limit=limit
        )
        image_steps += sum(map(len, batches))
        steps += math.ceil(len(batches) / plan.accumulation)
    return image_steps, steps


def test_the_effective_recipe_plans_the_same(tmp_path: Path) -> None:
    """What the trainer reads leads to the same plan, also for a total that regularisation doubled."""
    for at in range(4):
        image(tmp_path / "set" / f"{at}.png")
        image(tmp_path / "set" / "reg" / f"{at}.png")
    found = scan(tmp_path / "set")
    for preset in ("demo", "sd15-portrait", "sd15-dreambooth"):
        recipe = build_recipe(preset, trigger="anafox")
        plan = make_plan(recipe, found)
        (tmp_path / "effective.toml").write_text(effective_toml(recipe, plan))
        again = read_recipe(tmp_path / "effective.toml")
        assert again.settings.schedule.epochs == plan.epochs
        replanned = make_plan(again, found)
        assert (replanned.image_steps, replanned.optimizer_steps) == (plan.image_steps, plan.optimizer_steps)
        assert replanned.image_repeats == plan.image_repeats
        rows = build_ledger(recipe.settings, found, plan)["images"]
        assert sum(row["repeats"] for row in rows) == plan.image_steps_per_epoch


def test_json_has_the_documented_keys() -> None:
    table = plan_for_counts(build_recipe("flux-identity-18img", trigger="anafox"), 18).to_json()
    assert {
        "images", "repeats", "epochs", "image_steps", "optimizer_steps", "exposures_per_image", "steps_per_epoch",
        "batch_size", "rule", "formula", "concepts", "warnings",
    } <= table.keys()  # fmt: skip
    assert {"name", "images", "repeats"} <= table["concepts"][0].keys()
    assert table["concepts"][0]["name"] == "anafox"
    assert table["exposures_per_image"] == 100
    assert table["effective_learning_rate"] == 1e-4
