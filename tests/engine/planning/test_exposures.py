"""How often each image is shown: the sum is the plan's, and it is what the trainer's course really shows."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from loratui.engine.dataset.buckets import BucketRule, assign
from loratui.engine.dataset.contents import DatasetScan, ImageEntry, concepts_of
from loratui.engine.planning.exposures import exposures
from loratui.engine.planning.order import OrderEntry
from loratui.engine.planning.plan import Plan
from loratui.engine.planning.recipe import Recipe, build_recipe
from loratui.engine.planning.schedule import make_plan
from loratui.engine.training.data import BatchSchedule

SIZES = st.lists(st.tuples(st.integers(20, 500), st.integers(20, 500)), min_size=1, max_size=5)


def a_scan(own: int, folders: int, regularisation: int, sizes: list[tuple[int, int]]) -> DatasetScan:
    images = []
    for at in range(own + regularisation):
        of_class = at >= own
        folder = "reg" if of_class else f"c{at % folders}"
        path = Path("/set") / folder / f"{at:03}.png"
        width, height = sizes[at % len(sizes)]
        relative = f"{folder}/{at:03}.png"
        images.append(ImageEntry(path, relative, width, height, "PNG", None, None, folder, None, of_class, 100))
    ordered = tuple(sorted(images, key=lambda image: image.relative))
    return DatasetScan(Path("/set"), ordered, (), concepts_of(ordered), ())


def entries_of(recipe: Recipe, plan: Plan, found: DatasetScan) -> list[OrderEntry]:
    rule = BucketRule.of(recipe.settings.dataset)
    return [
        OrderEntry(at, assign(image.width, image.height, rule), repeats)
        for at, (image, repeats) in enumerate(zip(found.images, plan.image_repeats, strict=True))
    ]


@settings(deadline=None)
@given(
    preset=st.sampled_from(["demo", "sd15-portrait", "sd15-dreambooth", "multi-concept"]),
    images=st.integers(1, 15),
    folders=st.integers(1, 3),
    regularisation=st.integers(0, 6),
    sizes=SIZES,
    batch=st.integers(1, 4),
    accumulation=st.integers(1, 3),
    total=st.one_of(st.just(0), st.integers(1, 600)),
    part=st.floats(0, 1),
)
def test_counts_are_those_of_the_trainers_course(
    preset: str,
    images: int,
    folders: int,
    regularisation: int,
    sizes: list[tuple[int, int]],
    batch: int,
    accumulation: int,
    total: int,
    part: float,
) -> None:
    sets = [f"training.accumulation={accumulation}", "resolution=128", "bucket_step=32", f"schedule.image_steps={total}"]
    recipe = build_recipe(preset, batch_size=batch, sets=sets)
    found = a_scan(images, folders, regularisation, sizes)
    plan = make_plan(recipe, found)
    assert sum(plan.image_exposures) == plan.image_steps
    if plan.image_steps > 3000:
        return
    entries, seed = entries_of(recipe, plan, found), recipe.settings.training.seed
    course = BatchSchedule(
        entries, seed=seed, epochs=plan.epochs, batch_size=batch, window_batches=accumulation, image_steps=plan.image_steps_cap
    )
    windows = list(course.windows())
    stop = windows[round(part * (len(windows) - 1))].after
    shown: Counter[int] = Counter()
    for window in windows:
        shown.update(index for one in window.batches for index in one)
        if window.after == stop:
            seen = exposures(
                entries, seed=seed, batch_size=batch, image_steps=stop.image_step, image_steps_cap=plan.image_steps_cap
            )
            assert seen == tuple(shown[at] for at in range(len(entries)))
    assert plan.image_exposures == tuple(shown[at] for at in range(len(entries)))


def test_an_image_is_found_by_its_index_and_not_by_its_place() -> None:
    entries = [OrderEntry(7, "a", 2), OrderEntry(3, "a", 0)]
    assert exposures(entries, seed=1, batch_size=2, image_steps=3) == (3, 0)
    assert exposures([], seed=1, batch_size=2, image_steps=0) == ()
