"""How a family's LoRA is named in files, and which programs read it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Literal

from loratui.presets.schema import Adapter

LoraLayout = Literal["kohya", "peft"]
"""How a file names its tensors: as kohya's scripts (LyCORIS for LoHa and LoKr), or as PEFT and diffusers."""


@dataclass(frozen=True)
class Original:
    """A Linear or convolution of the makers' code."""

    stem: str
    """Its path, such as `double_blocks.0.img_attn.qkv`."""
    members: tuple[str, ...]
    """The diffusers modules whose outputs it has, in the order of its rows."""
    heights: tuple[int, ...] = (1,)
    """Rows of each member, in widths of the model, where there are several members."""
    halves_swapped: bool = False
    """Its outputs are shift and scale, those of diffusers scale and shift."""

    @property
    def is_one_module(self) -> bool:
        """Whether its LoRA is that of its only member, unchanged."""
        return len(self.members) == 1 and not self.halves_swapped


@dataclass(frozen=True, kw_only=True)
class LoraSpec:
    """Names and metadata of a family's LoRA files. `module` is a denoiser module's path in diffusers."""

    original: Callable[[str], Original]
    """The Linear that kohya's layout names. Raises `ValueError` for a module that the family does not have."""
    readable: Callable[[str], tuple[Original, ...]]
    """Every Linear in other makers' code whose name a LoRA for this module may have. Raises as `original`."""
    peft_prefix: str
    """Prefix of a module's path in PEFT's layout: `unet`, `transformer`."""
    peft_names: Callable[[str], str] = str
    """A module's path in PEFT's layout."""
    lycoris_prefix: str = ""
    """Prefix of a module's flat path in LyCORIS files that do not fuse as `original` does; empty: kohya's names."""
    layout: LoraLayout = "kohya"
    """The layout in which an ordinary LoRA opens in most programs."""
    unread_by: Callable[[Adapter, LoraLayout, bool], Collection[str]]
    """Programs (`formats.programs`) that drop layers of a file of this adapter and layout, or all of it; the last argument says
    whether it has text encoders as well. DoRA is not asked for: diffusers alone reads it."""
    architecture: str
    """modelspec architecture."""
    base_version: str
    """`ss_base_model_version`, by which tools sort LoRAs."""
    implementation: str
    """modelspec implementation."""
    webui_version: str = "Unknown"
    """What Automatic1111 and Forge call the kind of base in their notes on a file; they know no other word for the rest."""
    network_module: str = "networks.lora"
    """The module of kohya's scripts that reads an ordinary LoRA."""
