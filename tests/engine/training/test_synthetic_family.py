"""A family that none of today's resembles is cached, trained, sampled, written and checked by code that never heard of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from small_runs import MakeRun, after_loading, after_step, events, every_step, losses, same, train, weights
from synthetic_family import CHANNELS, LAYERS, SPEC, save_synthetic

from loratui.engine import families
from loratui.engine.errors import ExitCode
from loratui.engine.formats.base_parts import BaseFiles
from loratui.engine.planning.recipe import Recipe
from loratui.engine.runs import control
from loratui.engine.runs.directory import RunDirectory
from loratui.engine.runs.event_log import EventLog
from loratui.engine.training import setup
from loratui.engine.training.control_queue import ControlQueue
from loratui.engine.training.export import Wanted, export
from loratui.engine.training.reporting import Reporter
from loratui.engine.training.setup import read_job
from loratui.engine.training.trainer import Trainer
from loratui.engine.training.validation.grid import make_grid


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> BaseFiles:
    return save_synthetic(tmp_path_factory.mktemp("synthetic"))


@pytest.fixture
def make_synthetic_run(make_run: MakeRun, files: BaseFiles, monkeypatch: pytest.MonkeyPatch) -> MakeRun:
    """Makes a run on it; what is found of it on the disk is given, since recognition has tests of its own."""
    read = setup.read_recipe

    def as_synthetic(path: Path) -> Recipe:
        recipe = read(path)
        return replace(recipe, settings=replace(recipe.settings, base=replace(recipe.settings.base, family=SPEC.name)))

    monkeypatch.setattr(families, "FAMILIES", (*families.FAMILIES, SPEC))
    monkeypatch.setattr(setup, "read_recipe", as_synthetic)
    monkeypatch.setattr(setup, "find_base", lambda _: files)
    sets = ("training.min_snr_gamma=0", "training.high_noise_bias=0", "training.batch_size=2", "adapter.targets=attention")
    return lambda *more: make_run(*sets, "schedule.repeats=1", "schedule.epochs=2", "samples.width=96", *more)


def cached(run: RunDirectory, kind: str) -> Iterator[dict[str, torch.Tensor]]:
    yield from (load_file(path) for path in sorted(run.cache.glob(f"{kind}-*.safetensors")))


def test_it_is_cached_trained_sampled_and_written(make_synthetic_run: MakeRun, images: Path) -> None:
    (images / "0.txt").write_text("qxz")
    run = make_synthetic_run("samples.before_training=true")
    assert train(run, every_step) == ExitCode.DONE
    assert {tuple(one["mean"].shape) for one in cached(run, "latents")} == {(CHANNELS, 1, 8, 8), (CHANNELS, 1, 16, 8)}
    assert len({one["states"].shape[0] for one in cached(run, "text")}) > 2, "captions keep their own lengths"
    assert len(losses(run)) == len(events(run, "step")) > 0
    assert len(events(run, "sample_written")) == 2 * 3  # prompts, times
    assert not events(run, "warning")
    assert {name.rsplit(".lora_", 1)[0] for name in weights(run)} == {
        f"transformer.blocks.{block}.{layer}" for block in range(2) for layer in LAYERS
    }


def test_a_resume_is_exact(make_synthetic_run: MakeRun) -> None:
    whole, halves = make_synthetic_run(), make_synthetic_run()
    assert train(whole, every_step) == ExitCode.DONE

    def stop(trainer: Trainer) -> None:
        every_step(trainer)
        after_step(trainer, 3, lambda: control.send(halves, "stop"))

    assert train(halves, stop) == ExitCode.TERMINATED
    assert train(halves, every_step) == ExitCode.DONE
    assert losses(whole) == losses(halves)
    assert same(weights(whole), weights(halves))


def test_its_base_is_read_its_lora_checked_and_exported(make_synthetic_run: MakeRun, tmp_path: Path) -> None:
    run, readings = make_synthetic_run("schedule.epochs=1"), []

    def read(trainer: Trainer) -> None:
        after_loading(trainer, lambda: readings.append(trainer.read_the_base().readings))

    assert train(run, read) == ExitCode.DONE
    assert readings[0]["vae_scale"] is None
    assert readings[0]["vae_psnr_db"] > 0
    with EventLog.open(run.events_of("validate")) as log:
        report = Reporter(log)
        assert make_grid(read_job(run), report, ControlQueue()) == ExitCode.DONE
        report.close()
    assert list(run.validation.glob("*.png"))
    exported = load_file(export(run, Wanted(dtype="fp16", output=str(tmp_path / "out.safetensors")))["path"])
    assert same(exported, weights(run))
