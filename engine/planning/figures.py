"""The table behind estimates: what cards can do, what families need, and where each figure comes from."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from loratui.presets.schema import Family

Range = tuple[float, float]
"""(least, most)."""


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
    bf16: bool = True
    """Whether it computes in the format in which all figures were measured."""
    listed: bool = True
    """Whether it stands in the list of cards that are usually rented; the others are known by name only."""


MEASURED_ON = Card("H200", 140.4, 989, 4.8)
"""The card on which the families' figures were measured."""

CARDS: tuple[Card, ...] = (
    Card("T4", 15.0, 65, 0.32, bf16=False),
    Card("RTX 3060", 12.0, 25, 0.36),
    Card("RTX 3080", 10.0, 60, 0.76, listed=False),
    Card("RTX 3090", 24.0, 71, 0.94),
    Card("RTX A4000", 16.0, 77, 0.45, listed=False),
    Card("RTX A5000", 24.0, 111, 0.77),
    Card("A10", 22.5, 125, 0.60, listed=False),
    Card("A10G", 22.5, 70, 0.60, listed=False),
    Card("L4", 22.5, 121, 0.30),
    Card("RTX 4080", 16.0, 97, 0.72, listed=False),
    Card("RTX 4090", 24.0, 165, 1.01),
    Card("RTX 5090", 31.8, 210, 1.79),
    Card("A40", 45.0, 150, 0.70, listed=False),
    Card("RTX A6000", 48.0, 155, 0.77),
    Card("L40S", 45.0, 362, 0.86),
    Card("A100", 40.0, 312, 1.56),
    Card("A100 80GB", 80.0, 312, 2.0),
    Card("H100 PCIe", 80.0, 756, 2.0, listed=False),
    Card("H100 NVL", 94.0, 835, 3.9, listed=False),
    Card("H100", 80.0, 989, 3.35),
    MEASURED_ON,
)
"""The order is that of a price list."""

_OTHER_CARDS = re.compile(r"\b(LAPTOP|MOBILE|MAX Q|MIG|GRID|SUPER)\b|\d\s*D\b|\b\d+[ABCQ]\b")
"""Cards of a known name that are another card, or a slice of one."""


@dataclass(frozen=True)
class ImageMemory:
    """GiB that training takes beside weights and LoRA, at the family's resolution, in bf16."""

    fixed_gib: float
    image_gib: float
    """For each image of a batch."""


@dataclass(frozen=True)
class StepTime:
    """Seconds of one step on the card of `MEASURED_ON`, at the family's resolution."""

    arithmetic_s: float
    """An image's share that goes with a card's peak."""
    traffic_s: float
    """An image's share that goes with the bandwidth of its memory."""
    launch_s: float
    """A batch, where the CPU launches every kernel: the slowest machine that was measured. One with a fast CPU needs a third."""


@dataclass(frozen=True)
class FamilyFigures:
    """What training one family takes."""

    resolution: int
    """Side at which the figures per image hold, px."""
    text_tokens: int
    """Tokens of text that go through the denoiser with an image's, so that a small image costs more than its area."""
    weights_gib: float
    """The frozen denoiser at two bytes a number."""
    text_encoders_gib: float
    """In fp32, where they are trained too."""
    kept: ImageMemory
    again: ImageMemory
    """Where activations are computed again in the backward pass (gradient checkpointing): the smallest way there is."""
    kept_time: StepTime
    again_time: StepTime
    compiled_share: float
    """Share of a step that compiled blocks save."""
    measured_batches: tuple[int, ...]
    """At which memory was measured."""
    ram_gib: Range
    load_s: Range
    """Loading and caching before the first step, without downloads."""
    guidance_passes: int
    """Passes of the denoiser for each sampling step."""
    text_bytes: int
    """Cached text states of one caption."""
    latent_bytes_per_px: float
    download_bytes: int
    """Of the usual base model."""


# Measured on one H200 at a time, torch 2.11, on bases of true shapes with random weights: docs/performance.md.
FAMILIES: Mapping[Family, FamilyFigures] = MappingProxyType(
    {
        "sd15": FamilyFigures(
            resolution=512,
            text_tokens=0,
            weights_gib=1.60,
            text_encoders_gib=0.46,
            kept=ImageMemory(0.2, 1.3),
            again=ImageMemory(0.25, 0.27),
            kept_time=StepTime(0.006, 0.0177, 0.15),
            again_time=StepTime(0.009, 0.0266, 0.43),
            compiled_share=0.08,
            measured_batches=(2,),
            ram_gib=(3.2, 4.8),
            load_s=(15.0, 30.0),
            guidance_passes=2,
            text_bytes=77 * 768 * 4,
            latent_bytes_per_px=2 * 4 * 4 / 64,
            download_bytes=4_300_000_000,
        ),
        "sdxl": FamilyFigures(
            resolution=1024,
            text_tokens=0,
            weights_gib=4.78,
            text_encoders_gib=3.05,
            kept=ImageMemory(0.3, 8.3),
            again=ImageMemory(0.4, 1.05),
            kept_time=StepTime(0.030, 0.062, 0.50),
            again_time=StepTime(0.045, 0.093, 1.28),
            compiled_share=0.16,
            measured_batches=(1, 2),
            ram_gib=(6.7, 10.0),
            load_s=(20.0, 40.0),
            guidance_passes=2,
            text_bytes=77 * 2048 * 4,
            latent_bytes_per_px=2 * 4 * 4 / 64,
            download_bytes=6_940_000_000,
        ),
        "flux": FamilyFigures(
            resolution=1024,
            text_tokens=512,
            weights_gib=22.17,
            text_encoders_gib=0.46,
            kept=ImageMemory(0.2, 39.4),
            again=ImageMemory(0.2, 3.15),
            kept_time=StepTime(0.30, 0.23, 0.40),
            again_time=StepTime(0.45, 0.33, 1.21),
            compiled_share=0.25,
            measured_batches=(1,),
            ram_gib=(11.1, 16.0),
            load_s=(30.0, 80.0),
            guidance_passes=1,
            text_bytes=512 * 4096 * 2,
            latent_bytes_per_px=2 * 16 * 4 / 64,
            download_bytes=34_000_000_000,
        ),
    }
)

VAE_GIB = 0.32
"""The decoder, which stays loaded once samples were made."""
DECODING_GIB_PER_PX = 4.9 / 1024**2
"""What it takes to decode a sample, beside all weights; without what the allocator keeps for itself."""

EMBEDDED_GIB = (0.4, 1.0)
"""GPU memory of the embedded bases, a batch of the demo."""
EMBEDDED_RAM_GIB = (0.8, 2.0)
EMBEDDED_LOAD_S = (4.0, 15.0)
EMBEDDED_CPU_S = (0.035, 0.1)
"""Seconds an image at 128 px on two CPU cores: 76 to 150 s for 900 steps of 2."""
EMBEDDED_RESOLUTION = 128

COMPILE_S = 40.0
"""What compiling the blocks takes, with the shapes that come later (27 s for FLUX's three graphs on an H200 machine)."""

GPU_CONTEXT_GIB = 0.85
"""What a process holds on a card beside torch's tensors: 0.75 to 0.87 on an H200."""
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
