"""The names of LoRA tensors in the layout of PEFT and diffusers: the part, a dot, the module's path."""

from __future__ import annotations

from loratui.engine import families
from loratui.engine.formats.kohya import with_level
from loratui.engine.formats.layers import Part
from loratui.presets.schema import Family

DOWN, UP, MAGNITUDE = "lora_A.weight", "lora_B.weight", "lora_magnitude_vector"
PEFT_FILE, PEFT_CONFIG = "adapter_model", "adapter_config.json"
"""What PEFT calls its own file, without the ending, and the file beside it that has the alpha."""


def stem(family: Family, part: Part, module: str) -> str:
    """The beginning of the names of a module given by its diffusers or transformers path."""
    spec = families.family(family)
    if part == "denoiser":
        return f"{spec.lora.peft_prefix}.{spec.lora.peft_names(module)}"
    return f"{part}.{with_level(spec.part(part), module)}"
