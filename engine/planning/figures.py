"""The table behind estimates: what cards can do, what families need, and where each figure comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from loratui.presets.schema import Family


@dataclass(frozen=True)
class Card:
    """A GPU as rented: its memory, and its published peak in dense bf16 (fp16 on T4), fp32 accumulation."""

    name: str
    memory_gib: float
    peak_tflops: float


CARDS: tuple[Card, ...] = (
    Card("T4", 15.0, 65),
    Card("RTX 3060", 12.0, 25),
    Card("RTX 3090", 24.0, 71),
    Card("RTX A5000", 24.0, 111),
    Card("L4", 22.5, 121),
    Card("RTX 4090", 24.0, 165),
    Card("RTX 5090", 32.0, 210),
    Card("RTX A6000", 48.0, 155),
    Card("L40S", 45.0, 362),
    Card("A100", 40.0, 312),
    Card("A100 80GB", 80.0, 312),
    Card("H100", 80.0, 989),
    Card("H200", 139.0, 989),
)
"""Usable memory; the order is that of a price list."""


@dataclass(frozen=True)
class FamilyFigures:
    """What training one family takes. Ranges are (least, most): with all savings, and with none."""

    resolution: int
    """Side at which the figures per picture hold, px."""
    tflop: float
    """Forward and activation gradients of one picture, without recomputation."""
    share_of_peak: tuple[float, float]
    """Of the card's published peak that trainers reach: (slowest, fastest)."""
    overhead_s: tuple[float, float]
    """Seconds a batch that do not depend on the card: launching kernels from a slow or fast CPU."""
    weights_gib: tuple[float, float]
    activations_gib: tuple[float, float]
    """A picture of a batch: with gradient checkpointing, and without."""
    ram_gib: tuple[float, float]
    load_s: tuple[float, float]
    """Loading and caching before the first step, without downloads."""
    guidance_passes: int
    """Passes of the denoiser for each sampling step."""
    text_bytes: int
    """Cached text states of one caption."""
    latent_bytes_per_px: float
    download_bytes: int
    """Of the usual base model."""
    source: str


FAMILIES: Mapping[Family, FamilyFigures] = MappingProxyType(
    {
        "sd15": FamilyFigures(
            resolution=512,
            tflop=1.73,
            share_of_peak=(0.035, 0.22),
            overhead_s=(0.0, 0.3),
            weights_gib=(1.9, 2.3),
            activations_gib=(0.15, 1.2),
            ram_gib=(3.0, 6.0),
            load_s=(10.0, 60.0),
            guidance_passes=2,
            text_bytes=77 * 768 * 4,
            latent_bytes_per_px=2 * 4 * 4 / 64,
            download_bytes=4_300_000_000,
            source="one H200: 0.03 to 0.31 s and 2.2 to 4.4 GiB at 512 px, batch 2; guide 002: 15 to 40 min on an A5000",
        ),
        "sdxl": FamilyFigures(
            resolution=1024,
            tflop=14.3,
            share_of_peak=(0.035, 0.22),
            overhead_s=(0.0, 0.3),
            weights_gib=(4.8, 6.0),
            activations_gib=(0.7, 8.5),
            ram_gib=(8.0, 16.0),
            load_s=(20.0, 120.0),
            guidance_passes=2,
            text_bytes=77 * 2048 * 4,
            latent_bytes_per_px=2 * 4 * 4 / 64,
            download_bytes=6_940_000_000,
            source="one H200: 0.13 to 0.73 s and 7.0 to 22.4 GiB at 1024 px, batch 2; guide 002: about 1 h on an A5000",
        ),
        "flux": FamilyFigures(
            resolution=1024,
            tflop=163.6,
            share_of_peak=(0.09, 0.45),
            overhead_s=(0.0, 0.3),
            weights_gib=(6.7, 24.0),
            activations_gib=(2.0, 40.0),
            ram_gib=(32.0, 64.0),
            load_s=(60.0, 400.0),
            guidance_passes=1,
            text_bytes=512 * 4096 * 2,
            latent_bytes_per_px=2 * 16 * 4 / 64,
            download_bytes=34_000_000_000,
            source="one H200: 0.30 to 1.44 s and 8.7 to 72 GiB at 1024 px, batch 1; guide 000: 4.5 h for 2 000 steps on an L4",
        ),
    }
)

EMBEDDED = FamilyFigures(
    resolution=128,
    tflop=0.02,
    share_of_peak=(0.02, 0.2),
    overhead_s=(0.02, 0.15),
    weights_gib=(0.1, 0.3),
    activations_gib=(0.01, 0.05),
    ram_gib=(0.8, 2.0),
    load_s=(4.0, 15.0),
    guidance_passes=2,
    text_bytes=77 * 128 * 4,
    latent_bytes_per_px=2 * 4 * 4 / 16,
    download_bytes=0,
    source="two CPU cores: 76 to 150 s for 900 steps of 2 pictures at 128 px",
)

EMBEDDED_CPU_S = (0.035, 0.1)
"""Seconds a picture of the embedded base on two CPU cores; source as above."""

CPU_TFLOPS = (0.05, 0.6)
"""What a rented machine's CPU reaches in fp32, by number of cores."""

GPU_CONTEXT_GIB = 0.5


def card(name: str) -> Card | None:
    """The table's card for a GPU's full name as its driver gives it, such as `NVIDIA GeForce RTX 4090`."""
    words = f" {name.upper().replace('-', ' ')} "
    matches = [c for c in CARDS if all(f" {w} " in words for w in c.name.upper().split())]
    return max(matches, key=lambda c: len(c.name), default=None)
