"""The embedded bases of SDXL's and FLUX's shape: parts, numbers and names of the full models, and images of what is asked for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open

from loratui.presets.bases import DEMO_TRIGGER, embedded_base
from loratui.presets.bases.make.captions import full_caption
from loratui.presets.bases.make.measure import sample, shares_right
from loratui.presets.bases.make.people import IDENTITY, invent_portrait
from loratui.presets.bases.make.reader import load_reader, read

SDXL, FLUX = embedded_base("sdxl"), embedded_base("flux")
TOLD = ("sex", "hair", "style", "glasses", "mood", "clothing", "clothing_colour", "background")


def config(base: Path, part: str) -> dict[str, Any]:
    name = "scheduler_config.json" if part == "scheduler" else "config.json"
    loaded: dict[str, Any] = json.loads((base / part / name).read_text())
    return loaded


def classes(base: Path) -> dict[str, str]:
    index = json.loads((base / "model_index.json").read_text())
    return {name: kind[1] for name, kind in index.items() if isinstance(kind, list) and kind[1]}


def read_back(pipeline: Any, features: Sequence[str] = TOLD, **options: Any) -> float:
    """Mean share of the features that ten images show as their captions say."""
    rng = np.random.default_rng(99)
    wanted = [invent_portrait(rng) for _ in range(10)]
    images = sample(pipeline, [full_caption(p) for p in wanted], seeds=range(10), steps=10, **options)
    right = shares_right(read(load_reader(), images), [vars(p) for p in wanted])
    return float(np.mean([right[name] for name in features]))


@pytest.mark.parametrize("base", [SDXL, FLUX], ids=["sdxl", "flux"])
def test_a_base_is_at_most_12_megabytes_of_half_precision(base: Path) -> None:
    files = [f for f in base.rglob("*") if f.is_file()]
    assert sum(f.stat().st_size for f in files) <= 12_000_000
    weights = [f for f in files if f.suffix == ".safetensors"]
    assert len(weights) == 4
    for file in weights:
        with safe_open(file, framework="pt") as tensors:
            assert {tensors.get_slice(k).get_dtype() for k in tensors.keys()} == {"F16"}  # noqa: SIM118 - not a dict
            assert all(torch.isfinite(tensors.get_tensor(k)).all() for k in tensors.keys())  # noqa: SIM118


@pytest.mark.parametrize("base", [SDXL, FLUX], ids=["sdxl", "flux"])
def test_no_path_of_the_machine_that_made_it_is_in_a_base(base: Path) -> None:
    for file in base.rglob("*.json"):
        assert "/" not in json.loads(file.read_text()).get("_name_or_path", ""), file


def test_sdxls_parts_are_those_of_sdxl() -> None:
    assert classes(SDXL) == {
        "scheduler": "EulerDiscreteScheduler",
        "text_encoder": "CLIPTextModel",
        "text_encoder_2": "CLIPTextModelWithProjection",
        "tokenizer": "CLIPTokenizer",
        "tokenizer_2": "CLIPTokenizer",
        "unet": "UNet2DConditionModel",
        "vae": "AutoencoderKL",
    }
    assert json.loads((SDXL / "model_index.json").read_text())["force_zeros_for_empty_prompt"] is True
    assert config(SDXL, "vae")["scaling_factor"] == 0.13025
    unet, first, second = (config(SDXL, part) for part in ("unet", "text_encoder", "text_encoder_2"))
    assert (unet["addition_embed_type"], unet["use_linear_projection"]) == ("text_time", True)
    assert unet["down_block_types"] == ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"]
    assert unet["cross_attention_dim"] == first["hidden_size"] + second["hidden_size"]
    pooled_and_sizes = second["projection_dim"] + 6 * unet["addition_time_embed_dim"]
    assert unet["projection_class_embeddings_input_dim"] == pooled_and_sizes
    assert (first["hidden_act"], second["hidden_act"]) == ("quick_gelu", "gelu")
    schedule = config(SDXL, "scheduler")
    assert (schedule["beta_schedule"], schedule["beta_start"], schedule["beta_end"]) == ("scaled_linear", 0.00085, 0.012)
    assert (schedule["prediction_type"], schedule["timestep_spacing"], schedule["steps_offset"]) == ("epsilon", "leading", 1)


def test_sdxls_second_tokenizer_pads_with_token_0_and_else_agrees_with_the_first() -> None:
    from transformers import CLIPTokenizer

    first, second = (CLIPTokenizer.from_pretrained(SDXL / name) for name in ("tokenizer", "tokenizer_2"))
    assert first.pad_token_id == first.eos_token_id
    assert second.pad_token_id == 0
    assert first.get_vocab() == second.get_vocab()
    text = f"a photo of {DEMO_TRIGGER} woman, smiling"
    assert first(text).input_ids == second(text).input_ids
    assert second(text, padding="max_length", max_length=77).input_ids[-1] == 0


def test_fluxs_parts_are_those_of_flux() -> None:
    assert classes(FLUX) == {
        "scheduler": "FlowMatchEulerDiscreteScheduler",
        "text_encoder": "CLIPTextModel",
        "text_encoder_2": "T5EncoderModel",
        "tokenizer": "CLIPTokenizer",
        "tokenizer_2": "T5Tokenizer",
        "transformer": "FluxTransformer2DModel",
        "vae": "AutoencoderKL",
    }
    vae, transformer = config(FLUX, "vae"), config(FLUX, "transformer")
    assert (vae["latent_channels"], vae["shift_factor"], vae["scaling_factor"]) == (16, 0.1159, 0.3611)
    assert (vae["use_quant_conv"], vae["use_post_quant_conv"], len(vae["block_out_channels"])) == (False, False, 4)
    assert (transformer["guidance_embeds"], transformer["in_channels"], transformer["patch_size"]) == (True, 64, 1)
    assert sum(transformer["axes_dims_rope"]) == transformer["attention_head_dim"]
    assert transformer["joint_attention_dim"] == config(FLUX, "text_encoder_2")["d_model"]
    assert transformer["pooled_projection_dim"] == config(FLUX, "text_encoder")["hidden_size"]
    schedule = config(FLUX, "scheduler")
    assert (schedule["use_dynamic_shifting"], schedule["base_shift"], schedule["max_shift"]) == (True, 0.5, 1.15)
    assert (schedule["base_image_seq_len"], schedule["max_image_seq_len"]) == (256, 4096)


def test_t5s_tokenizer_ends_with_1_pads_with_0_and_knows_the_words_of_captions() -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(FLUX / "tokenizer_2")
    assert (tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.unk_token_id) == (0, 1, 2)
    ids = tokenizer("a photo of a woman, smiling", padding="max_length", max_length=64).input_ids
    assert len(ids) == tokenizer.model_max_length == 64
    assert ids[7:] == [1] + [0] * 56
    assert len(tokenizer.tokenize(DEMO_TRIGGER)) >= 2
    rng = np.random.default_rng(3)
    lengths = [len(tokenizer(full_caption(invent_portrait(rng))).input_ids) for _ in range(200)]
    assert max(lengths) <= 64
    assert 2 not in tokenizer('A "Photo" of O\'Brien: 100% (new)!').input_ids


@pytest.fixture(scope="module")
def sdxl() -> Any:
    from diffusers import StableDiffusionXLPipeline

    return StableDiffusionXLPipeline.from_pretrained(SDXL, torch_dtype=torch.float32, local_files_only=True)


@pytest.fixture(scope="module")
def flux() -> Any:
    from diffusers import FluxPipeline

    return FluxPipeline.from_pretrained(FLUX, torch_dtype=torch.float32, local_files_only=True)


def test_sdxls_images_show_what_captions_say_that_were_not_trained_on(sdxl: Any) -> None:
    assert read_back(sdxl) >= 0.9


def test_fluxs_images_show_what_captions_say_and_faces_more_so_with_guidance(flux: Any) -> None:
    options = {"max_sequence_length": 64}
    assert read_back(flux, guidance=3.5, **options) >= 0.9
    plain, guided = (read_back(flux, IDENTITY, guidance=guidance, **options) for guidance in (1.0, 3.5))
    assert guided > plain


def test_sizes_of_other_images_do_not_upset_sdxl(sdxl: Any) -> None:
    assert read_back(sdxl, original_size=(900, 1400), crops_coords_top_left=(30, 10)) >= 0.85
