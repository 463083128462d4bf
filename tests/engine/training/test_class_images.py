"""Images of the class that the base makes before training: planned, made once, and told apart from the person's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from small_runs import MakeRun, after_loading, events, train, weights

from loratui.engine.dataset.class_images import SHOWN_AS, class_prompt, with_class_images
from loratui.engine.dataset.ledger import read_ledger
from loratui.engine.dataset.scan import scan
from loratui.engine.errors import ExitCode
from loratui.engine.planning.prepare import prepare
from loratui.engine.planning.recipe import read_recipe
from loratui.engine.training import class_images
from loratui.engine.training.frozen.linear import FrozenLinear
from loratui.engine.training.trainer import Trainer
from loratui.presets.schema import Dataset

SETS = ("dataset.class_images=5", "adapter.targets=attention", "samples.steps=1", "schedule.repeats=1")


def test_they_double_an_epoch_and_are_never_named_by_the_trigger(make_run: MakeRun) -> None:
    run = make_run(*SETS)
    plan = prepare(read_recipe(run.recipe), run.path).plan
    assert plan.regularisation_images == 5
    assert plan.image_steps == 2 * 2 * 7
    made = [entry for entry in read_ledger(run.dataset).images if entry.made]
    assert [entry.relative for entry in made] == [f"{SHOWN_AS}/{n:04d}.png" for n in range(5)]
    assert {entry.caption for entry in made} == {"a photo of a thing"}
    assert sum(entry.repeats for entry in made) == 7
    assert all(entry.path == run.path / "class_images" / f"{n:04d}.png" for n, entry in enumerate(made))


def test_they_are_made_by_the_base_once_and_trained_on(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(*SETS)
    seen: list[bool] = []

    def spy(trainer: Trainer) -> None:
        def look() -> None:
            seen.extend(trainer.loaded.latents.get(entry).mean.isfinite().all().item() for entry in trainer.entries)

        after_loading(trainer, look)

    assert train(run, spy) == ExitCode.DONE
    assert seen == [True] * 12
    files = sorted((run.path / "class_images").iterdir())
    assert [file.name for file in files] == [f"{n:04d}.png" for n in range(5)]
    images = [Image.open(file) for file in files]
    assert {image.size for image in images} == {(64, 64)}
    assert len({image.tobytes() for image in images}) == 5
    assert events(run, "epoch_finished")[-1].fields["image_step"] == 28
    before = [file.stat().st_mtime_ns for file in files]
    monkeypatch.setattr(class_images, "make", lambda *_: pytest.fail("they are there"))
    train(run)
    assert [file.stat().st_mtime_ns for file in files] == before


def test_a_base_that_waits_in_host_memory_makes_them_where_its_plan_puts_it(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, make = [], class_images.make

    def spy(entries: Any, settings: Any, model: Any, *others: Any) -> None:
        frozen = any(isinstance(one, FrozenLinear) for one in model.denoiser.modules())
        make(entries, settings, model, *others)
        made.append((frozen, [entry.path.read_bytes() for entry in entries]))

    monkeypatch.setattr(class_images, "make", spy)
    for sets in ((), ("memory.plan=swapped", "memory.quantise=off")):
        run = make_run(*SETS, *sets, "training.precision=auto", "schedule.epochs=1")
        assert train(run) == ExitCode.DONE
    assert [frozen for frozen, _ in made] == [False, True]
    assert made[0][1] == made[1][1], "the LoRA has no part in them"


@pytest.mark.long
def test_the_same_recipe_makes_the_same_images(make_run: MakeRun) -> None:
    runs = [make_run(*SETS), make_run(*SETS)]
    for run in runs:
        train(run)
    first, second = ([f.read_bytes() for f in sorted((run.path / "class_images").iterdir())] for run in runs)
    assert first == second
    assert weights(runs[0]).keys() == weights(runs[1]).keys()


def test_none_are_wanted_and_none_are_added_twice(images: Path) -> None:
    found = scan(images)
    assert with_class_images(found, Dataset()) is found
    wanted = Dataset(class_images=2, class_word="dog", class_prompt="a  drawing of one {class}")
    more = with_class_images(found, wanted)
    assert len(more.regularisation) == 2
    assert with_class_images(more, wanted) is more
    assert class_prompt(wanted) == "a drawing of one dog"
