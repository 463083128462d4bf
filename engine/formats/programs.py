"""Which programs open a LoRA file, and where each of them wants it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from loratui.engine import families
from loratui.engine.families.lora import LoraLayout
from loratui.presets.schema import Adapter, Family, Settings


@dataclass(frozen=True)
class Program:
    """A program that makes images with LoRA files."""

    title: str
    place: str
    """Where it wants the file."""


PROGRAMS: Mapping[str, Program] = {
    "comfyui": Program("ComfyUI", "models/loras"),
    "automatic1111": Program("Automatic1111", "models/Lora"),
    "forge": Program("Forge", "models/Lora"),
    "invokeai": Program("InvokeAI", "its model manager, by the file's path"),
    "diffusers": Program("diffusers", "pipe.load_lora_weights(PATH)"),
}


def opened_by(family: Family, adapter: Adapter, layout: LoraLayout, *, trains_text: bool) -> tuple[str, ...]:
    """Names in `PROGRAMS` of those that load such a file with full effect, as their own loaders were seen to do.

    `trains_text`: whether the file has text encoders as well.
    """
    if adapter.dora:  # each program computes it in a way of its own
        return ("diffusers",)
    unread = families.family(family).lora.unread_by(adapter, layout, trains_text)
    return tuple(name for name in PROGRAMS if name not in unread)


def readers_of(settings: Settings, layout: LoraLayout) -> tuple[str, ...]:
    """The same for a file of a run."""
    return opened_by(settings.base.family, settings.adapter, layout, trains_text=settings.training.train_text_encoder)
