"""Where a captioner keeps its weights and how many images it takes at once, from the memory that is free. No torch."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from loratui.engine.captioning.captioners import Captioner
from loratui.engine.errors import OutOfMemoryError, UsageError
from loratui.engine.words import joined

Numbers = Literal["bf16", "int8", "nf4", "cpu"]
CHOICES: tuple[str, ...] = ("auto", *get_args(Numbers))
"""What a person may choose."""

SHARE: Mapping[str, float] = {"bf16": 1.0, "int8": 0.51, "nf4": 0.26}
"""Of the bytes in bf16 that a quantised layer takes: 8 bits and a scale for each row; 4 bits and 8-bit scales for each 64 values."""
SPARE_GIB = 0.5
"""For what libraries hold beside the weights and the images."""
_IN_WORDS = {"bf16": "bf16", "int8": "8 bit", "nf4": "4 bit"}


@dataclass(frozen=True, slots=True)
class Way:
    """How a captioner runs."""

    numbers: Numbers
    at_once: int
    """Images."""
    gib: float
    """What the weights take."""
    free_gib: float
    """What was free for them: GPU memory, or main memory for `cpu`."""

    @property
    def said(self) -> str:
        """For people: `4 bit on the GPU, 2 at once, weights 6.0 of 7.4 GiB`."""
        place = "on the CPU, slowly" if self.numbers == "cpu" else f"{_IN_WORDS[self.numbers]} on the GPU"
        free = f" of {self.free_gib:.1f}" if math.isfinite(self.free_gib) else ""
        return f"{place}, {self.at_once} at once, weights {self.gib:.1f}{free} GiB"


def decide(
    captioner: Captioner,
    free_gib: float | None,
    host_gib: float = math.inf,
    choice: str = "auto",
    failed: Collection[str] = (),
) -> Way:
    """The way with the most exact weights that fits: on the GPU, else on the CPU.

    `free_gib`: GPU memory; None without a GPU. `host_gib`: main memory. `failed` ways have been tried. Raises `UsageError` for a choice
    that there is not, and `OutOfMemoryError` where nothing fits.
    """
    if choice not in CHOICES:
        raise UsageError(f"{choice}: not a way to hold a captioner.", f"Choose one of: {', '.join(CHOICES)}.")
    if choice == "cpu" or (free_gib is None and choice == "auto"):
        return _on_cpu(captioner, host_gib)
    if free_gib is None:
        raise UsageError(f"{choice} needs a GPU, and this machine has none.", "Choose auto or cpu.")
    ways = _ways(captioner) if choice == "auto" else (choice,)
    for numbers in ways:
        weights = gib(captioner, numbers)
        room = free_gib - SPARE_GIB - weights
        if room >= captioner.image_gib and numbers not in failed:
            at_once = min(captioner.at_once, int(room / captioner.image_gib)) if captioner.image_gib else captioner.at_once
            return Way(numbers, at_once, weights, free_gib)  # type: ignore[arg-type]  # one of CHOICES but auto and cpu
    if choice == "auto" and _need_on_cpu(captioner, host_gib) <= host_gib:
        return _on_cpu(captioner, host_gib)
    least = gib(captioner, ways[-1]) + captioner.image_gib + SPARE_GIB
    raise OutOfMemoryError(
        f"{captioner.title} needs {least:.1f} GiB of GPU memory in {joined([_IN_WORDS[one] for one in ways], 'or')}, "
        f"and {free_gib:.1f} GiB are free.",
        "End what holds GPU memory (nvidia-smi shows it), or choose a smaller captioner.",
    )


def needs(captioner: Captioner) -> str:
    """What a person should know before choosing: `GPU memory: 8.8 GiB, 5.4 in 8 bit, 3.8 in 4 bit, or the CPU`."""
    least = {way: gib(captioner, way) + captioner.image_gib + SPARE_GIB for way in _ways(captioner)}
    first, *others = (
        f"{value:.1f} GiB" if way == "bf16" else f"{value:.1f} in {_IN_WORDS[way]}" for way, value in least.items()
    )
    return f"GPU memory: {joined([first, *others, 'the CPU'], 'or')}"


def gib(captioner: Captioner, numbers: str) -> float:
    """What the weights take: the layers that bitsandbytes quantises, and the rest in bf16."""
    return captioner.gib - captioner.linear_gib * (1 - SHARE[numbers])


def _ways(captioner: Captioner) -> tuple[str, ...]:
    return tuple(SHARE) if captioner.linear_gib else ("bf16",)


def _on_cpu(captioner: Captioner, host_gib: float) -> Way:
    need = _need_on_cpu(captioner, host_gib)
    if need > host_gib:
        raise OutOfMemoryError(
            f"{captioner.title} needs {need:.1f} GiB of main memory, and {host_gib:.1f} GiB are free.",
            "Choose a smaller captioner, such as florence-2-base.",
        )
    return Way("cpu", 1, need - captioner.image_gib, host_gib)


def _need_on_cpu(captioner: Captioner, host_gib: float) -> float:
    return captioner.gib * (2 if fp32_fits(captioner, host_gib) else 1) + captioner.image_gib


def fp32_fits(captioner: Captioner, host_gib: float) -> bool:
    """Whether a CPU, which computes in fp32 fastest, can hold the weights so; else they stay in bf16."""
    return 2.5 * captioner.gib < host_gib
