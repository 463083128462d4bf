"""The ladder of memory plans: the ways in which a base and its activations can lie in GPU memory, the fastest first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, TypeVar

from loratui.engine.families.figures import FamilyFigures, ImageMemory, Range, StepTime

BaseFormat = Literal["full", "fp8", "int8", "nf4"]
"""What the large Linears of a base's blocks are kept in; `full`: the run's own number format."""

BYTES: Mapping[BaseFormat, float] = MappingProxyType({"full": 2.0, "fp8": 1.0, "int8": 1.0, "nf4": 4.5 / 8})
"""Of one weight, scales included; NF4 by bitsandbytes with blocks of 64 and one fp32 scale each."""

HAS_FP8 = (8, 9)
"""Compute capability from which a card multiplies in fp8 (Ada, Hopper, Blackwell)."""

SLOTS = 3
"""Places on the card for blocks whose weights lie in host memory: one at work, and those copied ahead of their use."""

FEWEST_KEPT = 0.1
"""Share of the blocks that must keep their activations for `partial` to be worth its name."""

_Figures = TypeVar("_Figures", ImageMemory, StepTime)


@dataclass(frozen=True, slots=True)
class Rung:
    """One way in which a run can lie in GPU memory."""

    name: str
    recomputed: Range
    """(least, most) share of the blocks whose activations the backward pass computes again. How many it is on a card is measured in
    the first real step."""
    quantised: bool = False
    """Whether the blocks' Linears are kept in 8 bits, and their products computed in that format."""
    swaps: bool = False
    """Whether weights of blocks lie in host memory."""
    four_bits: bool = False

    def memory(self, known: FamilyFigures, recomputed: float) -> ImageMemory:
        """What it takes beside weights and LoRA, with this share computed again."""
        return _between(known.kept, known.again, recomputed)

    def time(self, known: FamilyFigures, recomputed: float) -> StepTime:
        """How long a step takes, without swapping."""
        return _between(known.kept_time, known.again_time, recomputed)


def _between(kept: _Figures, again: _Figures, share: float) -> _Figures:
    ends = ((getattr(kept, name), getattr(again, name)) for name in kept.__dataclass_fields__)
    return type(kept)(*((1 - share) * all_kept + share * none for all_kept, none in ends))


KEPT = Rung("kept", (0.0, 0.0))
PARTIAL = Rung("partial", (0.0, 1.0 - FEWEST_KEPT))
CHECKPOINTING = Rung("checkpointing", (1.0, 1.0))
QUANTISED = Rung("quantised", (0.0, 1.0), quantised=True)
SWAPPED = Rung("swapped", (1.0, 1.0), quantised=True, swaps=True)
NF4 = Rung("nf4", (1.0, 1.0), four_bits=True)

LADDER: tuple[Rung, ...] = (KEPT, PARTIAL, CHECKPOINTING, QUANTISED, SWAPPED, NF4)
"""Those that keep the base as it is come first, of them the fastest; then its formats, the fastest first. Compiled blocks and
recorded steps need no more memory than these.

NF4 comes last: it is slower and further from the base than swapping, and needs no host memory.
"""


def weights_gib(known: FamilyFigures, rung: Rung, base: BaseFormat) -> float:
    """Of the frozen denoiser on the card at its least, at two bytes a number where it is not quantised."""
    blocks = known.weights_gib * known.block_share
    if rung.swaps:
        return known.weights_gib - blocks + SLOTS * known.largest_block_gib * BYTES[base] / 2
    return known.weights_gib - blocks + blocks * BYTES[base] / 2


def host_gib(known: FamilyFigures, rung: Rung, base: BaseFormat) -> float:
    """Host memory that blocks' weights are pinned in at the most."""
    return known.weights_gib * known.block_share * BYTES[base] / 2 if rung.swaps else 0.0
