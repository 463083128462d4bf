"""Measures images of the embedded base with the reader: likeness to a person, and obedience to what a prompt says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from loratui.presets.bases.make.people import ANAFOX, IDENTITY, Person

GUIDANCE = 3.0
"""Guidance scale at which the embedded base is measured."""

STEPS = 20
"""Denoising steps with which the embedded base is measured."""


@dataclass(frozen=True)
class Prompt:
    """A prompt for a subject, and the features that an image of it must show; none of the demo's images shows all of them."""

    text: str
    wanted: Mapping[str, str]


PROMPTS = (
    Prompt(
        "a photo of {subject}, smiling, wearing a blue sweater, green background",
        {"mood": "smiling", "clothing": "sweater", "clothing_colour": "blue", "background": "green"},
    ),
    Prompt(
        "a photo of {subject}, serious, wearing a red shirt, in the mountains",
        {"mood": "serious", "clothing": "shirt", "clothing_colour": "red", "background": "mountains"},
    ),
    Prompt(
        "a photo of {subject}, laughing, wearing a black t-shirt, yellow background",
        {"mood": "laughing", "clothing": "t-shirt", "clothing_colour": "black", "background": "yellow"},
    ),
    Prompt(
        "a photo of {subject}, surprised, wearing a green hoodie, blue background",
        {"mood": "surprised", "clothing": "hoodie", "clothing_colour": "green", "background": "blue"},
    ),
)


def identity_shares(readings: Sequence[Mapping[str, str]], person: Person = ANAFOX) -> dict[str, float]:
    """For each feature of `IDENTITY`, the share of the readings that have the person's value."""
    return {name: sum(r[name] == getattr(person, name) for r in readings) / len(readings) for name in IDENTITY}


def likeness(readings: Sequence[Mapping[str, str]], person: Person = ANAFOX) -> float:
    """Mean of `identity_shares`: 1 is the person in every respect."""
    shares = identity_shares(readings, person)
    return sum(shares.values()) / len(shares)


def shares_right(found: Sequence[Mapping[str, str]], wanted: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """For each feature that is wanted of any image, the share of those images that show it.

    The hair colour of a bald head is not counted.
    """
    hits: dict[str, list[bool]] = {}
    for reading, wish in zip(found, wanted, strict=True):
        for name in reading:
            if name in wish and not (name == "hair" and wish.get("style") == "bald"):
                hits.setdefault(name, []).append(reading[name] == wish[name])
    return {name: sum(h) / len(h) for name, h in hits.items()}


def sample(
    pipeline: Any,
    prompts: Sequence[str],
    *,
    seeds: Sequence[int],
    steps: int = STEPS,
    guidance: float = GUIDANCE,
    **options: Any,
) -> NDArray[np.uint8]:
    """8-bit images (n, 128, 128, 3), one for each prompt with its seed; `options` go to the pipeline.

    A seed is that of a generator on the CPU, so it means the same start on every device.
    """
    pipeline.set_progress_bar_config(disable=True)
    done = []
    for start in range(0, len(prompts), 64):
        part = slice(start, start + 64)
        images = pipeline(
            list(prompts[part]),
            num_inference_steps=steps,
            guidance_scale=guidance,
            height=128,
            width=128,
            generator=[torch.Generator().manual_seed(seed) for seed in seeds[part]],
            output_type="np",
            **options,
        ).images
        done.append((images * 255).round().astype(np.uint8))
    return np.concatenate(done)


def save_grid(images: NDArray[np.uint8], path: Path, across: int = 8) -> None:
    """Save images side by side, `across` in a row; a last row that is not full is left out unless it is the only one."""
    across = min(across, len(images))
    rows = [np.concatenate(list(images[k : k + across]), 1) for k in range(0, len(images) - across + 1, across)]
    Image.fromarray(np.concatenate(rows)).save(path)
