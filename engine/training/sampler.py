"""Sample images at fixed seeds, without any effect on the training."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from loratui.engine.durable import make_directory, write_file
from loratui.engine.families.model import Model, SamplePlan
from loratui.engine.training.adapters.adapter import LoraAdapter
from loratui.engine.training.cache import TextCache
from loratui.engine.training.images import to_png
from loratui.engine.training.noise import derived_seed
from loratui.presets.schema import Settings

NEGATIVE = ""
"""The negative prompt: none, so samples show only what was learnt."""


def sample_plan(settings: Settings, texts: TextCache, prompt: str, seed: int) -> SamplePlan:
    """One image of `prompt`, with the recipe's sampling settings."""
    samples, (width, height) = settings.samples, samples_size(settings)
    return SamplePlan(
        prompt_embeds=texts.get(prompt),
        negative_prompt_embeds=texts.get(NEGATIVE),
        seed=derived_seed(seed, "sample"),
        width=width,
        height=height,
        steps=samples.steps,
        guidance=samples.guidance,
    )


def samples_size(settings: Settings) -> tuple[int, int]:
    """Width and height of a sample, px."""
    side = settings.dataset.resolution
    return settings.samples.width or side, settings.samples.height or side


def write_sample(
    path: Path,
    model: Model,
    adapter: LoraAdapter,
    plan: Callable[[], SamplePlan],
    strength: float,
    on_step: Callable[[int, int], None],
    computing: AbstractContextManager[object] | None = None,
) -> str:
    """As `write_image`, of one image at a LoRA strength. `plan` is called while the LoRA is active, for its text states. The image is
    computed within `computing`, where nothing of the training changes."""
    with adapter.strength(strength), computing or nullcontext():
        pixels = model.sample(plan(), on_step)
    return write_image(path, to_png(pixels))


def write_image(path: Path, png: bytes) -> str:
    """Writes a PNG, and returns the SHA-256 of the file."""
    make_directory(path.parent)
    write_file(path, png)
    return hashlib.sha256(png).hexdigest()


def prompts_to_encode(prompts: Sequence[str]) -> list[str]:
    """All texts that sampling `prompts` needs."""
    return [NEGATIVE, *prompts]
