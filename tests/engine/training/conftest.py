"""A base of SD1.5's shape with random weights, small enough for a step in some milliseconds, and runs on it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from loratui.engine.dataset.ledger import build_ledger
from loratui.engine.planning.prepare import prepare
from loratui.engine.planning.recipe import build_recipe, effective_toml
from loratui.engine.runs.directory import RunDirectory, create_run
from loratui.engine.training.families.sd15 import Sd15, load
from loratui.presets.schema import Settings

torch.set_num_threads(1)


def save_random_base(folder: Path) -> None:
    """Writes a diffusers folder in SD1.5's layout: four blocks as in the original, only narrow."""
    from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    torch.manual_seed(0)
    letters = [chr(c) for c in range(33, 127)]
    words = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    plain = folder / "plain"
    plain.mkdir(parents=True)
    (plain / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (plain / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = CLIPTokenizer.from_pretrained(plain, model_max_length=77)
    tokenizer.save_pretrained(folder / "tokenizer")
    ends = {"bos_token_id": len(words) - 2, "eos_token_id": len(words) - 1, "pad_token_id": len(words) - 1}
    encoder = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(words),
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=3,
            num_attention_heads=2,
            hidden_act="quick_gelu",
            **ends,
        )
    )
    encoder.save_pretrained(folder / "text_encoder")
    UNet2DConditionModel(
        sample_size=8,
        layers_per_block=1,
        cross_attention_dim=16,
        attention_head_dim=2,
        norm_num_groups=8,
        block_out_channels=(8, 16, 16, 16),
    ).save_pretrained(folder / "unet")
    AutoencoderKL(
        latent_channels=4,
        block_out_channels=(8, 8, 8, 8),
        norm_num_groups=4,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        scaling_factor=0.18215,
    ).save_pretrained(folder / "vae")
    DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    ).save_pretrained(folder / "scheduler")


@pytest.fixture(scope="session")
def base_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The random base on disk."""
    folder = tmp_path_factory.mktemp("base")
    save_random_base(folder)
    return folder


@pytest.fixture
def family(base_folder: Path) -> Sd15:
    """The random base, loaded anew for each test, since adapters change it."""
    loaded = load(base_folder, Settings(), device=torch.device("cpu"), dtype=torch.float32)
    assert isinstance(loaded, Sd15)
    return loaded


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Five captioned pictures of 64 × 64 px and two of 64 × 128."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i in range(7):
        size = (64, 64) if i < 5 else (64, 128)
        Image.effect_noise(size, 40 + i).convert("RGB").save(folder / f"{i}.png")
        (folder / f"{i}.txt").write_text(f"a photo of qxz thing, number {i}")
    return folder


MakeRun = Callable[..., RunDirectory]


@pytest.fixture
def make_run(tmp_path: Path, pictures: Path, base_folder: Path) -> MakeRun:
    """Makes a run directory on the random base: `make_run("training.batch_size=2", …)`."""

    def make(*sets: str, folder: Path = pictures) -> RunDirectory:
        small = (
            f"base.model={base_folder}",
            "dataset.resolution=64",
            "schedule.folder_repeats=false",
            "schedule.repeats=2",
            "schedule.epochs=2",
            "adapter.rank=2",
            "adapter.alpha=4",
            "samples.every_image_steps=0",
            "samples.before_training=false",
            "samples.steps=2",
            "output.checkpoint_every_s=3600",
            "memory.threads=1",
        )
        recipe = build_recipe("demo", dataset=folder, trigger="qxz", class_word="thing", sets=(*small, *sets))
        ready = prepare(recipe, tmp_path)
        assert not ready.errors, ready.errors
        return create_run(
            tmp_path,
            "qxz",
            recipe_toml=ready.recipe.to_toml(),
            effective_toml=effective_toml(ready.recipe, ready.plan),
            ledger=build_ledger(ready.recipe.settings, ready.scan, ready.plan),
        )

    return make
