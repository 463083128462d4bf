"""Bases with random weights, small enough for a step in some milliseconds, and runs on them; fixtures for the conftests that import them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from made_images import noise

from loratui.engine.dataset.ledger import build_ledger
from loratui.engine.families.model import LoadOptions
from loratui.engine.families.sd15.model import Sd15, load
from loratui.engine.formats.base_files import identify
from loratui.engine.planning.prepare import prepare
from loratui.engine.planning.recipe import build_recipe, effective_toml
from loratui.engine.runs.directory import RunDirectory, create_run
from loratui.presets.schema import Settings

torch.set_num_threads(1)


def save_random_base(folder: Path) -> None:
    """Writes a diffusers folder in SD1.5's layout: four blocks as in the original, only narrow."""
    from diffusers import DDIMScheduler, UNet2DConditionModel

    torch.manual_seed(0)
    ends = save_clip_tokenizer(folder / "tokenizer")
    clip_encoder(16, **ends).save_pretrained(folder / "text_encoder")
    UNet2DConditionModel(
        sample_size=8,
        layers_per_block=1,
        cross_attention_dim=16,
        attention_head_dim=2,
        norm_num_groups=8,
        block_out_channels=(8, 16, 16, 16),
    ).save_pretrained(folder / "unet")
    narrow_vae(scaling_factor=0.18215).save_pretrained(folder / "vae")
    DDIMScheduler(**BETAS, clip_sample=False, set_alpha_to_one=False, steps_offset=1).save_pretrained(folder / "scheduler")
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionPipeline"}))


def save_random_sdxl(folder: Path) -> None:
    """Writes a diffusers folder in SDXL's layout: three blocks of two layers, two text encoders, as LDM files have it too."""
    from diffusers import EulerDiscreteScheduler, UNet2DConditionModel

    torch.manual_seed(1)
    ends = save_clip_tokenizer(folder / "tokenizer")
    save_clip_tokenizer(folder / "tokenizer_2", pad_token="!")
    clip_encoder(16, **ends).save_pretrained(folder / "text_encoder")
    clip_encoder(24, projected=True, **ends).save_pretrained(folder / "text_encoder_2")
    UNet2DConditionModel(
        sample_size=8,
        layers_per_block=2,
        cross_attention_dim=16 + 24,
        attention_head_dim=[1, 2, 2],
        norm_num_groups=8,
        block_out_channels=(8, 16, 16),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=[1, 1, 2],
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=24 + 6 * 8,
    ).save_pretrained(folder / "unet")
    narrow_vae(scaling_factor=0.13025, force_upcast=True).save_pretrained(folder / "vae")
    EulerDiscreteScheduler(**BETAS, timestep_spacing="leading", steps_offset=1).save_pretrained(folder / "scheduler")
    index = {"_class_name": "StableDiffusionXLPipeline", "force_zeros_for_empty_prompt": True}
    (folder / "model_index.json").write_text(json.dumps(index))


def save_random_flux(folder: Path) -> None:
    """Writes a diffusers folder in FLUX.1-dev's layout: one double block, two single ones, CLIP and a T5 with dropout."""
    from diffusers import FlowMatchEulerDiscreteScheduler, FluxTransformer2DModel

    torch.manual_seed(2)
    ends = save_clip_tokenizer(folder / "tokenizer")
    clip_encoder(16, **ends).save_pretrained(folder / "text_encoder")
    save_t5(folder, "tokenizer_2", "text_encoder_2")
    FluxTransformer2DModel(
        in_channels=64,
        num_layers=1,
        num_single_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=32,
        pooled_projection_dim=16,
        guidance_embeds=True,
        axes_dims_rope=(4, 6, 6),
    ).save_pretrained(folder / "transformer")
    narrow_vae(
        latent_channels=16, scaling_factor=0.3611, shift_factor=0.1159, use_quant_conv=False, use_post_quant_conv=False
    ).save_pretrained(folder / "vae")
    FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True).save_pretrained(folder / "scheduler")
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "FluxPipeline"}))


def save_t5(folder: Path, tokenizer: str, encoder: str) -> None:
    """Writes a T5 of two layers, 32 wide, with dropout, and a tokenizer that knows single characters and takes 24 of them."""
    from transformers import T5Config, T5EncoderModel, T5TokenizerFast

    letters = [chr(c) for c in range(33, 127)]
    vocabulary = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0), *((letter, -3.0) for letter in letters)]
    T5TokenizerFast(vocab=vocabulary, extra_ids=0, model_max_length=24).save_pretrained(folder / tokenizer)
    t5 = T5Config(
        vocab_size=len(vocabulary),
        d_model=32,
        d_kv=8,
        num_heads=2,
        d_ff=32,
        num_layers=2,
        feed_forward_proj="gated-gelu",
        dropout_rate=0.1,
    )
    T5EncoderModel(t5).save_pretrained(folder / encoder)


