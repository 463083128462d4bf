"""The ways in which a run can lie in GPU memory, and what each takes: one truth for the estimates and for the trainer.

A card never gets a promise that no way keeps: what does not fit into the smallest does not fit.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from loratui.engine.families.figures import FamilyFigures
from loratui.engine.planning import figures
from loratui.engine.planning.lora_size import LoraSize
from loratui.presets.schema import Settings

Way = Literal["kept", "again"]
"""Activations kept for the backward pass, or computed again in it. Compiled blocks and recorded steps need no more than these."""

_BYTES: Mapping[str, int] = MappingProxyType(
    {"auto": 10, "adamw8bit": 10, "lion": 12, "adafactor": 12, "adamw_schedule_free": 20, "prodigy": 24, "dadapt_adam": 24}
)
"""For each trained number: itself and its gradient in fp32, and what the optimizer keeps. AdamW's two moments make 16."""

_FRAGMENTS = 1.03
"""What the allocator cannot use of the memory it holds, when a card is nearly full."""


@dataclass(frozen=True)
class Need:
    """GPU memory of one way, GiB, without what the process holds beside torch's tensors."""

    training: float
    """The most at any moment of a step; what is encoded and loaded before takes less."""
    sampling: float
    """While a sample is decoded; 0 where none are made."""

    @property
    def most(self) -> float:
        return max(self.training, self.sampling)


def ways(settings: Settings) -> tuple[Way, ...]:
    """The ways that the settings leave open, the fastest first."""
    match settings.memory.gradient_checkpointing:
        case "on":
            return ("again",)
        case "off":
            return ("kept",)
        case _:
            return ("kept", "again")


def need(settings: Settings, way: Way, lora: LoraSize, known: FamilyFigures) -> Need:
    """What training takes that way. `lora` is the size of the recipe's own LoRA."""
    width = 2 if settings.training.precision == "fp32" else 1  # of a number, against the two bytes of the table
    memory = known.kept if way == "kept" else known.again
    images = image_share(settings, known) * settings.training.batch_size
    fixed = known.weights_gib * width + _trained_gib(settings, lora) + figures.VAE_GIB
    if settings.training.train_text_encoder:
        fixed += known.text_encoders_gib
    if way == "kept" and (settings.adapter.dora or settings.adapter.kind in ("loha", "lokr")):
        fixed += 2 * known.weights_gib  # the change of every layer, whole, in fp32
    samples = settings.samples
    side = settings.dataset.resolution
    decoding = figures.DECODING_GIB_PER_PX * (samples.width or side) * (samples.height or side) if samples.prompts else 0.0
    return Need(
        training=fixed + (memory.fixed_gib + memory.image_gib * images) * width,
        sampling=(fixed + decoding) * _FRAGMENTS if decoding else 0.0,
    )


def image_share(settings: Settings, known: FamilyFigures) -> float:
    """What an image of the recipe's resolution takes, against one of the family's."""
    own, table = settings.dataset.resolution**2, known.resolution**2
    text = known.text_tokens * 16**2  # as if it were pixels: a token of FLUX is a square of 16
    return (own + text) / (table + text)


def chosen(settings: Settings, lora: LoraSize, known: FamilyFigures, room_gib: float) -> Way:
    """The way that a run takes where torch can have `room_gib`: the first that fits, else the last."""
    open_ways = ways(settings)
    return next((way for way in open_ways if need(settings, way, lora, known).training <= room_gib), open_ways[-1])


def room_gib(total_gib: float) -> float:
    """What torch can have of a card with so much memory and nothing else on it."""
    return total_gib * figures.USABLE - figures.GPU_CONTEXT_GIB


def _trained_gib(settings: Settings, lora: LoraSize) -> float:
    average = 4 if settings.training.ema_decay else 0
    return lora.parameters * (_BYTES.get(settings.optimizer.name, 16) + average) / 2**30


def smallest(settings: Settings) -> Settings:
    """The same recipe with every saving that there is."""
    return dataclasses.replace(settings, memory=dataclasses.replace(settings.memory, gradient_checkpointing="on"))
