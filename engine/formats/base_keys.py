"""Finds the parts of a base model in a table of tensors, by their keys, shapes and number formats alone."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from loratui.engine.formats.safetensors_file import TensorInfo

Tensors = Mapping[str, TensorInfo]
Names = Literal["diffusers", "original"]
Role = Literal["unet", "flux", "vae", "clip", "open_clip", "t5"]

SIGNS: tuple[tuple[Role, Names, str], ...] = (
    ("unet", "original", "input_blocks.0.0.weight"),
    ("unet", "diffusers", "down_blocks.0.resnets.0.time_emb_proj.weight"),
    ("flux", "original", "double_blocks.0.img_attn.qkv.weight"),
    ("flux", "diffusers", "single_transformer_blocks.0.proj_mlp.weight"),
    ("vae", "original", "decoder.mid.block_1.conv1.weight"),
    ("vae", "diffusers", "decoder.mid_block.resnets.0.conv1.weight"),
    ("clip", "diffusers", "text_model.encoder.layers.0.self_attn.q_proj.weight"),
    ("clip", "diffusers", "encoder.layers.0.self_attn.q_proj.weight"),
    ("open_clip", "original", "transformer.resblocks.0.attn.in_proj_weight"),
    ("t5", "diffusers", "encoder.block.0.layer.0.SelfAttention.q.weight"),
)
"""Role, naming, and the end of a key that only this part has; what stands before the end is the part's prefix."""

DTYPES: Mapping[str, str] = {
    "F64": "fp64", "F32": "fp32", "F16": "fp16", "BF16": "bf16", "F8_E4M3": "fp8_e4m3", "F8_E5M2": "fp8_e5m2",
}  # fmt: skip
"""Number formats of weights that can be trained on, by their safetensors names."""

SCALE_SUFFIXES = (".scale_weight", ".weight_scale")
"""Ends of the keys that hold the scale of an fp8 weight (ComfyUI's older and newer convention)."""

_TOP_LEVELS = (
    "model.diffusion_model.", "model_ema.", "first_stage_model.", "cond_stage_model.", "conditioner.", "text_encoders.", "vae.",
)  # fmt: skip
"""Beginnings of keys that cannot belong to a part without a prefix."""


@dataclass(frozen=True)
class FoundPart:
    """One part inside a file."""

    role: Role
    prefix: str
    names: Names
    tensors: Tensors
    """By their keys without the prefix."""
    dtype: str
    """As `DTYPES` has it; the safetensors name of any other format."""
    fp8: Literal["", "plain", "scaled"]
    scale_suffix: str
    bytes: int
    width: int
    """UNet: width of the text states that it reads. VAE: latent channels. Others: hidden width."""
    inputs: int = 0
    """Channels that a denoiser takes."""
    first_channels: int = 0
    """UNet: channels of its first convolution."""
    layers: int = 0
    """UNet: transformer blocks in all. FLUX: double blocks. Encoders: layers."""
    single_layers: int = 0
    """FLUX: single blocks."""
    added: int = 0
    """UNet: width of the pooled text and sizes that SDXL takes; 0 where there is no such input."""
    guided: bool = False
    """FLUX: takes the guidance scale as an input, as only dev does."""
    positions: int = 0
    """CLIP: places for tokens, 77 and more in a Long-CLIP; 0 where the table is not there."""
    vocabulary: int = 0
    """Text encoders: tokens; 0 where the table is not there."""
    context: int = 0
    """FLUX: width of T5's states that it reads."""
    pooled: int = 0
    """FLUX: width of CLIP's pooled state that it reads."""
    can_encode: bool = True
    """VAE: has its encoder, which training needs."""

    def has(self, beginning: str) -> bool:
        """Whether a key, without the prefix, begins so."""
        return any(key.startswith(beginning) for key in self.tensors)


_OTHERS = ("model_ema.", "control_model.", "vision_model.")
"""Levels below which tensors have the same names as a part's, and are something else."""


_MOST_PARTS = 32
"""Looked at in one file; a checkpoint has four, and each costs a look at all tensors."""


def find_parts(tensors: Tensors) -> tuple[FoundPart, ...]:
    """Every part in the file, denoisers first."""
    return tuple(_describe(tensors, *place) for place in itertools.islice(_places(tensors), _MOST_PARTS))


def has_no_prefix(key: str) -> bool:
    """Whether a key can belong to a part without a prefix."""
    return not key.startswith(_TOP_LEVELS)


def _places(tensors: Tensors) -> Iterator[tuple[Role, str, Names]]:
    """Role, prefix and naming of each part; copies such as EMA weights are passed over."""
    seen: set[tuple[Role, str]] = set()
    for role, names, end in SIGNS:
        for key in tensors:
            if not key.endswith(end):
                continue
            prefix = key[: -len(end)]
            copy = (prefix and not prefix.endswith(".")) or any(other in prefix for other in _OTHERS)
            if copy or (role, prefix) in seen or (role == "clip" and not _is_clip(tensors, prefix)):
                continue
            seen.add((role, prefix))
            yield role, prefix, names


def _is_clip(tensors: Tensors, prefix: str) -> bool:
    """Other encoders have the same layers; only CLIP has this table, and `text_model.` belongs to its own keys."""
    levels = ("", "text_model.")
    here = any(f"{prefix}{level}embeddings.position_embedding.weight" in tensors for level in levels)
    return here and not prefix.endswith("text_model.")


