"""Which programs open a LoRA file, and where each of them wants it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from loratui.engine.formats.metadata import Layout
from loratui.presets.schema import Adapter, Family


@dataclass(frozen=True)
class Program:
    """A program that makes pictures with LoRA files."""

    title: str
    place: str
    """Where it wants the file."""


PROGRAMS: Mapping[str, Program] = {
    "comfyui": Program("ComfyUI", "models/loras"),
    "webui": Program("Automatic1111 and Forge", "models/Lora"),
    "invokeai": Program("InvokeAI", "Models > Add Model > the file's path"),
    "diffusers": Program("diffusers", "pipe.load_lora_weights(PATH)"),
}


def opened_by(family: Family, adapter: Adapter, layout: Layout) -> tuple[str, ...]:
    """Names in `PROGRAMS` of those that load such a file with full effect.

    ComfyUI drops attention in PEFT's names for UNets; diffusers reads neither LoHa nor LoKr in LyCORIS' names;
    DoRA is computed by each program in its own way.
    """
    if adapter.dora:
        return ("diffusers",)
    if adapter.kind in ("loha", "lokr"):
        return ("comfyui",) if family == "flux" else ("comfyui", "webui")
    if layout == "kohya":
        return ("comfyui", "webui", "invokeai", "diffusers")
    return ("comfyui", "invokeai", "diffusers") if family == "flux" else ("diffusers",)
