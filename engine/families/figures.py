"""The measured figures behind estimates of one family: memory, time and sizes."""

from __future__ import annotations

from dataclasses import dataclass

Range = tuple[float, float]
"""(least, most)."""


@dataclass(frozen=True)
class ImageMemory:
    """GiB that training takes beside weights and LoRA, at the family's resolution, in bf16."""

    fixed_gib: float
    image_gib: float
    """For each image of a batch."""


@dataclass(frozen=True)
class StepTime:
    """Seconds of one step on the card on which figures were measured (`planning.figures.MEASURED_ON`), at the family's resolution."""

    arithmetic_s: float
    """An image's share that scales with a card's peak arithmetic."""
    traffic_s: float
    """An image's share that scales with the memory bandwidth."""
    launch_s: float
    """A batch's launches of kernels by the CPU, on the slowest measured machine. A fast CPU needs a third."""


@dataclass(frozen=True)
class FamilyFigures:
    """What training one family takes."""

    resolution: int
    """Side at which the figures per image hold, px."""
    text_tokens: int
    """Tokens of text that pass through the denoiser with an image's, so a small image costs more than its area."""
    weights_gib: float
    """The frozen denoiser at two bytes a number."""
    block_share: float
    """Share of these in the Linears of its transformer blocks, which can be quantised and swapped."""
    largest_block_gib: float
    """The Linears of its largest block at two bytes a number."""
    text_encoders_gib: float
    """In fp32, where they are trained too."""
    reading_gib: float
    """While captions are encoded, with every text encoder on the card."""
    kept: ImageMemory
    again: ImageMemory
    """With gradient checkpointing, which needs the least memory."""
    kept_time: StepTime
    again_time: StepTime
    compiled_share: float
    """Share of a step that compiled blocks save."""
    fp8_time: float | None
    """Time of a step with the base in fp8, as a share of one with the base in bf16; None: not measured."""
    measured_batches: tuple[int, ...]
    """Batch sizes at which memory was measured."""
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
