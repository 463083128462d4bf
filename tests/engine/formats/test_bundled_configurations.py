"""The bundled configurations make models of the published sizes, and CLIP's tokenizer counts as CLIP does."""

from __future__ import annotations

import json

import pytest
from tokenizers import Tokenizer

from loratui.engine import families
from loratui.engine.families.common.clip import CLIP_TOKENIZER
from loratui.engine.formats.part_fit import wanted_sizes

MILLIONS = {
    ("sd15", "unet"): 859.5,
    ("sdxl", "unet"): 2567.5,
    ("flux", "transformer"): 11901.4,
    ("sd15", "vae"): 83.7,
    ("sdxl", "vae"): 83.7,
    ("flux", "vae"): 83.8,
    ("sd15", "text_encoder"): 123.1,
    ("sdxl", "text_encoder"): 123.1,
    ("sdxl", "text_encoder_2"): 694.7,
    ("flux", "text_encoder"): 123.1,
    ("flux", "text_encoder_2"): 4762.3,
}


@pytest.mark.parametrize(("family", "part"), MILLIONS)
def test_the_models_have_their_published_sizes(family: str, part: str) -> None:
    import diffusers
    import torch
    import transformers

    config = json.loads((families.family(family).bundled / part / "config.json").read_text())
    with torch.device("meta"):
        if part.startswith("text_encoder"):
            kind = getattr(transformers, config["architectures"][0])
            model = kind(kind.config_class(**config))
        else:
            model = getattr(diffusers, config["_class_name"]).from_config(config)
    assert round(sum(value.numel() for value in model.parameters()) / 1e6, 1) == MILLIONS[family, part]


@pytest.mark.parametrize("family", ["sd15", "sdxl", "flux"])
def test_a_pipelines_classes_and_schedules_are_those_of_its_family(family: str) -> None:
    import diffusers
    import transformers

    index = json.loads((families.family(family).bundled / "model_index.json").read_text())
    assert hasattr(diffusers, index["_class_name"])
    for part, value in index.items():
        if isinstance(value, list) and value[0]:
            assert hasattr({"diffusers": diffusers, "transformers": transformers}[value[0]], value[1])
            if not part.startswith("tokenizer"):
                assert (families.family(family).bundled / part).is_dir()
    kind = getattr(diffusers, index["scheduler"][1])
    scheduler = kind.from_pretrained(families.family(family).bundled, subfolder="scheduler", local_files_only=True)
    if family == "flux":
        assert (scheduler.config.base_shift, scheduler.config.max_shift, scheduler.config.use_dynamic_shifting) == (
            0.5,
            1.15,
            True,
        )
    else:
        assert float(scheduler.alphas_cumprod[0]) == pytest.approx(0.99914998)
        assert float(scheduler.alphas_cumprod[-1]) == pytest.approx(0.00466010, rel=1e-4)


def test_sizes_of_text_encoders_are_told_from_the_configurations() -> None:
    clip_l = {"width": 768, "layers": 12, "positions": 77, "vocabulary": 49408}
    clip_g = {**clip_l, "width": 1280, "layers": 32}
    t5 = {"width": 4096, "layers": 24, "positions": 0, "vocabulary": 32128}
    told = {spec.name: {**wanted_sizes(spec.bundled, spec)} for spec in families.FAMILIES}
    assert told == {
        "sd15": {"vae": {"width": 4}, "text_encoder": clip_l},
        "sdxl": {"vae": {"width": 4}, "text_encoder": clip_l, "text_encoder_2": clip_g},
        "flux": {"vae": {"width": 16}, "text_encoder": clip_l, "text_encoder_2": t5},
    }


def test_the_scales_and_shifts_of_the_latents() -> None:
    for spec in families.FAMILIES:
        config = spec.config("vae")
        assert (config["scaling_factor"], config.get("shift_factor") or 0.0) == (spec.vae.scaling, spec.vae.shift)
    assert [spec.vae.scaling for spec in families.FAMILIES] == [0.18215, 0.13025, 0.3611]
    assert families.family("flux").vae.shift == 0.1159


def test_clips_tokenizer_knows_clips_numbers() -> None:
    tokenizer = Tokenizer.from_file(str(CLIP_TOKENIZER.bundled / "tokenizer.json"))
    assert tokenizer.get_vocab_size() == 49408
    vocabulary = tokenizer.get_vocab()
    assert (vocabulary["<|startoftext|>"], vocabulary["<|endoftext|>"]) == (49406, 49407)
    assert (vocabulary["!"], vocabulary["!</w>"]) == (0, 256)
    assert tokenizer.encode("A  photo of a cat, wow!").ids == [49406, 320, 1125, 539, 320, 2368, 267, 2781, 256, 49407]
    config = json.loads((CLIP_TOKENIZER.bundled / "tokenizer_config.json").read_text())
    assert config["model_max_length"] == 77
    assert config["pad_token"] == "<|endoftext|>"  # not "!", which would make a special token of it


def test_the_tokenizers_licence_travels_with_it() -> None:
    assert "Permission is hereby granted" in (CLIP_TOKENIZER.bundled / "LICENSE").read_text()
    assert "open_clip_torch" in (CLIP_TOKENIZER.bundled.parents[1] / "README.md").read_text()
