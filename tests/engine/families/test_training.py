"""Whole small runs of SDXL and FLUX: trained, ended and gone on with, sampled, and written."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small_runs import MakeRun, after_step, events, same, train, weights

from loratui.engine.errors import ExitCode, UsageError
from loratui.engine.runs import control
from loratui.engine.runs.directory import RunDirectory
from loratui.engine.training.setup import load_base, read_job
from loratui.engine.training.trainer import Trainer

SETTINGS = {
    "sdxl": ("base.family=sdxl", "base.clip_skip=2", "dataset.caption_tokens=150"),
    "flux": ("base.family=flux", "training.min_snr_gamma=0", "samples.guidance=3.5"),
}


@pytest.fixture(params=["sdxl", "flux"])
def make_family_run(request: pytest.FixtureRequest, make_run: MakeRun, sdxl_folder: Path, flux_folder: Path) -> MakeRun:
    """Makes a run on the random base of either family."""
    folder = {"sdxl": sdxl_folder, "flux": flux_folder}[request.param]
    sets = (*SETTINGS[request.param], f"base.model={folder}", "adapter.targets=attention", "training.batch_size=2")
    return lambda *more: make_run(*sets, "schedule.repeats=1", "schedule.epochs=1", *more)


def test_row_39_the_lora_alone_is_trained_and_all_of_it(make_family_run: MakeRun) -> None:
    made: list[Trainer] = []
    run = make_family_run("samples.before_training=true", "adapter.targets=sd-scripts")
    assert train(run, made.append) == ExitCode.DONE
    (trainer,) = made
    trained = dict(trainer.loaded.model.denoiser.named_parameters())
    untouched = load_base(read_job(run)).denoiser
    for name, value in untouched.named_parameters():
        module, _, tensor = name.rpartition(".")
        wrapped = f"{module}.base_layer.{tensor}"
        own = trained[wrapped] if wrapped in trained else trained[name]
        assert torch.equal(own, value), name
        assert not own.requires_grad
    ups = [value for name, value in trainer.loaded.adapter.parameters.items() if name.endswith("lora_B")]
    assert ups
    assert all(bool(value.abs().sum() > 0) for value in ups)
    assert len(events(run, "sample_written")) == 2 * 2  # prompts, times
    assert weights(run)


def test_rows_35_and_43_samples_and_a_stop_change_nothing_of_the_training(make_family_run: MakeRun) -> None:
    whole = make_family_run("samples.every_image_steps=1000000")
    halves = make_family_run("samples.every_image_steps=4", "samples.before_training=true")
    assert train(whole) == ExitCode.DONE

    def stop(trainer: Trainer) -> None:
        after_step(trainer, 2, lambda: control.send(halves, "stop"))

    assert train(halves, stop) == ExitCode.TERMINATED
    assert train(halves) == ExitCode.DONE
    assert len(events(halves, "sample_written")) > len(events(whole, "sample_written"))
    assert same(weights(whole), weights(halves))


@pytest.mark.long
def test_fewer_activations_give_the_same_lora(make_family_run: MakeRun) -> None:
    runs = [make_family_run(f"memory.gradient_checkpointing={how}") for how in ("off", "on")]
    assert [train(run) for run in runs] == [ExitCode.DONE] * 2
    assert same(*(weights(run) for run in runs))


@pytest.mark.long
def test_the_loss_falls(make_family_run: MakeRun) -> None:
    run = make_family_run("schedule.epochs=16", "optimizer.learning_rate=0.01", "optimizer.scheduler=constant")
    assert train(run) == ExitCode.DONE
    epochs = [event.fields["loss"] for event in events(run, "epoch_finished")]
    assert min(epochs[-3:]) < epochs[0]


def test_images_and_captions_are_encoded_once(make_family_run: MakeRun) -> None:
    run = make_family_run()
    held: list[str] = []

    def look(trainer: Trainer) -> None:
        def held_now() -> None:
            parts = trainer.loaded.model._parts  # type: ignore[attr-defined]
            held.extend(name for name in ("vae", "text_encoder", "text_encoder_2") if name in parts._loaded)

        after_step(trainer, 1, held_now)

    assert train(run, look) == ExitCode.DONE
    assert held == []
    stored = sorted(path.name for path in run.cache.iterdir())
    assert len([name for name in stored if name.startswith("latents-")]) == 7
    assert (run.path.parent.parent / "fingerprints.json").stat().st_mode & 0o077 == 0


def test_a_recipe_for_another_family_is_refused(make_run: MakeRun, flux_folder: Path, tmp_path: Path) -> None:
    run = make_run()
    run.effective.write_text(
        run.effective.read_text()
        .replace('family = "sd15"', 'family = "flux"')
        .replace("min_snr_gamma = 5.0", "min_snr_gamma = 0.0")
    )
    with pytest.raises(UsageError, match="not FLUX"):
        load_base(read_job(run))


def test_settings_of_another_family_are_refused_in_the_trainer_too(make_run: MakeRun, flux_folder: Path) -> None:
    run: RunDirectory = make_run(*SETTINGS["flux"], f"base.model={flux_folder}")
    run.effective.write_text(run.effective.read_text().replace("min_snr_gamma = 0.0", "min_snr_gamma = 5.0"))
    with pytest.raises(UsageError, match=r"training\.min_snr_gamma 5 has no effect on FLUX"):
        load_base(read_job(run))
