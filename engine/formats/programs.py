"""Which programs open a LoRA file, and where each of them wants it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from loratui.engine.formats.metadata import Layout
from loratui.presets.schema import LYCORIS, Adapter, Family, Settings


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

LOKR_WHOLE_FROM = 16
"""Rank from which both factors of the narrowest layer of SD1.5 that reads text (320 by 768) are stored whole."""


def opened_by(family: Family, adapter: Adapter, layout: Layout, *, trains_text: bool) -> tuple[str, ...]:
    """Names in `PROGRAMS` of those that load such a file with full effect, as their own loaders were seen to do.

    `trains_text`: whether the file has text encoders as well.
    """
    refusing = _refusing(family, adapter, layout, trains_text)
    return tuple(name for name in PROGRAMS if name not in refusing)


def readers_of(settings: Settings, layout: Layout) -> tuple[str, ...]:
    """The same for a file of a run."""
    return opened_by(settings.base.family, settings.adapter, layout, trains_text=settings.training.train_text_encoder)


def _refusing(family: Family, adapter: Adapter, layout: Layout, trains_text: bool) -> set[str]:
    """Those that drop layers of such a file, or all of it."""
    if adapter.dora:  # each program computes it in a way of its own
        return PROGRAMS.keys() - {"diffusers"}
    lycoris, everywhere = adapter.kind in LYCORIS, adapter.targets.startswith("all")
    if family != "flux":
        if layout == "peft":  # ComfyUI drops attention, the others everything
            return PROGRAMS.keys() - {"diffusers"}
        if not lycoris:
            return set()
        # InvokeAI knows SD1.5 by the width of its text states, which it reads from LoKr's factors only if they are whole.
        whole = adapter.rank >= LOKR_WHOLE_FROM and adapter.factor == -1
        return {"diffusers"} if family == "sdxl" or adapter.kind == "loha" or whole else {"diffusers", "invokeai"}
    refusing = {"automatic1111"}  # it has no FLUX
    if lycoris or everywhere or (layout == "peft" and trains_text):
        refusing.add("invokeai")
    if lycoris or (everywhere and layout == "kohya"):
        refusing.add("diffusers")
    return refusing