BETAS: dict[str, Any] = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def save_clip_tokenizer(folder: Path, **options: str) -> dict[str, int]:
    """Writes a CLIP tokenizer that knows single characters; returns what an encoder's configuration says of it."""
    from transformers import CLIPTokenizer

    letters = [chr(c) for c in range(33, 127)]
    words = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    plain = folder.with_name(f"{folder.name}-plain")
    plain.mkdir(parents=True)
    (plain / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (plain / "merges.txt").write_text("#version: 0.2\n")
    CLIPTokenizer.from_pretrained(plain, model_max_length=77, **options).save_pretrained(folder)
    shutil.rmtree(plain)
    return {
        "vocab_size": len(words),
        "bos_token_id": len(words) - 2,
        "eos_token_id": len(words) - 1,
        "pad_token_id": len(words) - 1,
    }


def clip_encoder(width: int, *, projected: bool = False, **numbers: int) -> Any:
    """A random CLIP text encoder of three layers, as SDXL's second one if `projected`."""
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    config = CLIPTextConfig(
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=3,
        num_attention_heads=2,
        projection_dim=width,
        hidden_act="gelu" if projected else "quick_gelu",
        **numbers,
    )
    return CLIPTextModelWithProjection(config) if projected else CLIPTextModel(config)


def narrow_vae(latent_channels: int = 4, **options: Any) -> Any:
    """A random autoencoder of four levels."""
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        latent_channels=latent_channels,
        block_out_channels=(8, 8, 8, 8),
        norm_num_groups=4,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        **options,
    )


@pytest.fixture(scope="session")
def base_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The random base on disk."""
    folder = tmp_path_factory.mktemp("base")
    save_random_base(folder)
    return folder


@pytest.fixture(scope="session")
def sdxl_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random base of SDXL's layout on disk."""
    folder = tmp_path_factory.mktemp("sdxl")
    save_random_sdxl(folder)
    return folder


@pytest.fixture(scope="session")
def flux_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random base of FLUX's layout on disk."""
    folder = tmp_path_factory.mktemp("flux")
    save_random_flux(folder)
    return folder


@pytest.fixture
def family(base_folder: Path) -> Sd15:
    """The random base, loaded anew for each test, since adapters change it."""
    loaded = load(identify(base_folder), Settings(), LoadOptions(torch.device("cpu"), torch.float32))
    assert isinstance(loaded, Sd15)
    return loaded


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Five captioned images of 64 × 64 px and two of 64 × 128."""
    return write_images(tmp_path / "images")


def write_images(folder: Path) -> Path:
    """Writes what `images` tells of into a new folder, which it returns."""
    folder.mkdir()
    for i in range(7):
        size = (64, 64) if i < 5 else (64, 128)
        noise(i, size, 40 + i).convert("RGB").save(folder / f"{i}.png")
        (folder / f"{i}.txt").write_text(f"a photo of qxz thing, number {i}")
    return folder


MakeRun = Callable[..., RunDirectory]


@pytest.fixture
def make_run(tmp_path: Path, images: Path, base_folder: Path) -> MakeRun:
    """Makes a run directory on the random base: `make_run("training.batch_size=2", …)`."""
    return partial(run_on, base_folder, tmp_path, folder=images)


def run_on(base: Path, home: Path, *sets: str, folder: Path) -> RunDirectory:
    """Makes a run directory in `home` that trains on the images of `folder` for two epochs of seven steps."""
    small = (
        f"base.model={base}",
        "base.check=off",  # its weights are random: there is nothing to read
        "dataset.resolution=64",
        "schedule.folder_repeats=false",
        "schedule.repeats=2",
        "schedule.epochs=2",
        "adapter.rank=2",
        "adapter.alpha=4",
        "samples.every_image_steps=0",
        "samples.before_training=false",
        "samples.steps=2",
        "samples.measure=false",
        "output.checkpoint_every_s=3600",
        "memory.threads=1",
    )
    recipe = build_recipe("demo", dataset=folder, trigger="qxz", class_word="thing", sets=(*small, *sets))
    ready = prepare(recipe, home)
    assert not ready.errors, ready.errors
    return create_run(
        home,
        "qxz",
        recipe_toml=ready.recipe.to_toml(),
        effective_toml=effective_toml(ready.recipe, ready.plan),
        ledger=build_ledger(ready.recipe.settings, ready.scan, ready.plan),
    )
