"""The optimizer that `auto` means, and the memory that each takes."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

MOST_IN_FP32 = 180_000_000
"""Trained values up to which `auto` keeps AdamW's two moments in fp32 on a GPU: 6 bytes a value more than in 8 bits, 1 GiB for these.
It is a number of the recipe alone, so a run that moves to another card keeps its optimizer."""

BYTES: Mapping[str, int] = MappingProxyType(
    {"adamw": 16, "adamw8bit": 10, "lion": 12, "adafactor": 12, "adamw_schedule_free": 20, "prodigy": 24, "dadapt_adam": 24}
)
"""For each trained value: itself and its gradient in fp32, and what the optimizer keeps."""


def chosen_optimizer(name: str, parameters: int, *, on_gpu: bool, used: str = "") -> str:
    """The optimizer that a recipe's `name` means for so many trained values.

    `auto` is AdamW, and AdamW8bit for large LoRAs on a GPU; on a CPU bitsandbytes has no advantage. A run that `used` one of them
    keeps it where it can.
    """
    if name != "auto":
        return name
    if not on_gpu:
        return "adamw"
    return used or ("adamw" if parameters <= MOST_IN_FP32 else "adamw8bit")