def _describe(tensors: Tensors, role: Role, prefix: str, names: Names) -> FoundPart:
    if prefix:
        own = {key[len(prefix) :]: info for key, info in tensors.items() if key.startswith(prefix)}
    else:
        own = {key: info for key, info in tensors.items() if has_no_prefix(key)}
    stored: Counter[str] = Counter()
    for info in own.values():
        stored[info.dtype] += info.end - info.begin
    dtype = stored.most_common(1)[0][0]
    fp8, suffix = _eight_bits(tensors, own, stored)
    facts = _FACTS[role](own, names)
    total = sum(stored.values())
    return FoundPart(role, prefix, names, own, DTYPES.get(dtype, dtype), fp8, suffix, total, **facts)


def _eight_bits(tensors: Tensors, own: Tensors, stored: Counter[str]) -> tuple[Literal["", "plain", "scaled"], str]:
    """Whether fp8 weights are plain or scaled, and where the scales stand."""
    if not any(dtype.startswith("F8_") for key, dtype in ((k, i.dtype) for k, i in own.items()) if key != "scaled_fp8"):
        return "", ""
    suffix = next((s for s in SCALE_SUFFIXES if any(key.endswith(s) for key in own)), "")
    if suffix:
        return "scaled", suffix
    marked = "scaled_fp8" in own or "scaled_fp8" in tensors
    return ("scaled", SCALE_SUFFIXES[0]) if marked and stored else ("plain", "")


def _dimension(own: Tensors, key: str, axis: int) -> int:
    """The size of a tensor along an axis; 0 where there is no such tensor or axis."""
    shape = own[key].shape if key in own else ()
    return shape[axis] if -len(shape) <= axis < len(shape) else 0


def _count(own: Tensors, pattern: str) -> int:
    """How many different numbers `pattern` captures at the beginning of keys."""
    return len({match.group(1) for key in own if (match := re.match(pattern, key))})


def _unet(own: Tensors, names: Names) -> dict[str, Any]:
    original = names == "original"
    first = "input_blocks.0.0.weight" if original else "conv_in.weight"
    cross = [key for key in own if key.endswith("attn2.to_k.weight")]
    return {
        "width": _dimension(own, cross[0], -1) if cross else 0,
        "inputs": _dimension(own, first, 1),
        "first_channels": _dimension(own, first, 0),
        "layers": len(cross),
        "added": _dimension(own, "label_emb.0.0.weight" if original else "add_embedding.linear_1.weight", 1),
    }


def _flux(own: Tensors, names: Names) -> dict[str, Any]:
    original = names == "original"
    entry, double, single, guidance = (
        ("img_in.weight", "double_blocks", "single_blocks", "guidance_in.")
        if original
        else ("x_embedder.weight", "transformer_blocks", "single_transformer_blocks", "time_text_embed.guidance_embedder.")
    )
    return {
        "width": _dimension(own, entry, 0),
        "inputs": _dimension(own, entry, 1),
        "layers": _count(own, rf"{double}\.(\d+)\."),
        "single_layers": _count(own, rf"{single}\.(\d+)\."),
        "guided": any(key.startswith(guidance) for key in own),
        "context": _dimension(own, "txt_in.weight" if original else "context_embedder.weight", 1),
        "pooled": _dimension(
            own, "vector_in.in_layer.weight" if original else "time_text_embed.text_embedder.linear_1.weight", 1
        ),
    }


def _vae(own: Tensors, names: Names) -> dict[str, Any]:
    del names
    return {"width": _dimension(own, "decoder.conv_in.weight", 1), "can_encode": "encoder.conv_in.weight" in own}


def _clip(own: Tensors, names: Names) -> dict[str, Any]:
    del names
    level = "text_model." if "text_model.embeddings.position_embedding.weight" in own else ""
    return {
        "width": _dimension(own, f"{level}embeddings.position_embedding.weight", 1),
        "positions": _dimension(own, f"{level}embeddings.position_embedding.weight", 0),
        "vocabulary": _dimension(own, f"{level}embeddings.token_embedding.weight", 0),
        "layers": _count(own, r"(?:text_model\.)?encoder\.layers\.(\d+)\."),
    }


def _open_clip(own: Tensors, names: Names) -> dict[str, Any]:
    del names
    return {
        "width": _dimension(own, "positional_embedding", 1),
        "positions": _dimension(own, "positional_embedding", 0),
        "vocabulary": _dimension(own, "token_embedding.weight", 0),
        "layers": _count(own, r"transformer\.resblocks\.(\d+)\."),
    }


def _t5(own: Tensors, names: Names) -> dict[str, Any]:
    del names
    width = _dimension(own, "encoder.block.0.layer.0.SelfAttention.q.weight", -1)
    tokens = _dimension(own, "shared.weight", 0) or _dimension(own, "encoder.embed_tokens.weight", 0)
    return {"width": width, "vocabulary": tokens, "layers": _count(own, r"encoder\.block\.(\d+)\.")}


_FACTS: Mapping[Role, Callable[[Tensors, Names], dict[str, Any]]] = {
    "unet": _unet, "flux": _flux, "vae": _vae, "clip": _clip, "open_clip": _open_clip, "t5": _t5,
}  # fmt: skip
