"""What a family's LoRA is called in files, and who reads it."""

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
    """Rows of each member, in widths of the model; of use only where there are several members."""
    halves_swapped: bool = False
    """Its outputs are shift and scale, those of diffusers scale and shift."""

    @property
    def is_one_module(self) -> bool:
        """Whether a LoRA of it is that of its only member as it stands."""
        return len(self.members) == 1 and not self.halves_swapped


@dataclass(frozen=True, kw_only=True)
class LoraSpec:
    """Names and metadata of a family's LoRA files. `module` is a denoiser module's path in diffusers."""

    original: Callable[[str], Original]
    """The Linear whose name stands in kohya's layout. Raises `ValueError` for a module that the family does not have."""
    readable: Callable[[str], tuple[Original, ...]]
    """Every Linear in other makers' code under whose name a LoRA for this module may stand. Raises as `original`."""
    peft_prefix: str
    """What stands before a module's path in PEFT's layout: `unet`, `transformer`."""
    peft_names: Callable[[str], str] = str
    """A module's path in PEFT's layout."""
    lycoris_prefix: str = ""
    """What stands before a module's flat path in LyCORIS files that keep apart what `original` fuses; empty: kohya's names."""
    layout: LoraLayout = "kohya"
    """That in which an ordinary LoRA opens in most programs."""
    unread_by: Callable[[Adapter, LoraLayout, bool], Collection[str]]
    """Programs (`formats.programs`) that drop layers of a file of this adapter and layout, or all of it; the last argument says
    whether it has text encoders as well. DoRA is not asked for: diffusers alone reads it."""
    architecture: str
    """modelspec architecture."""
    base_version: str
    """`ss_base_model_version`; tools that sort LoRAs by base model read it."""
    implementation: str
    """modelspec implementation."""
    network_module: str = "networks.lora"
    """The module of kohya's scripts that reads an ordinary LoRA."""
