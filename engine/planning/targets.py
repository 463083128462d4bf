"""Which layers a LoRA is put on: target sets by name, as regular expressions over module paths, and the rank of each layer."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from loratui.engine.formats.layers import Part
from loratui.presets.schema import Adapter, Family, Targets

_ATTENTION = r"attn[12]\.to_(q|k|v|out\.0)"
_FEED_FORWARD = r"ff\.net\.(0\.proj|2)"
_TRANSFORMER_ENDS = r"attentions\.\d+\.proj_(in|out)"
"""Around the transformer blocks: 1×1 convolutions in SD1.5, Linears in SDXL."""
_OTHER_LINEARS = r"time_emb_proj|(time|add)_embedding\.linear_[12]"
_CONVOLUTIONS = r"resnets\.\d+\.(conv1|conv2|conv_shortcut|time_emb_proj)|(down|up)samplers\.0\.conv"

_DOUBLE, _SINGLE = r"transformer_blocks\.\d+", r"single_transformer_blocks\.\d+"
_FLUX_ATTENTION = rf"{_DOUBLE}\.attn\.(to_[qkv]|to_out\.0|add_[qkv]_proj|to_add_out)"
_FLUX_FEED_FORWARD = rf"{_DOUBLE}\.ff(_context)?\.net\.(0\.proj|2)"
_FLUX_SINGLE_ATTENTION = rf"{_SINGLE}\.attn\.to_[qkv]"
_FLUX_SINGLE_FEED_FORWARD = rf"{_SINGLE}\.proj_(mlp|out)"
_FLUX_MODULATION = rf"{_DOUBLE}\.norm1(_context)?\.linear"
_FLUX_SINGLE_MODULATION = rf"{_SINGLE}\.norm\.linear"
_FLUX_OUTSIDE = r"(x|context)_embedder|time_text_embed\.\w+_embedder\.linear_[12]|norm_out\.linear|proj_out"

_UNET: Mapping[str, tuple[str, ...]] = {
    "diffusers": (_ATTENTION,),
    "attention": (_ATTENTION,),
    "attention+ff": (_ATTENTION, _FEED_FORWARD),
    "sd-scripts": (_ATTENTION, _FEED_FORWARD, _TRANSFORMER_ENDS),
}
_FLUX_BLOCKS = (_FLUX_ATTENTION, _FLUX_FEED_FORWARD, _FLUX_SINGLE_ATTENTION, _FLUX_SINGLE_FEED_FORWARD)
_FLUX_ALL_OF_BLOCKS = (*_FLUX_BLOCKS, _FLUX_MODULATION, _FLUX_SINGLE_MODULATION)

TARGET_SETS: Mapping[Family, Mapping[str, tuple[str, ...]]] = {
    "sd15": {**_UNET, "all": (_ATTENTION, _FEED_FORWARD, _OTHER_LINEARS)},
    "sdxl": {**_UNET, "all": (_ATTENTION, _FEED_FORWARD, _TRANSFORMER_ENDS, _OTHER_LINEARS)},
    "flux": {
        "diffusers": (_FLUX_ATTENTION, _FLUX_FEED_FORWARD, _FLUX_SINGLE_ATTENTION),
        "attention": (_FLUX_ATTENTION, _FLUX_SINGLE_ATTENTION),
        "attention+ff": _FLUX_BLOCKS,
        "sd-scripts": _FLUX_ALL_OF_BLOCKS,
        "all": (*_FLUX_ALL_OF_BLOCKS, _FLUX_OUTSIDE),
    },
}
"""Family -> target set -> patterns, each of which must find something. Numbers of modules at full size, in the order
diffusers, attention, attention+ff, sd-scripts, all, sd-scripts+conv: SD1.5 128, 128, 160, 192, 184, 278;
SDXL 560, 560, 700, 722, 743, 788; FLUX 342, 266, 418, 494, 504."""

_TEXT_ATTENTION = r"self_attn\.(q|k|v|out)_proj"
"""All four: diffusers guesses the layout of a file's names from `out_proj`, and drops the others where it is missing."""
_TEXT_FEED_FORWARD = r"mlp\.fc[12]"
_TEXT_ATTENTION_ONLY = ("attention", "diffusers")

_WIDE_CONVOLUTION = re.compile(r"(.*\.)?(resnets\.\d+\.conv[12]|(down|up)samplers\.0\.conv)")


def denoiser_patterns(family: Family, targets: Targets) -> tuple[str, ...]:
    """Patterns of a target set, each to be matched against a module's full path.

    FLUX has no convolutions; what `+conv` asks for is a pattern that finds nothing there.
    """
    patterns = TARGET_SETS[family][targets.removesuffix("+conv")]
    if targets.endswith("+conv"):
        patterns = (*patterns, _CONVOLUTIONS)
    return tuple(rf"(?:{pattern})" if family == "flux" else rf"(?:.*\.)?(?:{pattern})" for pattern in patterns)


def text_patterns(targets: Targets, layers_used: int) -> tuple[str, ...]:
    """Patterns of a CLIP text encoder's modules in its first `layers_used` layers: attention, and the MLP too unless
    only attention is wanted, as sd-scripts has it."""
    layers = "|".join(str(at) for at in range(layers_used))
    modules = (
        (_TEXT_ATTENTION,) if targets.removesuffix("+conv") in _TEXT_ATTENTION_ONLY else (_TEXT_ATTENTION, _TEXT_FEED_FORWARD)
    )
    return tuple(rf"(?:text_model\.)?encoder\.layers\.(?:{layers})\.{module}" for module in modules)


def text_layers_used(family: Family, part: Part, layers: int, clip_skip: int) -> int:
    """How many of a text encoder's layers the denoiser ever hears of; behind them a LoRA would get no gradient.

    `clip_skip` counts as Automatic1111 does. SDXL never reads CLIP-L's last layer; CLIP-G's, and that of FLUX's CLIP-L,
    make the pooled vector.
    """
    if part == "text_encoder_2" or family == "flux":
        return layers
    skipped = max(2, clip_skip) - 1 if family == "sdxl" else clip_skip - 1
    return max(1, layers - skipped)


def is_wide_convolution(module: str) -> bool:
    """Whether a module is one of the 3×3 convolutions, which have a rank of their own."""
    return _WIDE_CONVOLUTION.fullmatch(module) is not None


def rank_and_alpha(adapter: Adapter, module: str) -> tuple[int, float]:
    """The rank of a module's adapter, and the alpha that makes alpha / rank its scale.

    Rank-stabilised adapters scale by alpha / √rank (Kalajdzievski, "A Rank Stabilization Scaling Factor", 2023), which is
    alpha·√rank in a file.
    """
    rank, alpha = adapter.rank, adapter.effective_alpha
    if is_wide_convolution(module):
        rank = adapter.conv_rank or adapter.rank
        alpha = adapter.conv_alpha or (float(rank) if adapter.conv_rank else alpha)
    return rank, alpha * math.sqrt(rank) if adapter.rank_stabilised else alpha
