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
    "automatic1111": Program("Automatic1111", "models/Lora"),
    "forge": Program("Forge", "models/Lora"),
    "invokeai": Program("InvokeAI", "its model manager, by the file's path"),
    "diffusers": Program("diffusers", "pipe.load_lora_weights(PATH)"),
}


def opened_by(family: Family, adapter: Adapter, layout: Layout) -> tuple[str, ...]:
    """Names in `PROGRAMS` of those that load such a file with full effect.

    ComfyUI drops attention in PEFT's names for UNets; diffusers reads neither LoHa nor LoKr in LyCORIS' names, and of FLUX in
    kohya's names only the blocks; DoRA is computed by each program in its own way; Automatic1111 has no FLUX.
    """
    if adapter.dora:
        return ("diffusers",)
    if adapter.kind in ("loha", "lokr"):
        return ("comfyui",) if family == "flux" else ("comfyui", "automatic1111", "forge")
    if family != "flux":
        return tuple(PROGRAMS) if layout == "kohya" else ("diffusers",)
    if layout == "peft":
        return ("comfyui", "invokeai", "diffusers")
    read_by_all = ("comfyui", "forge", "invokeai")
    return read_by_all if adapter.targets.startswith("all") else (*read_by_all, "diffusers")
