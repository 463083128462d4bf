"""A short run on each embedded base: the same twice bit for bit, and its file has its full effect here and in diffusers."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from narrow_models import answer
from safetensors.torch import load_file
from small_runs import same, train
from torch import Tensor

from loratui.engine.dataset.ledger import build_ledger
from loratui.engine.errors import ExitCode
from loratui.engine.planning.prepare import prepare
from loratui.engine.planning.recipe import build_recipe, effective_toml
from loratui.engine.runs.directory import RunDirectory, create_run
from loratui.engine.training.export import Wanted, export
from loratui.engine.training.lora_file.init_from import read_lora_file
from loratui.engine.training.setup import add_adapter, load_base, read_job
from loratui.engine.training.trainer import Trainer
from loratui.presets.bases import DEMO_CLASS, DEMO_TRIGGER, demo_dataset, embedded_base
from loratui.presets.schema import Family

PRESETS: dict[Family, str] = {"sd15": "demo", "sdxl": "demo:sdxl", "flux": "demo:flux"}
SHORT = (
    "schedule.repeats=1",
    "schedule.epochs=2",
    "optimizer.learning_rate=5e-3",
    "optimizer.warmup=0",
    "samples.every_image_steps=1000000",
    "samples.before_training=false",
    "samples.measure=false",
    "samples.steps=1",
    "memory.threads=1",
)


@dataclass(frozen=True)
class Trained:
    """A finished run, and what its denoiser answers to one fixed input with its LoRA and without."""

    run: RunDirectory
    own: Tensor
    base: Tensor

    @property
    def effect(self) -> float:
        """Length of what the LoRA changes."""
        return float((self.own - self.base).norm())

    def off_by(self, answered: Tensor) -> float:
        """How far an answer is from the trained one, as a share of the LoRA's effect."""
        return float((answered - self.own).norm()) / self.effect


def short_run(family: Family, home: Path) -> RunDirectory:
    """The demo on four of its images: four steps."""
    images = home / "images"
    images.mkdir()
    for file in sorted(demo_dataset().iterdir())[:8]:
        shutil.copy(file, images)
    recipe = build_recipe(PRESETS[family], dataset=images, trigger=DEMO_TRIGGER, class_word=DEMO_CLASS, sets=SHORT)
    ready = prepare(recipe, home)
    assert not ready.errors, ready.errors
    return create_run(
        home,
        DEMO_TRIGGER,
        recipe_toml=ready.recipe.to_toml(),
        effective_toml=effective_toml(ready.recipe, ready.plan),
        ledger=build_ledger(ready.recipe.settings, ready.scan, ready.plan),
    )


@pytest.fixture(scope="module", params=PRESETS)
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A run on each base, once for all tests here."""
    run = short_run(request.param, tmp_path_factory.mktemp(request.param))
    made: list[Trainer] = []
    assert train(run, made.append) == ExitCode.DONE
    return Trained(run, answer(made[0].loaded.model.denoiser), answer(load_base(read_job(run)).denoiser))


def family_of(trained: Trained) -> Family:
    return read_job(trained.run).settings.base.family


def test_a_second_run_is_the_same_bit_for_bit(trained: Trained, tmp_path: Path) -> None:
    again = short_run(family_of(trained), tmp_path)
    assert train(again) == ExitCode.DONE
    first, second = (load_file(run.output / "anafox.safetensors") for run in (trained.run, again))
    assert first
    assert same(first, second)


@pytest.mark.parametrize(("dtype", "allowed"), [("fp32", 0.0), ("fp16", 2e-3)])
def test_an_exported_file_brings_the_effect_back(trained: Trained, tmp_path: Path, dtype: str, allowed: float) -> None:
    job = read_job(trained.run)
    name = job.settings.base.family
    for layout in ("peft",) if name == "flux" else ("kohya", "peft"):  # kohya's names fuse FLUX's layers of true width only
        path = Path(export(trained.run, Wanted(format=layout, dtype=dtype, output=str(tmp_path / layout)))["path"])
        family = load_base(job)
        adapter = add_adapter(job, family)
        assert torch.equal(answer(family.denoiser), trained.base), "a new LoRA does nothing"
        read_lora_file(path, name, adapter)
        assert trained.off_by(answer(family.denoiser)) <= allowed, layout
        with adapter.strength(0.0):
            assert torch.equal(answer(family.denoiser), trained.base)


def test_diffusers_loads_the_file_onto_the_base_with_full_effect_and_none_at_0(trained: Trained, tmp_path: Path) -> None:
    from diffusers import DiffusionPipeline

    pipeline: Any = DiffusionPipeline.from_pretrained(embedded_base(family_of(trained)), local_files_only=True)
    denoiser = getattr(pipeline, "transformer", None) or pipeline.unet
    assert torch.equal(answer(denoiser), trained.base)
    path = Path(export(trained.run, Wanted(dtype="fp32", output=str(tmp_path)))["path"])
    pipeline.load_lora_weights(str(path.parent), weight_name=path.name, adapter_name="own")
    assert trained.off_by(answer(denoiser)) <= 1e-4
    pipeline.set_adapters(["own"], [0.0])
    assert torch.equal(answer(denoiser), trained.base)
