"""What `true_size.py` measures: families, memory plans as settings, and training steps written by hand."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Family:
    """How a family is trained in the benchmark."""

    preset: str
    px: int
    batch: int
    rank: int
    tflop: float
    """Model FLOPs of one image of `px`, in 10¹²: a forward pass and the gradients of the activations, nothing recomputed, and no
    gradients of the base's weights."""
    caps: tuple[float, ...]
    """GPU memory of smaller cards, GiB, less what the driver and a desktop take."""
    more: tuple[str, ...] = ()
    """Other settings."""
    slowed: tuple[str, ...] = ()
    """Rungs that are measured once more with slower links."""


FAMILIES = {
    "flux": Family("flux-identity-18img", 1024, 1, 16, 163.6, (22, 14.5, 11, 7.2), slowed=("cap11", "cap7.2")),
    "sdxl": Family("sdxl-person", 1024, 2, 32, 14.3, (11, 7.2), ("training.train_text_encoder=false",)),
    "sd15": Family("sd15-portrait", 512, 2, 32, 1.73, (5.2,)),
}

PLANS: dict[str, dict[str, str]] = {
    "default": {},
    "kept": {"plan": "kept", "compile": "off"},
    "compiled": {"plan": "kept", "compile": "on"},
    "partial": {"plan": "partial", "compile": "on"},
    "checkpointing": {"plan": "checkpointing", "compile": "on"},
    "quantised-fp8": {"plan": "quantised", "quantise": "fp8", "compile": "on"},
    "quantised-int8": {"plan": "quantised", "quantise": "int8", "compile": "on"},
    "swapped-fp8": {"plan": "swapped", "quantise": "fp8", "compile": "on"},
    "swapped-int8": {"plan": "swapped", "quantise": "int8", "compile": "on"},
    "swapped-bf16": {"plan": "swapped", "quantise": "off", "compile": "on"},
    "nf4": {"plan": "nf4", "compile": "on"},
}
"""Rung -> settings of the section `memory`. `capN` stands beside these: the plan that loratui chooses within N GiB."""

CHANGES: dict[str, dict[str, str]] = {
    "uncompiled": {"memory.compile": "off"},
    "eager": {"memory.cuda_graphs": "off"},
    "adamw": {"optimizer.name": "adamw"},
    "fp16": {"training.precision": "fp16"},
    "text": {"training.train_text_encoder": "true"},
    "dropout": {"adapter.dropout": "0.1", "adapter.rank_dropout": "0.1", "adapter.module_dropout": "0.1"},
    "warm": {},
    "gpus2": {"training.processes": "2"},
    "gpus4": {"training.processes": "4"},
}
"""What a rung can be measured with besides, such as `compiled+adamw`. `warm`: once more, with what the first time compiled.
`gpusN`: on so many GPUs of one machine, with as many times the images a step. `linkN` stands beside these: copies of swapped blocks
at N GB/s."""


@dataclass(frozen=True)
class ByHand:
    """diffusers and PEFT in a script."""

    checkpointing: bool = False
    compiled: bool = False
    """Blocks compiled, as diffusers does it (`compile_repeated_blocks`)."""
    graph: bool = False
    """The whole step as one CUDA graph."""
    narrow: bool = False
    """The LoRA in bf16 too, without autocast: faster, and less exact than what loratui does."""


BY_HAND = {
    "hand-checkpointing": ByHand(checkpointing=True),
    "hand-kept": ByHand(),
    "hand-checkpointing-compiled": ByHand(checkpointing=True, compiled=True),
    "hand-kept-compiled": ByHand(compiled=True),
    "hand-kept-compiled-bf16": ByHand(compiled=True, narrow=True),
    "hand-kept-graph": ByHand(graph=True),
}

LINKS = (25, 12)
"""GB/s of slower links: PCIe 4.0 × 16, and half of it, which is PCIe 3.0."""

_CAP, _LINK = re.compile(r"cap(\d+(?:\.\d+)?)"), re.compile(r"link(\d+(?:\.\d+)?)")


def usual(family: str) -> list[str]:
    """The rungs that are measured if none are named."""
    caps = [f"cap{cap:g}" for cap in FAMILIES[family].caps]
    slowed = [f"{rung}+link{link}" for rung in FAMILIES[family].slowed for link in LINKS]
    return [*PLANS, "compiled+warm", *caps, *slowed, *BY_HAND]


def cap_of(rung: str) -> float | None:
    """The GiB of a rung `capN`."""
    found = _CAP.fullmatch(rung.split("+")[0])
    return float(found[1]) if found else None


def link_of(rung: str) -> float | None:
    """The GB/s of a rung with `+linkN`."""
    found = (_LINK.fullmatch(change) for change in rung.split("+")[1:])
    return next((float(one[1]) for one in found if one), None)


def place_of(rung: str) -> str:
    """A name for the folder that keeps what the rung compiles, so that every rung but a warm one begins without."""
    return "-".join(part for part in rung.split("+") if part != "warm")


def settings_of(rung: str) -> dict[str, str]:
    """The settings of a rung. Raises `KeyError` for a rung that is not known."""
    plan, *changes = rung.split("+")
    cap = cap_of(plan)
    memory = {"limit_gib": f"{cap:g}", "compile": "on"} if cap is not None else PLANS[plan]
    settings = {f"memory.{key}": value for key, value in memory.items()}
    for change in changes:
        settings |= {} if _LINK.fullmatch(change) else CHANGES[change]
    return settings
