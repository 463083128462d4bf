"""The embedded base: its parts are Stable Diffusion 1.5's, it is small, and its images show what the prompt says."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open

from loratui.presets.bases import DEMO_TRIGGER, embedded_base
from loratui.presets.bases.make.captions import full_caption
from loratui.presets.bases.make.measure import sample, shares_right
from loratui.presets.bases.make.people import invent_portrait
from loratui.presets.bases.make.reader import load_reader, read
from loratui.presets.schema import SchemaError

BASE = embedded_base("sd15")


@pytest.fixture(scope="module")
def pipeline() -> Any:
    from diffusers import StableDiffusionPipeline

    return StableDiffusionPipeline.from_pretrained(BASE, torch_dtype=torch.float32)


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    from transformers import CLIPTokenizer

    return CLIPTokenizer.from_pretrained(BASE / "tokenizer")


def test_an_unknown_base_is_named_with_the_known_ones() -> None:
    with pytest.raises(SchemaError, match=r"embedded:sd99: no such embedded base; there is embedded:sd15"):
        embedded_base("sd99")


def test_looking_up_a_base_loads_neither_torch_nor_numpy() -> None:
    code = "import sys, loratui.presets.bases as b; b.embedded_base('sd15'); print([m for m in ('torch', 'numpy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_base_is_at_most_12_megabytes_of_half_precision() -> None:
    files = [f for f in BASE.rglob("*") if f.is_file()]
    assert sum(f.stat().st_size for f in files) <= 12_000_000
    weights = [f for f in files if f.suffix == ".safetensors"]
    assert len(weights) == 3
    for file in weights:
        with safe_open(file, framework="pt") as tensors:
            assert {tensors.get_slice(k).get_dtype() for k in tensors.keys()} == {"F16"}  # noqa: SIM118 - not a dict


def test_no_path_of_the_machine_that_made_it_is_in_the_base() -> None:
    for file in BASE.rglob("*.json"):
        name = json.loads(file.read_text()).get("_name_or_path", "")
        assert "/" not in name, file


def test_the_base_has_the_classes_and_the_noise_schedule_of_stable_diffusion_15(pipeline: Any) -> None:
    index = json.loads((BASE / "model_index.json").read_text())
    assert index["unet"] == ["diffusers", "UNet2DConditionModel"]
    assert index["vae"] == ["diffusers", "AutoencoderKL"]
    assert index["text_encoder"] == ["transformers", "CLIPTextModel"]
    assert index["tokenizer"] == ["transformers", "CLIPTokenizer"]
    noise = pipeline.scheduler.config
    assert (noise.prediction_type, noise.beta_schedule) == ("epsilon", "scaled_linear")
    assert (noise.beta_start, noise.beta_end, noise.num_train_timesteps) == (0.00085, 0.012, 1000)


def test_the_unets_layers_are_named_as_in_stable_diffusion_15(pipeline: Any) -> None:
    names = set(pipeline.unet.state_dict())
    for name in (
        "conv_in.weight",
        "time_embedding.linear_1.weight",
        "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.weight",
        "down_blocks.0.resnets.0.conv1.weight",
        "mid_block.attentions.0.proj_in.weight",
        "up_blocks.1.attentions.1.transformer_blocks.0.ff.net.0.proj.weight",
        "up_blocks.0.upsamplers.0.conv.weight",
    ):
        assert name in names


def test_the_vocabulary_has_a_few_thousand_entries_for_77_positions(tokenizer: Any) -> None:
    assert 2000 <= len(tokenizer) <= 4000
    assert tokenizer.model_max_length == 77


@pytest.mark.parametrize("word", [DEMO_TRIGGER, "ohwx", "zkrtv"])
def test_made_up_words_split(tokenizer: Any, word: str) -> None:
    assert len(tokenizer.tokenize(word)) >= 2


def test_the_words_of_captions_are_whole(tokenizer: Any) -> None:
    words = [
        "a",
        "photo",
        "of",
        "a",
        "woman",
        "with",
        "curly",
        "pink",
        "hair",
        "smiling",
        "wearing",
        "a",
        "blue",
        "sweater",
        "green",
        "background",
        "freckles",
        "glasses",
    ]
    assert [w for w in words if len(tokenizer.tokenize(w)) != 1] == []


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet=st.characters(blacklist_categories=("Cs",)), max_size=12))
def test_no_text_is_unknown(tokenizer: Any, text: str) -> None:
    if "<|" in text:
        return
    ids = tokenizer(text).input_ids
    assert tokenizer.unk_token_id not in ids[1:-1]


def test_captions_not_trained_on_are_read_back_from_the_images(pipeline: Any) -> None:
    rng = np.random.default_rng(99)
    wanted = [invent_portrait(rng) for _ in range(12)]
    images = sample(pipeline, [full_caption(p) for p in wanted], seeds=range(12), steps=10)
    readings = read(load_reader(), images)
    told = ("sex", "skin", "hair", "style", "glasses", "mood", "clothing", "clothing_colour", "background")
    right = shares_right(readings, [vars(p) for p in wanted])
    by_chance = shares_right(readings, [vars(p) for p in wanted[1:] + wanted[:1]])
    assert min(right[name] for name in told) >= 0.75, right
    assert np.mean([right[name] for name in told]) >= 0.9
    assert np.mean([by_chance[name] for name in told]) <= 0.45
