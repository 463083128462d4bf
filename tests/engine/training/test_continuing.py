"""More from a run that has ended: with its optimizer it goes on to the bit, and a run that begins with its weights says so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from small_runs import MakeRun, events, every_step, losses, same, train, weights

from loratui.engine.dataset.ledger import build_ledger, read_ledger
from loratui.engine.errors import ExitCode, UsageError
from loratui.engine.formats.safetensors_file import read_metadata
from loratui.engine.planning.recipe import Recipe, effective_toml, read_recipe
from loratui.engine.runs import continuing, lineage
from loratui.engine.runs.directory import RunDirectory, create_run
from loratui.engine.runs.state_file import read_state
from loratui.engine.training.data import schedule_of

PLAIN = ("adapter.targets=attention", "samples.steps=1", "optimizer.warmup=0", "samples.every_image_steps=1000")
SMALL = (*PLAIN, "optimizer.scheduler=constant")


def make(recipe: Recipe, home: Path) -> RunDirectory:
    """As `loratui continue` makes it."""
    ready = continuing.prepare(recipe, home)
    assert not ready.errors, [found.message for found in ready.errors]
    run = create_run(
        home,
        "qxz",
        recipe_toml=ready.recipe.to_toml(),
        effective_toml=effective_toml(ready.recipe, ready.plan),
        ledger=build_ledger(ready.recipe.settings, ready.scan, ready.plan),
    )
    continuing.begin(run)
    assert read_planned(run) == ready.plan.optimizer_steps
    return run


def read_planned(run: RunDirectory) -> int:
    schedule = schedule_of(read_recipe(run.effective).settings, read_ledger(run.dataset).images)
    return sum(1 for _ in schedule.windows())


def codes(recipe: Recipe, home: Path) -> set[str]:
    return {found.key for found in continuing.prepare(recipe, home).findings if found.code == "continued"}


@pytest.mark.parametrize(
    "sets",
    [
        pytest.param(("training.ema_decay=0.9", "training.accumulation=2"), id="an average"),
        pytest.param(("optimizer.name=prodigy", "optimizer.learning_rate=1.0"), id="prodigy", marks=pytest.mark.long),
        pytest.param(("dataset.shuffle_captions=true", "dataset.caption_variants=3"), id="captions", marks=pytest.mark.long),
        pytest.param(("optimizer.name=adamw_schedule_free",), id="schedule free", marks=pytest.mark.long),
    ],
)
def test_two_and_two_epochs_are_four_to_the_bit(make_run: MakeRun, images: Path, tmp_path: Path, sets: tuple[str, ...]) -> None:
    for text in images.glob("*.txt"):
        text.write_text(f"{text.read_text().strip()}, {text.stem}\n")
    whole = make_run(*SMALL, *sets, "schedule.epochs=4")
    first = make_run(*SMALL, *sets)
    assert train(whole, every_step) == train(first, every_step) == ExitCode.DONE
    second = make(continuing.to_continue(first, 2), tmp_path)
    assert train(second, every_step) == ExitCode.DONE
    assert {**losses(first), **losses(second)} == losses(whole)
    assert not losses(first).keys() & losses(second).keys()
    assert same(weights(second), weights(whole))
    assert read_state(second).step == read_state(whole).step == read_state(second).optimizer_steps


def test_the_first_run_stays_as_it_is_and_the_second_is_a_run_of_its_own(make_run: MakeRun, tmp_path: Path) -> None:
    first = make_run(*SMALL)
    train(first)
    before = {path: path.read_bytes() for path in first.path.rglob("*") if path.is_file()}
    second = make(continuing.to_continue(first, 1), tmp_path)
    train(second)
    assert {path: path.read_bytes() for path in first.path.rglob("*") if path.is_file()} == before
    began = events(second, "run_started")[0]
    assert (began.get("resumed_step"), began.get("epochs")) == (14, 3)
    (step,) = lineage.ancestors(second)
    assert step.words == f"continues {first.name} from step 14"
    third = make(continuing.to_continue(second, 1), tmp_path)
    assert [one.run for one in lineage.ancestors(third)] == [second.name, first.name]
    assert read_metadata(second.output / "qxz.safetensors")["loratui_starts_from"] == (
        f"checkpoint of step 14, sha256 {step.sha256}"
    )
    assert first.name not in json.dumps(read_metadata(second.output / "qxz.safetensors"))


@pytest.mark.long
def test_a_run_that_was_cut_off_within_an_epoch_goes_on_with_whole_ones(make_run: MakeRun, tmp_path: Path) -> None:
    first = make_run(*SMALL, "schedule.image_steps=9", "schedule.epochs=0")
    train(first, every_step)
    second = make(continuing.to_continue(first, 1), tmp_path)
    assert train(second, every_step) == ExitCode.DONE
    steps = [int(event.get("image_step")) for event in events(second, "step")]
    assert steps == list(range(11, 24, 2))
    assert sorted(losses(second)) == list(range(6, 13))


@pytest.mark.long
@pytest.mark.parametrize("rates", ["stretch", "restart"])
def test_the_learning_rate_is_stretched_or_begins_again(make_run: MakeRun, tmp_path: Path, rates: str) -> None:
    first = make_run(*PLAIN, "optimizer.scheduler=linear")
    train(first)
    second = make(continuing.to_continue(first, 2, rates=rates), tmp_path)
    train(second, every_step)
    told = [float(event.get("lr")) for event in events(second, "step")]
    whole = make_run(*PLAIN, "optimizer.scheduler=linear", "schedule.epochs=4")
    train(whole, every_step)
    all_rates = [float(event.get("lr")) for event in events(whole, "step")]
    expected = all_rates[14:] if rates == "stretch" else [float(e.get("lr")) for e in _linear(make_run)]
    assert told == pytest.approx(expected, rel=1e-12)


def _linear(make_run: MakeRun) -> list[Any]:
    """The rates of a run of the two added epochs alone."""
    run = make_run(*PLAIN, "optimizer.scheduler=linear")
    train(run, every_step)
    return events(run, "step")


@pytest.mark.long
def test_an_earlier_checkpoint_can_be_continued(make_run: MakeRun, tmp_path: Path) -> None:
    first = make_run(*SMALL)
    train(first)
    assert first.checkpoint_steps() == [7, 14]
    second = make(continuing.to_continue(first, 1, step=7), tmp_path)
    train(second, every_step)
    assert list(losses(second)) == list(range(8, 15))
    assert same(weights(second), weights(first))


def test_what_does_not_fit_is_refused_by_name(make_run: MakeRun, images: Path, tmp_path: Path) -> None:
    first = make_run(*SMALL)
    train(first)
    recipe = continuing.to_continue(first, 1)
    assert codes(recipe, tmp_path) == {"continued.stretched"}
    other = continuing.prepare(recipe.with_changes({"adapter.rank": 4, "training.seed": 7}), tmp_path)
    (refused,) = [found for found in other.errors if found.code == "continued"]
    assert "adapter.rank 2 then and 4 now" in refused.message
    assert "training.seed 42 then and 7 now" in refused.message
    assert "--weights" in refused.remedy
    assert "continued.nothing" in codes(recipe.with_changes({"schedule.epochs": 2}), tmp_path)
    assert "continued.no_checkpoint" in codes(recipe.with_changes({"schedule.continue_step": 5}), tmp_path)
    assert "continued.gone" in codes(recipe.with_changes({"schedule.continue_run": str(tmp_path / "none")}), tmp_path)
    caption = next(images.glob("*.txt"))
    caption.write_text("another caption\n")
    assert "continued.images" in codes(recipe, tmp_path)


def test_a_damaged_checkpoint_is_neither_planned_with_nor_brought(make_run: MakeRun, tmp_path: Path) -> None:
    first = make_run(*SMALL)
    train(first)
    recipe = continuing.to_continue(first, 1)
    made = continuing.prepare(recipe, tmp_path)
    file = first.checkpoint(14) / "optimizer.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    assert "continued.no_checkpoint" in codes(recipe, tmp_path)
    run = create_run(
        tmp_path,
        "qxz",
        recipe_toml=made.recipe.to_toml(),
        effective_toml=effective_toml(made.recipe, made.plan),
        ledger=build_ledger(made.recipe.settings, made.scan, made.plan),
    )
    with pytest.raises(UsageError, match="damaged"):
        continuing.begin(run)
    assert continuing.position_of(first).step == 7  # the newest good one


def test_a_run_that_begins_with_weights_may_have_other_settings(make_run: MakeRun, tmp_path: Path) -> None:
    first = make_run(*SMALL)
    train(first)
    recipe = continuing.from_weights(first).with_changes(
        {"adapter.rank": 4, "optimizer.learning_rate": 1e-5, "schedule.epochs": 1}
    )
    second = make(recipe, tmp_path)
    train(second)
    (step,) = lineage.ancestors(second)
    assert step.words == f"starts from step 14 of {first.name}"
    assert read_metadata(second.output / "qxz.safetensors")["loratui_starts_from"] == f"LoRA file, sha256 {step.sha256}"
    assert events(second, "run_started")[0].get("resumed_step") == 0
    old, new = weights(first), load_file(second.output / "qxz.safetensors")
    name = next(name for name in old if name.endswith("lora_up.weight"))
    assert new[name].shape[1] == 4
    assert torch.isfinite(new[name]).all()
    with pytest.raises(UsageError, match="no LoRA file of step 3"):
        continuing.from_weights(first, 3)


def test_weights_of_another_kind_are_refused(make_run: MakeRun, tmp_path: Path) -> None:
    first = make_run(*SMALL)
    train(first)
    recipe = continuing.from_weights(first).with_changes({"adapter.kind": "loha"})
    errors = continuing.prepare(recipe, tmp_path).errors
    assert [found.code for found in errors] == ["start_from"]
    assert "this run trains a loha" in errors[0].message
