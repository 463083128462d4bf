"""A run that was stopped and resumed equals one that was not, whatever its settings draw, average or estimate."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from small_runs import MakeRun, after_step, every_step, losses, same, train, weights

from loratui.engine.errors import ExitCode
from loratui.engine.runs import control
from loratui.engine.runs.directory import RunDirectory
from loratui.engine.training.trainer import Trainer

SMALL = ("adapter.targets=attention", "adapter.rank=2", "samples.steps=1", "schedule.epochs=2", "optimizer.scheduler=cosine")

NOISE = ("training.noise_offset=0.1", "training.multires_noise_iterations=6", "training.input_perturbation=0.1")


@pytest.mark.parametrize(
    "sets",
    [
        pytest.param(
            ("optimizer.name=prodigy", "optimizer.learning_rate=1.0", "optimizer.warmup=0.2", "training.ema_decay=0.9"),
            id="prodigy and an average",
        ),
        pytest.param(
            ("dataset.shuffle_captions=true", "dataset.caption_variants=3", "dataset.caption_dropout=0.3", *NOISE),
            id="shuffled captions and noise",
        ),
        pytest.param(
            ("dataset.caption_choice=line+wildcards", "dataset.caption_variants=4", "dataset.shuffle_captions=true"),
            id="one of several captions",
        ),
        pytest.param(("optimizer.name=dadapt_adam", "optimizer.learning_rate=1.0"), id="dadapt_adam", marks=pytest.mark.long),
        pytest.param(
            ("optimizer.name=adamw_schedule_free", "optimizer.scheduler=constant"), id="schedule free", marks=pytest.mark.long
        ),
        pytest.param(("optimizer.name=adafactor",), id="adafactor", marks=pytest.mark.long),
        pytest.param(("optimizer.name=lion",), id="lion", marks=pytest.mark.long),
    ],
)
def test_a_run_that_was_stopped_ends_like_one_that_was_not(make_run: MakeRun, images: Path, sets: tuple[str, ...]) -> None:
    for text in images.glob("*.txt"):
        text.write_text(f"{text.read_text().strip()}, {{red|blue|green}}, {{a|b}}\nqxz woman, at {text.stem}\n")
    _stopped_equals_undisturbed(make_run, sets)


@pytest.mark.long
def test_captions_in_several_files_are_drawn_the_same(make_run: MakeRun, images: Path) -> None:
    for text in list(images.glob("*.txt")):
        text.with_name(f"{text.stem}.2.txt").write_text(f"qxz woman, at {text.stem}")
    run = _stopped_equals_undisturbed(make_run, ("dataset.caption_dropout=0.2",))
    rows = json.loads(run.dataset.read_text())["images"]
    assert {len(row["captions"]) for row in rows} == {2}


def _stopped_equals_undisturbed(make_run: MakeRun, sets: tuple[str, ...]) -> RunDirectory:
    run, undisturbed = make_run(*SMALL, *sets), make_run(*SMALL, *sets)

    def stop(trainer: Trainer) -> None:
        every_step(trainer)
        after_step(trainer, 4, lambda: control.send(run, "stop"))

    assert train(undisturbed, every_step) == ExitCode.DONE
    assert train(run, stop) == ExitCode.TERMINATED
    assert train(run, every_step) == ExitCode.DONE
    assert losses(run) == losses(undisturbed)
    assert same(weights(run), weights(undisturbed))
    return run
