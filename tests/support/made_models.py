"""Model files made of headers and holes: every key and shape of real checkpoints, and no bytes on the disk for the values."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path

WIDTHS = {"F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1, "U8": 1, "I8": 1, "I64": 8}

Shapes = Mapping[str, tuple[int, ...]]


def write(
    path: Path,
    shapes: Shapes,
    dtype: str = "F16",
    *,
    dtypes: Mapping[str, str] | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Path:
    """A safetensors file of these tensors, its data a hole; `dtypes` says which tensors have another number format."""
    header: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    at = 0
    for name, shape in shapes.items():
        kind = (dtypes or {}).get(name, dtype)
        count = 1
        for n in shape:
            count *= n
        header[name] = {"dtype": kind, "shape": list(shape), "data_offsets": [at, at + count * WIDTHS[kind]]}
        at += count * WIDTHS[kind]
    raw = json.dumps(header).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(raw)) + raw)
        file.truncate(8 + len(raw) + at)
    return path


def prefixed(prefix: str, shapes: Shapes) -> dict[str, tuple[int, ...]]:
    """The same tensors behind a prefix."""
    return {prefix + name: shape for name, shape in shapes.items()}


def ldm_unet(
    *, inputs: int = 4, context: int = 768, blocks: int = 16, first: int = 320, added: int = 0
) -> dict[str, tuple[int, ...]]:
    """The keys of a UNet in LDM's names by which one is told from another, and some more."""
    shapes: dict[str, tuple[int, ...]] = {
        "input_blocks.0.0.weight": (first, inputs, 3, 3),
        "input_blocks.0.0.bias": (first,),
        "time_embed.0.weight": (4 * first, first),
        "out.2.weight": (4, first, 3, 3),
    }
    for block in range(blocks):
        for place in ("attn1.to_q", "attn1.to_k", "attn1.to_v", "attn2.to_q"):
            shapes[f"input_blocks.1.1.transformer_blocks.{block}.{place}.weight"] = (first, first)
        for place in ("attn2.to_k", "attn2.to_v"):
            shapes[f"input_blocks.1.1.transformer_blocks.{block}.{place}.weight"] = (first, context)
    if added:
        shapes["label_emb.0.0.weight"] = (4 * first, added)
    return shapes


def ldm_vae(channels: int = 4, *, encoder: bool = True) -> dict[str, tuple[int, ...]]:
    """A VAE in LDM's names."""
    shapes: dict[str, tuple[int, ...]] = {
        "decoder.conv_in.weight": (512, channels, 3, 3),
        "decoder.mid.block_1.conv1.weight": (512, 512, 3, 3),
        "decoder.conv_out.weight": (3, 128, 3, 3),
    }
    if encoder:
        shapes |= {"encoder.conv_in.weight": (128, 3, 3, 3), "encoder.mid.block_1.conv1.weight": (512, 512, 3, 3)}
    return shapes


def clip(width: int = 768, layers: int = 12, *, level: str = "text_model.") -> dict[str, tuple[int, ...]]:
    """A CLIP text encoder in the names of transformers."""
    shapes: dict[str, tuple[int, ...]] = {
        f"{level}embeddings.position_embedding.weight": (77, width),
        f"{level}embeddings.token_embedding.weight": (49408, width),
        f"{level}final_layer_norm.weight": (width,),
    }
    for layer in range(layers):
        for place in ("q_proj", "k_proj", "v_proj", "out_proj"):
            shapes[f"{level}encoder.layers.{layer}.self_attn.{place}.weight"] = (width, width)
    return shapes


def open_clip(width: int = 1280, layers: int = 32) -> dict[str, tuple[int, ...]]:
    """A CLIP text encoder in OpenCLIP's names."""
    shapes: dict[str, tuple[int, ...]] = {
        "positional_embedding": (77, width),
        "token_embedding.weight": (49408, width),
        "text_projection": (width, width),
    }
    for layer in range(layers):
        shapes[f"transformer.resblocks.{layer}.attn.in_proj_weight"] = (3 * width, width)
    return shapes


def t5(width: int = 4096, layers: int = 24) -> dict[str, tuple[int, ...]]:
    """T5's encoder."""
    shapes: dict[str, tuple[int, ...]] = {"shared.weight": (32128, width), "encoder.final_layer_norm.weight": (width,)}
    for layer in range(layers):
        for place in "qkvo":
            shapes[f"encoder.block.{layer}.layer.0.SelfAttention.{place}.weight"] = (width, width)
    return shapes


def flux(
    *, inputs: int = 64, width: int = 3072, double: int = 19, single: int = 38, guided: bool = True
) -> dict[str, tuple[int, ...]]:
    """FLUX's transformer in its makers' names."""
    shapes: dict[str, tuple[int, ...]] = {
        "img_in.weight": (width, inputs),
        "txt_in.weight": (width, 4096),
        "time_in.in_layer.weight": (width, 256),
        "vector_in.in_layer.weight": (width, 768),
        "final_layer.linear.weight": (64, width),
    }
    if guided:
        shapes["guidance_in.in_layer.weight"] = (width, 256)
    for block in range(double):
        for side in ("img", "txt"):
            shapes[f"double_blocks.{block}.{side}_attn.qkv.weight"] = (3 * width, width)
            shapes[f"double_blocks.{block}.{side}_attn.norm.query_norm.scale"] = (128,)
    for block in range(single):
        shapes[f"single_blocks.{block}.linear1.weight"] = (7 * width, width)
    return shapes


def sd15(**changes: int) -> dict[str, tuple[int, ...]]:
    """An SD1.5 checkpoint as Civitai gives it, with the extras that such files carry."""
    return {
        **prefixed("model.diffusion_model.", ldm_unet(**changes)),
        **prefixed("first_stage_model.", ldm_vae()),
        **prefixed("cond_stage_model.transformer.", clip()),
        "model_ema.decay": (1,),
        "alphas_cumprod": (1000,),
    }


def sdxl(**changes: int) -> dict[str, tuple[int, ...]]:
    """An SDXL checkpoint as Civitai gives it."""
    shape = {"context": 2048, "blocks": 70, "added": 2816} | changes
    return {
        **prefixed("model.diffusion_model.", ldm_unet(**shape)),
        **prefixed("first_stage_model.", ldm_vae()),
        **prefixed("conditioner.embedders.0.transformer.", clip()),
        **prefixed("conditioner.embedders.1.model.", open_clip()),
    }


def flux_all_in_one() -> dict[str, tuple[int, ...]]:
    """A FLUX checkpoint with text encoders and VAE, as ComfyUI saves it."""
    return {
        **prefixed("model.diffusion_model.", flux()),
        **prefixed("vae.", ldm_vae(16)),
        **prefixed("text_encoders.clip_l.transformer.", clip()),
        **prefixed("text_encoders.t5xxl.transformer.", t5()),
    }


def t5_tokenizer(folder: Path) -> Path:
    """The least that T5's `tokenizer.json` has."""
    vocab = [["<pad>", 0.0], ["</s>", 0.0], ["<unk>", 0.0], ["▁a", -2.0]]
    table = {"version": "1.0", "added_tokens": [], "model": {"type": "Unigram", "unk_id": 2, "vocab": vocab}}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.json").write_text(json.dumps(table), encoding="utf-8")
    return folder
