"""The text encoders that families share: CLIP as transformers and as OpenCLIP name it, and T5."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from loratui.engine.families.network import Config, Network, Sizes, read, told

_CUTS = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
CLIP_PATTERNS = (_CUTS, rf"<\|startoftext\|>|<\|endoftext\|>|{_CUTS}", r"\s+")
T5_PATTERNS = (r"\s+", " {2,}")
"""The patterns with which the tokenizers of all versions split texts."""

_WORDS: Mapping[str, str] = {"width": "wide", "positions": "positions", "vocabulary": "tokens", "layers": "layers"}
_CLIPS = {768: "CLIP-L", 1024: "CLIP-H", 1280: "CLIP-G"}
_CLIP_POSITIONS = 77
_T5S = {512: "T5-small", 768: "T5-base", 1024: "T5-large", 2048: "T5-XL", 4096: "T5-XXL"}
_UMT5_TOKENS = 250_000


def text_config_sizes(config: Config) -> Sizes:
    """Of any text encoder of transformers."""
    return told(
        config,
        width=("hidden_size", "d_model"),
        layers=("num_hidden_layers", "num_layers"),
        positions=("max_position_embeddings",),
        vocabulary=("vocab_size",),
    )


_LEVELS = ("", "text_model.")
_POSITIONS, _TOKENS = (
    tuple(f"{level}embeddings.{table}_embedding.weight" for level in _LEVELS) for table in ("position", "token")
)


def _is_clip(keys: Iterable[str], prefix: str) -> bool:
    """Other encoders have the same layers; only CLIP has this table, and `text_model.` is part of its own keys."""
    return any(prefix + table in keys for table in _POSITIONS) and not prefix.endswith("text_model.")


def _clip_title(sizes: Sizes) -> str:
    long = "Long-" if sizes["positions"] > _CLIP_POSITIONS else ""
    name = _CLIPS.get(sizes["width"], "CLIP")
    return f"a {long}{name} text encoder" + ("" if name != "CLIP" else f" of width {sizes['width']}")


def _t5_title(sizes: Sizes) -> str:
    name = "UMT5" if sizes["vocabulary"] > _UMT5_TOKENS else _T5S.get(sizes["width"], "T5")
    return f"a {name} text encoder" if name != "T5" else f"a T5 text encoder of width {sizes['width']}"


CLIP = Network(
    name="clip",
    signs=tuple(("diffusers", f"{level}encoder.layers.0.self_attn.q_proj.weight") for level in reversed(_LEVELS)),
    sizes=read(
        width=(1, _POSITIONS),
        positions=(0, _POSITIONS),
        vocabulary=(0, _TOKENS),
        layers=r"(?:text_model\.)?encoder\.layers\.(\d+)\.",
    ),
    config_sizes=text_config_sizes,
    words=_WORDS,
    title=_clip_title,
    is_at=_is_clip,
)

OPEN_CLIP = Network(
    name="open_clip",
    signs=(("original", "transformer.resblocks.0.attn.in_proj_weight"),),
    sizes=read(
        width=(1, "positional_embedding"),
        positions=(0, "positional_embedding"),
        vocabulary=(0, "token_embedding.weight"),
        layers=r"transformer\.resblocks\.(\d+)\.",
    ),
    config_sizes=text_config_sizes,
    words=_WORDS,
    title=_clip_title,
)

T5 = Network(
    name="t5",
    signs=(("diffusers", "encoder.block.0.layer.0.SelfAttention.q.weight"),),
    sizes=read(
        width=(-1, "encoder.block.0.layer.0.SelfAttention.q.weight"),
        positions=(0, ()),
        vocabulary=(0, ("shared.weight", "encoder.embed_tokens.weight")),
        layers=r"encoder\.block\.(\d+)\.",
    ),
    config_sizes=text_config_sizes,
    words=_WORDS,
    title=_t5_title,
)


def is_t5_tokenizer(model: Config) -> bool:
    """T5's is a unigram model whose first entries are pad and end."""
    return model["type"] == "Unigram" and [entry[0] for entry in model["vocab"][:2]] == ["<pad>", "</s>"]
