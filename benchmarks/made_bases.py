"""Bases of the families' true shapes with random weights, saved as diffusers folders: timings and memory hold, images mean nothing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch

from loratui.engine import families
from loratui.engine.families.common.clip import CLIP_TOKENIZER

PARTS = {
    "sd15": {"unet": "UNet2DConditionModel", "vae": "AutoencoderKL", "text_encoder": "CLIPTextModel"},
    "sdxl": {
        "unet": "UNet2DConditionModel",
        "vae": "AutoencoderKL",
        "text_encoder": "CLIPTextModel",
        "text_encoder_2": "CLIPTextModelWithProjection",
    },
    "flux": {
        "transformer": "FluxTransformer2DModel",
        "vae": "AutoencoderKL",
        "text_encoder": "CLIPTextModel",
        "text_encoder_2": "T5EncoderModel",
    },
}
_NARROW_CLIP = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "projection_dim": 16,
}
_NARROW_VAE = {"block_out_channels": [8, 8, 8, 8], "norm_num_groups": 4, "layers_per_block": 1}
TINY: dict[str, dict[str, dict[str, Any]]] = {
    "sd15": {
        "unet": {
            "block_out_channels": [8, 16, 16, 16],
            "norm_num_groups": 8,
            "attention_head_dim": 2,
            "cross_attention_dim": 16,
        },
        "vae": _NARROW_VAE,
        "text_encoder": _NARROW_CLIP,
    },
    "sdxl": {
        "unet": {
            "block_out_channels": [8, 16, 16],
            "norm_num_groups": 8,
            "attention_head_dim": [1, 2, 2],
            "cross_attention_dim": 32,
            "transformer_layers_per_block": [1, 1, 2],
            "addition_time_embed_dim": 8,
            "projection_class_embeddings_input_dim": 16 + 6 * 8,
        },
        "vae": _NARROW_VAE,
        "text_encoder": _NARROW_CLIP,
        "text_encoder_2": _NARROW_CLIP,
    },
    "flux": {
        "transformer": {
            "num_layers": 1,
            "num_single_layers": 2,
            "attention_head_dim": 16,
            "num_attention_heads": 2,
            "joint_attention_dim": 32,
            "pooled_projection_dim": 16,
            "axes_dims_rope": [4, 6, 6],
        },
        "vae": _NARROW_VAE,
        "text_encoder": _NARROW_CLIP,
        "text_encoder_2": {"d_model": 32, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2},
    },
}
"""What is made smaller to try the benchmark itself on a CPU."""


def make_base(family: str, folder: Path, *, tiny: bool, device: torch.device) -> Path:
    """The base in `folder`, made if it is not there: bf16, and fp32 if `tiny`."""
    if (folder / "model_index.json").is_file():
        return folder
    torch.manual_seed(0)
    for part in PARTS[family]:
        model = new_part(family, part, tiny=tiny, device=device, dtype=torch.float32 if tiny else torch.bfloat16)
        model.save_pretrained(folder / part)
        del model
        if device.type == "cuda":
            torch.cuda.empty_cache()
    bundled = families.family(family).bundled
    shutil.copytree(bundled / "scheduler", folder / "scheduler", dirs_exist_ok=True)
    for number in ("tokenizer", "tokenizer_2")[: 1 if family == "sd15" else 2]:
        if (family, number) == ("flux", "tokenizer_2"):
            letters_for_t5(folder / number)
        else:
            shutil.copytree(CLIP_TOKENIZER.bundled, folder / number, dirs_exist_ok=True)
    shutil.copyfile(bundled / "model_index.json", folder / "model_index.json")  # last: with it, the base counts as made
    return folder


def new_part(family: str, part: str, *, tiny: bool, device: torch.device, dtype: torch.dtype) -> Any:
    """One part with random weights, made on the device itself."""
    import diffusers
    import transformers

    values = json.loads((families.family(family).bundled / part / "config.json").read_text()) | (
        TINY[family][part] if tiny else {}
    )
    name = PARTS[family][part]
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with device:
            if hasattr(diffusers, name):
                return getattr(diffusers, name).from_config(values)
            kind = getattr(transformers, name)
            return kind(kind.config_class(**values))
    finally:
        torch.set_default_dtype(before)


def letters_for_t5(folder: Path) -> None:
    from transformers import T5TokenizerFast

    letters = [chr(c) for c in range(33, 127)]
    vocabulary = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0), *((letter, -3.0) for letter in letters)]
    T5TokenizerFast(vocab=vocabulary, extra_ids=0, model_max_length=512).save_pretrained(folder)
