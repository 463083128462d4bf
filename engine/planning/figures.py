"""The table behind estimates: what cards can do, and what is the same for all families."""

from __future__ import annotations

import re
from dataclasses import dataclass

from loratui.engine.machine.cuda_builds import Capability


@dataclass(frozen=True)
class Card:
    """A GPU as rented, by its published figures."""

    name: str
    memory_gib: float
    """All of it, as the driver tells."""
    peak_tflops: float
    """Dense bf16 (fp16 where there is none) with fp32 accumulation."""
    bandwidth_tb_s: float
    """Of its memory."""
    capability: Capability = (8, 0)
    """That of compute: the number formats go by it."""
    link_gb_s: float = 25
    """From main memory to the card, pinned, where it is not measured: what PCIe 4.0 x16 reaches."""
    listed: bool = True
    """Whether it stands in the list of cards that are usually rented; the others are known by name only."""


MEASURED_ON = Card("H200", 140.4, 989, 4.8, capability=(9, 0), link_gb_s=55)
"""The card on which the families' figures were measured."""

CARDS: tuple[Card, ...] = (
    Card("T4", 15.0, 65, 0.32, capability=(7, 5), link_gb_s=12),
    Card("RTX 3060", 12.0, 25, 0.36, capability=(8, 6)),
    Card("RTX 3080", 10.0, 60, 0.76, capability=(8, 6), listed=False),
    Card("RTX 3090", 24.0, 71, 0.94, capability=(8, 6)),
    Card("RTX A4000", 16.0, 77, 0.45, capability=(8, 6), listed=False),
    Card("RTX A5000", 24.0, 111, 0.77, capability=(8, 6)),
    Card("A10", 22.5, 125, 0.60, capability=(8, 6), listed=False),
    Card("A10G", 22.5, 70, 0.60, capability=(8, 6), listed=False),
    Card("L4", 22.5, 121, 0.30, capability=(8, 9)),
    Card("RTX 4080", 16.0, 97, 0.72, capability=(8, 9), listed=False),
    Card("RTX 4090", 24.0, 165, 1.01, capability=(8, 9)),
    Card("RTX 5090", 31.8, 210, 1.79, capability=(12, 0), link_gb_s=55),
    Card("A40", 45.0, 150, 0.70, capability=(8, 6), listed=False),
    Card("RTX A6000", 48.0, 155, 0.77, capability=(8, 6)),
    Card("L40S", 45.0, 362, 0.86, capability=(8, 9)),
    Card("A100", 40.0, 312, 1.56),
    Card("A100 80GB", 80.0, 312, 2.0),
    Card("H100 PCIe", 80.0, 756, 2.0, capability=(9, 0), link_gb_s=55, listed=False),
    Card("H100 NVL", 94.0, 835, 3.9, capability=(9, 0), link_gb_s=55, listed=False),
    Card("H100", 80.0, 989, 3.35, capability=(9, 0), link_gb_s=55),
    MEASURED_ON,
)
"""The order is that of a price list."""

_OTHER_CARDS = re.compile(r"\b(LAPTOP|MOBILE|MAX Q|MIG|GRID|SUPER)\b|\d\s*D\b|\b\d+[ABCQ]\b")
"""Cards of a known name that are another card, or a slice of one."""


VAE_GIB = 0.32
"""The decoder, which stays loaded once samples were made."""
DECODING_GIB_PER_PX = 4.9 / 1024**2
"""What it takes to decode a sample, beside all weights; without what the allocator keeps for itself."""
TILE_PX = 512
"""Side of the tiles in which a sample is decoded where there is too little memory for the whole."""

PINNED = 0.75
"""Share of the free main memory that may be pinned for the base's blocks; loading and the system need the rest."""

EMBEDDED_GIB = (0.4, 1.0)
"""GPU memory of the embedded bases, a batch of the demo."""
EMBEDDED_RAM_GIB = (0.8, 2.0)
EMBEDDED_LOAD_S = (4.0, 15.0)
EMBEDDED_CPU_S = (0.035, 0.1)
"""Seconds an image at 128 px on two CPU cores: 76 to 150 s for 900 steps of 2."""
EMBEDDED_RESOLUTION = 128

COMPILE_S = 40.0
"""The most that compiling the blocks takes: 37 s for FLUX on an H200 machine, 29 s for SDXL; 15 s where it is compiled ahead."""

GPU_CONTEXT_GIB = 0.85
"""What a process holds on a card beside torch's tensors: 0.75 to 0.87 on an H200."""
SPARE = 0.04
"""Share of torch's room that is left free when blocks are fitted into it: what the allocator cannot use of the memory it holds, and
libraries' workspaces."""
USABLE = 0.98
"""Share of a card's memory that programs may have: 23.5 GiB of 24."""


def card(name: str) -> Card | None:
    """The table's card for a GPU's full name as its driver gives it, such as `NVIDIA GeForce RTX 4090`.

    None for a card that is not in it, and for one that only bears such a name: a laptop's, or a slice of one.
    """
    words = f" {name.upper().replace('-', ' ')} "
    if _OTHER_CARDS.search(words):
        return None
    matches = [c for c in CARDS if all(f" {w} " in words for w in c.name.upper().split())]
    return max(matches, key=lambda c: len(c.name), default=None)


APPENDED = 0.05
"""Most that room for a LoRA within the base's products takes, as a share of the base's blocks: 128 further columns beside 3072 are 4 %."""
