"""The embedded base of SDXL's shape as one checkpoint in its makers' names, as Pony's are: found, loaded and trained on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import original_files
import pytest
import torch

from loratui.engine.families.loading import load_part
from loratui.engine.families.model import LoadOptions, SizeConditioning, load_model
from loratui.engine.formats.base_files import identify
from loratui.engine.planning.bases import discover, find_base
from loratui.presets.bases import DEMO_CLASS, DEMO_TRIGGER, demo_dataset, embedded_base
from loratui.presets.schema import Base, Settings

CPU = torch.device("cpu")
PARTS = ("unet", "vae", "text_encoder", "text_encoder_2")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The base as one file with a name that tells nothing."""
    return original_files.checkpoint(embedded_base("sdxl"), "sdxl", tmp_path_factory.mktemp("file") / "model.safetensors")


def test_it_is_known_by_its_keys_and_whole(checkpoint: Path) -> None:
    for found in (identify(checkpoint), find_base(Base(family="sdxl", model=str(checkpoint)))):
        assert (found.family, found.layout, found.prediction, found.complete) == ("sdxl", "single_file", "epsilon", True)
        assert found.config.samefile(embedded_base("sdxl"))
        assert {found.parts[name].path for name in PARTS} == {checkpoint}
        assert found.title == "SDXL checkpoint, fp16"
    bases, _ = discover([checkpoint.parent])
    assert [(base.family, base.usable) for base in bases] == [("sdxl", True)]


@pytest.mark.parametrize("name", PARTS)
def test_each_part_is_that_of_the_folder_bit_for_bit(checkpoint: Path, name: Any) -> None:
    own, folder = (
        load_part(identify(path), name, device=CPU, dtype=torch.float32).state_dict()
        for path in (checkpoint, embedded_base("sdxl"))
    )
    assert own.keys() == folder.keys()
    assert all(torch.equal(own[key], folder[key]) for key in folder)


@torch.no_grad()
def test_texts_latents_predictions_and_images_are_those_of_the_folder(checkpoint: Path) -> None:
    made = []
    for path in (checkpoint, embedded_base("sdxl")):
        family = load_model(identify(path), Settings(base=Base(family="sdxl")), LoadOptions(CPU, torch.float32))
        text = family.encode_prompts([f"a photo of {DEMO_TRIGGER} {DEMO_CLASS}, smiling"])
        image = torch.linspace(-1, 1, 3 * 128 * 128).view(3, 128, 128)
        latents = family.encode_image(image)
        noisy = torch.randn(1, 4, 32, 32, generator=torch.Generator().manual_seed(0))
        guess = family.predict(noisy, torch.tensor([300]), family.conditioning(text, [SizeConditioning.whole(128, 128)]))
        made.append([*(text[0].tensors[key] for key in sorted(text[0].tensors)), latents.mean, latents.std, guess])
    assert len(made[0]) == len(made[1]) >= 4
    assert all(torch.equal(a, b) for a, b in zip(*made, strict=True))


@pytest.mark.long
def test_a_lora_is_trained_on_it_as_a_user_trains_one_on_pony(checkpoint: Path, tmp_path: Path) -> None:
    sets = (
        "dataset.resolution=128",
        "dataset.bucket_step=64",
        "dataset.bucket_min=64",
        "schedule.image_steps_per_epoch=18",
        "schedule.optimizer_steps_wanted=18",
        "adapter.rank=8",
        "samples.width=128",
        "samples.height=128",
        "samples.steps=4",
    )
    words = [part for text in sets for part in ("--set", text)]
    run = subprocess.run(
        [sys.executable, "-m", "loratui.tui.cli", "train", str(demo_dataset()), "--base", str(checkpoint), "--preset", "pony-realism",
         "--trigger", DEMO_TRIGGER, "--class", DEMO_CLASS, "--json", "--wait", "--yes", *words],
        env={**os.environ, "LORATUI_HOME": str(tmp_path)}, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-3000:]
    told = json.loads(run.stdout)
    assert told["status"] == "done"
    from diffusers import StableDiffusionXLPipeline

    pipeline = StableDiffusionXLPipeline.from_pretrained(embedded_base("sdxl"), local_files_only=True)
    lora = Path(told["output"])
    pipeline.load_lora_weights(str(lora.parent), weight_name=lora.name)
    assert pipeline.get_list_adapters()["unet"]
