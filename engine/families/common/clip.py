"""CLIP's text encoders and tokenizer as the families name them."""

from __future__ import annotations

from pathlib import Path

from loratui.engine.families.common.text_networks import CLIP, CLIP_PATTERNS
from loratui.engine.families.spec import PartSpec, Source

CLIP_L = PartSpec(
    "text_encoder",
    "text_encoder",
    "transformers.CLIPTextModel",
    "CLIP-L text encoder",
    networks=(CLIP,),
    sources=(Source("comfyanonymous/flux_text_encoders", "clip_l.safetensors", "MIT", 246_144_152),),
    trainable=True,
    lora_prefix="lora_te1_",
    lora_level="text_model.",
    tokenizer="tokenizer",
    window=77,
)

CLIP_TOKENIZER = PartSpec(
    "tokenizer",
    "tokenizer",
    "transformers.CLIPTokenizer",
    "tokenizer",
    patterns=CLIP_PATTERNS,
    bundled=Path(__file__).parent / "bundled" / "clip" / "tokenizer",
)
"""Of all CLIPs: their vocabularies are the same."""
