"""Bases with random weights of true size as the files that people have: FLUX's four in FluxGym's and ComfyUI's folders, checkpoints of Civitai."""

from __future__ import annotations

import json
import os
import shutil
import struct
import sys
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

import original_files
from made_bases import PARTS, letters_for_t5, new_part

from loratui.presets.bases import embedded_base

_NAMES = {
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float16: "F16",
    torch.float32: "F32",
    torch.int64: "I64",
}
_UNET = "model.diffusion_model."
_META = torch.device("meta")

FLUXGYM = {
    "transformer": "fluxgym-Colab/models/unet/flux1-dev-fp8.safetensors",
    "text_encoder": "fluxgym-Colab/models/clip/clip_l.safetensors",
    "text_encoder_2": "fluxgym-Colab/models/clip/t5xxl_fp8.safetensors",
    "vae": "fluxgym-Colab/models/vae/ae.sft",
}
"""The names and folders of the guide for FLUX."""
COMFYUI = {
    "transformer": "ComfyUI/models/diffusion_models/flux1-dev-fp8.safetensors",
    "text_encoder": "ComfyUI/models/text_encoders/clip_l.safetensors",
    "text_encoder_2": "ComfyUI/models/text_encoders/t5xxl_fp8_e4m3fn.safetensors",
    "vae": "ComfyUI/models/vae/ae.sft",
}
ONE_FILE = {
    "sdxl": "ComfyUI/models/checkpoints/ponyRealism_V22MainVAE.safetensors",
    "sd15": "stable-diffusion-webui/models/Stable-diffusion/realisticVisionV51_v51VAE.safetensors",
}

COMFYUI_TOKENIZER = "ComfyUI/comfy/text_encoders/t5_tokenizer"
"""ComfyUI's own sources hold T5's tokenizer; FluxGym has none that loratui reads, so `loratui download` brings it."""
DOWNLOADED_TOKENIZER = ".cache/huggingface/hub/models--google-t5--t5-base/snapshots/made/"


def make_flux(fluxgym: Path, comfyui: Path, *, tiny: bool, device: torch.device) -> dict[str, int]:
    """FLUX's four files in FluxGym's folders below the home `fluxgym`, and once more, as links, in ComfyUI's below `comfyui`.

    Returns the bytes of each. fp8 is e4m3 without scales: all of the transformer, and all of T5 but its table of tokens.
    """
    weights = _weights("flux", tiny)
    t5 = {key: value for key, value in weights["text_encoder_2"].items() if key != "encoder.embed_tokens.weight"}
    # diffusers' reader of the makers' names knows the true width only.
    transformer = weights["transformer"] if tiny else original_files.flux(weights["transformer"])
    files = {
        "transformer": (transformer, torch.float8_e4m3fn),
        "text_encoder": (original_files.clip(weights["text_encoder"]), torch.float16),
        "text_encoder_2": (t5, torch.float8_e4m3fn),
        "vae": (original_files.vae(weights["vae"]), torch.float32),
    }
    made = {}
    for part, (tensors, dtype) in files.items():
        path, linked = fluxgym / FLUXGYM[part], comfyui / COMFYUI[part]
        _write(path, tensors, dtype, device, keep={"shared.weight": torch.float16})
        linked.parent.mkdir(parents=True, exist_ok=True)
        linked.unlink(missing_ok=True)
        os.link(path, linked)
        made[FLUXGYM[part]] = path.stat().st_size
    put_tokenizer(comfyui / COMFYUI_TOKENIZER, tiny=tiny)
    return made


def make_one_file(family: str, home: Path, *, tiny: bool, device: torch.device) -> dict[str, int]:
    """A checkpoint in its makers' names, fp16, in a program's folder below `home`."""
    path, weights = home / ONE_FILE[family], _weights(family, tiny)
    tensors = original_files.one_file(weights, family)
    if tiny and family == "sd15":  # the embedded UNet has a layer less in each block than those names can say
        tensors = {key: value for key, value in tensors.items() if not key.startswith(_UNET)}
        tensors |= {_UNET + key: value for key, value in weights["unet"].items()}
    _write(path, tensors, torch.float16, device)
    return {ONE_FILE[family]: path.stat().st_size}


def put_tokenizer(folder: Path, *, tiny: bool) -> None:
    """A tokenizer of T5's kind, of letters; the embedded base's own if `tiny`."""
    if tiny:
        shutil.copytree(embedded_base("flux") / "tokenizer_2", folder, dirs_exist_ok=True)
    else:
        letters_for_t5(folder)


def _weights(family: str, tiny: bool) -> dict[str, dict[str, Tensor]]:
    """Part -> its tensors: those of the embedded base if `tiny`, else shapes without values."""
    if tiny:
        return {part: original_files.weights_of(embedded_base(family) / part) for part in PARTS[family]}
    return {
        part: dict(new_part(family, part, tiny=False, device=_META, dtype=torch.float16).state_dict()) for part in PARTS[family]
    }


def _write(
    path: Path,
    tensors: Mapping[str, Tensor],
    dtype: torch.dtype,
    device: torch.device,
    keep: Mapping[str, torch.dtype] | None = None,
) -> None:
    """A safetensors file, tensor by tensor, so that it is never in memory as a whole. `keep`: keys of another format."""
    formats = {
        key: (keep or {}).get(key, dtype) if value.is_floating_point() else value.dtype for key, value in tensors.items()
    }
    header: dict[str, object] = {}
    at = 0
    for key, value in tensors.items():
        size = value.numel() * formats[key].itemsize
        header[key] = {"dtype": _NAMES[formats[key]], "shape": list(value.shape), "data_offsets": [at, at + size]}
        at += size
    raw = json.dumps(header).encode()
    raw += b" " * (-len(raw) % 8)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(raw)) + raw)
        for key, value in tensors.items():
            filled = _random(key, value.shape, device) if value.is_meta else value
            file.write(filled.to(formats[key]).contiguous().cpu().reshape(-1).view(torch.uint8).numpy().data)


def _random(key: str, shape: torch.Size, device: torch.device) -> Tensor:
    """Values as torch begins with: norms of one, all else within ± 1/√inputs."""
    if len(shape) < 2:
        is_norm = key.endswith((".weight", ".scale"))
        return torch.ones(shape, device=device) if is_norm else torch.empty(shape, device=device).uniform_(-0.02, 0.02)
    inputs = shape.numel() // shape[0]
    return torch.empty(shape, device=device, dtype=torch.bfloat16).uniform_(-(inputs**-0.5), inputs**-0.5)
