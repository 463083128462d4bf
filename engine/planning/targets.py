"""Which layers a LoRA is put on: target sets by name, as regular expressions over module paths, and the rank of each layer."""

from __future__ import annotations

import math
import re

from loratui.engine import families
from loratui.engine.formats.layers import Part
from loratui.presets.schema import Adapter, Family, Targets

_TEXT_ATTENTION = r"self_attn\.(q|k|v|out)_proj"
"""All four: diffusers guesses the layout of a file's names from `out_proj`, and drops the others where it is missing."""
_TEXT_FEED_FORWARD = r"mlp\.fc[12]"
_TEXT_ATTENTION_ONLY = ("attention", "diffusers")

_NOTHING = r"(?!)"
_WIDE_CONVOLUTION = re.compile(r"(.*\.)?(resnets\.\d+\.conv[12]|(down|up)samplers\.0\.conv)")


def denoiser_patterns(family: Family, targets: Targets) -> tuple[str, ...]:
    """Patterns of a target set, each to be matched against a module's full path.

    What `+conv` asks for in a family without convolutions is a pattern that finds nothing there.
    """
    spec = families.family(family)
    patterns = spec.targets[targets.removesuffix("+conv")]
    return (*patterns, spec.convolutions or _NOTHING) if targets.endswith("+conv") else patterns


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

    `clip_skip` counts as Automatic1111 does. An encoder that makes a pooled vector is read to its last layer.
    """
    spec = families.family(family)
    if spec.part(part).pooled:
        return layers
    return max(1, layers + 1 - max(spec.text.clip_skip, clip_skip))


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
