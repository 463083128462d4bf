"""The loss on images that are not trained on: measured after each epoch, the same after a resume, and without any effect on the training."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from random_bases import run_on, write_images
from small_runs import MakeRun, after_step, events, every_step, losses, same, train, weights

from loratui.engine.dataset.ledger import read_ledger
from loratui.engine.errors import ExitCode, UsageError
from loratui.engine.planning import loss_measuring
from loratui.engine.runs.directory import RunDirectory
from loratui.engine.runs.state_file import read_state
from loratui.engine.training.fixed_loss import FixedLoss
from loratui.engine.training.held_out import watched
from loratui.engine.training.trainer import Trainer

HELD = ("1.png", "5.png")
"""One of each of the two sizes of the random images."""
SETS = (f'dataset.held_out=["{HELD[0]}", "{HELD[1]}"]', "schedule.repeats=2")


def told(run: RunDirectory, kind: str = "held_out") -> list[dict[str, Any]]:
    """The events of a kind as they were last told for each epoch, without the time that they took."""
    found = {event.fields["epoch"]: dict(event.fields) for event in events(run, kind)}
    return [{name: value for name, value in fields.items() if name != "seconds"} for fields in found.values()]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, base_folder: Path) -> RunDirectory:
    """A run that holds out two images of seven."""
    home = tmp_path_factory.mktemp("held")
    run = run_on(base_folder, home, *SETS, folder=write_images(home / "images"))
    assert train(run, every_step) == ExitCode.DONE
    return run


def test_the_loss_is_told_after_each_epoch_with_that_of_the_base(trained: RunDirectory) -> None:
    found = told(trained)
    epochs = [(event.count("epoch"), event.count("step")) for event in events(trained, "epoch_finished")]
    assert [(one["epoch"], one["step"]) for one in found] == [(0, 0), *epochs]
    assert {one["what"] for one in found} == {"held_out"}
    assert len({one["base_loss"] for one in found}) == 1
    assert found[0]["loss"] == found[0]["base_loss"], "a new LoRA changes nothing"
    assert len({one["loss"] for one in found}) == 3
    assert [one["image"] for one in found[2]["images"]] == list(HELD)
    assert found[2]["loss"] == pytest.approx(sum(one["loss"] for one in found[2]["images"]) / 2)
    state = read_state(trained)
    assert state.held_out is not None
    assert (state.held_out.epoch, state.held_out.loss, state.images) == (2, found[2]["loss"], 5)


def test_the_training_is_that_of_a_folder_without_the_images(trained: RunDirectory, tmp_path: Path, base_folder: Path) -> None:
    folder = write_images(tmp_path / "images")
    for name in HELD:
        (folder / name).unlink()
    alone = run_on(base_folder, tmp_path, *SETS[1:], folder=folder)
    assert train(alone, every_step) == ExitCode.DONE
    assert not events(alone, "held_out")
    assert losses(alone) == losses(trained)
    assert same(weights(alone), weights(trained))


def test_a_resumed_run_measures_the_same_and_what_a_kill_prevented(
    trained: RunDirectory, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(*SETS, "output.checkpoint_every_s=1")

    def killed_after_the_checkpoint(trainer: Trainer) -> None:
        def measure(epoch: int) -> None:
            trainer.artifacts.checkpoints.background.wait()
            if epoch:
                raise RuntimeError("killed")

        monkeypatch.setattr(trainer, "_measure_losses", measure)

    with pytest.raises(RuntimeError, match="killed"):
        train(run, killed_after_the_checkpoint)
    assert not told(run)
    with pytest.raises(RuntimeError, match="killed"):
        train(run, lambda trainer: after_step(trainer, trainer.progress.steps_per_epoch + 1, _killed))
    assert [one["epoch"] for one in told(run)] == [1]
    assert train(run) == ExitCode.DONE
    assert told(run) == told(trained)[1:]
    assert same(weights(run), weights(trained))


def _killed() -> None:
    raise RuntimeError("killed")


def test_a_resume_with_others_held_out_is_another_run(trained: RunDirectory, tmp_path: Path) -> None:
    run = RunDirectory(shutil.copytree(trained.path, tmp_path / trained.name))
    effective = run.effective.read_text()
    assert '"5.png"' in effective
    run.effective.write_text(effective.replace(', "5.png"', ""))
    with pytest.raises(UsageError, match=r"dataset\.held_out"):
        train(run)


def test_where_it_fails_the_run_goes_on_without(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> list[float]:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(FixedLoss, "of", fails)
    run = make_run(*SETS, "schedule.epochs=1")
    assert train(run) == ExitCode.DONE
    [warning] = [event for event in events(run, "warning") if event.text("code") == "held_out_failed"]
    assert "too little memory" in warning.text("message")
    assert not told(run)


def test_without_held_out_images_it_is_measured_on_those_of_regularisation(make_run: MakeRun, images: Path) -> None:
    subject, others = images / "20_qxz thing", images / "reg" / "1_thing"
    for folder in (subject, others):
        folder.mkdir(parents=True)
    for at, file in enumerate(sorted(images.glob("*.png"))):
        for part in (file, file.with_suffix(".txt")):
            part.rename((subject if at != 3 else others) / part.name)
    run = make_run("schedule.repeats=2", "schedule.epochs=1", "training.batch_size=4")
    assert {entry.regularisation for entry in read_ledger(run.dataset).images} == {True, False}
    assert train(run) == ExitCode.DONE
    assert [(one["epoch"], one["what"], len(one["images"])) for one in told(run)] == [
        (0, "regularisation", 1),
        (1, "regularisation", 1),
    ]


def test_each_trained_image_is_measured_where_that_is_cheap(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loss_measuring, "IMAGES_SHARE", 1.0)
    run = make_run("schedule.repeats=1", "training.batch_size=4")
    assert train(run) == ExitCode.DONE
    found = told(run, "image_losses")
    assert [one["epoch"] for one in found] == [1, 2]
    assert [one["image"] for one in found[0]["images"]] == [f"{at}.png" for at in range(7)]
    bases = [[row["base_loss"] for row in one["images"]] for one in found]
    assert bases[0] == bases[1]
    assert found[0]["images"] != found[1]["images"]


def test_how_much_is_measured() -> None:
    assert loss_measuring.draws(2, 160, held_out=True) == 8
    assert loss_measuring.draws(20, 180, held_out=True) == 2, "the fewest, whatever it takes"
    assert loss_measuring.draws(8, 20, held_out=False) == 0
    assert loss_measuring.draws(0, 1000, held_out=True) == 0
    assert loss_measuring.image_draws(18, 1800) == 2
    assert loss_measuring.image_draws(18, 180) == 0
    assert loss_measuring.image_epochs(10) == {5, 10}
    assert loss_measuring.image_epochs(1) == {1}
    assert watched(()).what == ""


@pytest.mark.long
@pytest.mark.parametrize("base", ["sdxl_folder", "flux_folder"])
@pytest.mark.parametrize(
    "sets", [(), ("training.train_text_encoder=true",), ("adapter.dropout=0.5", "training.ema_decay=0.9")], ids=str
)
def test_every_family_measures_without_an_effect(
    base: str, sets: Sequence[str], request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = "flux" if base == "flux_folder" else "sdxl"
    if kind == "flux" and "train_text_encoder" in str(sets):
        sets = (*sets, "adapter.targets=attention")
    more = (f"base.family={kind}", "training.min_snr_gamma=0", "training.high_noise_bias=0", *sets)

    def made(name: str, change: Callable[[Trainer], None] = lambda _: None) -> RunDirectory:
        home = tmp_path / name
        home.mkdir()
        run = run_on(request.getfixturevalue(base), home, *SETS, *more, folder=write_images(home / "images"))
        assert train(run, change) == ExitCode.DONE
        return run

    def unmeasured(trainer: Trainer) -> None:
        monkeypatch.setattr(trainer, "_measure_losses", lambda epoch: None)

    measured, alone = made("measured"), made("alone", unmeasured)
    assert len({one["loss"] for one in told(measured)}) == 3
    assert same(weights(measured), weights(alone))
