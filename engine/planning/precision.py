"""The number format that a card trains in: bf16 where it has that, else fp16 with a scaled loss, else fp32."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from loratui.engine import families
from loratui.engine.machine.accelerator import Card
from loratui.presets.schema import Settings

Format = Literal["fp32", "bf16", "fp16"]
TORCH_NAMES: Mapping[Format, str] = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}

HAS_BF16 = (8, 0)
"""Compute capability from which a card computes in bf16. torch emulates it on older ones, many times slower, and calls it supported."""
FP16_ALONE = (7, 5)
"""That of a T4, for the cards of the table that have fp16 and no bf16."""
FAST_FP16 = ((5, 3), (6, 0), (6, 2))
"""Cards older than 7.0 with fp16 at twice the rate of fp32; on the others it has a 64th. Source: CUDA C programming guide, throughput of
arithmetic instructions."""
NOT_FINITE_IN_FP16 = ("GTX 16",)
"""Cards without tensor cores whose fp16 convolutions are known to give NaN."""

FP16_RANGE = "65 504"
CARDS_WITH_BF16 = "RTX 30xx, A10, A100, L4 or newer"


@dataclass(frozen=True, slots=True)
class Chosen:
    """A format, or why there is none."""

    format: Format
    why: str = ""
    """What a person should know of the choice; empty where it is the usual one."""
    problem: str = ""
    """Why training is refused; the format means nothing then."""
    remedy: str = ""


def choose(settings: Settings, card: Card | None) -> Chosen:
    """The format of the frozen base and of the computation, for a card or, without one, the CPU. The LoRA is fp32 in any case."""
    wanted = settings.training.precision
    if wanted == "fp32":
        return Chosen("fp32")
    if card is None:
        if wanted == "fp16":
            return _refused(
                "training.precision fp16: a CPU is slower in it than in fp32.", "Set it to auto, which is fp32 here."
            )
        return Chosen("bf16" if wanted == "bf16" else "fp32")
    if card.capability >= HAS_BF16:
        return Chosen("fp16", _SCALED) if wanted == "fp16" else Chosen("bf16")
    return _without_bf16(settings, card)


def _without_bf16(settings: Settings, card: Card) -> Chosen:
    wanted, spec = settings.training.precision, families.family(settings.base.family)
    usual = _usual(settings, card)
    embedded = settings.base.model.startswith("embedded:")
    if wanted == "bf16" and (spec.fp16 or embedded):
        message = f"training.precision bf16: {card.name} has none; torch would emulate it, many times slower."
        return _refused(message, f"Set it to auto, which is {usual} here.")
    if not spec.fp16:
        if embedded:
            return Chosen("fp32", f"{card.name} has no bf16: the small base trains in fp32.")
        message = (
            f"{spec.title} needs a card with bf16, which {card.name} is not: its activations go beyond the range of fp16 "
            f"({FP16_RANGE}), and in fp32 its weights alone take {2 * spec.figures.weights_gib:.0f} GiB."
        )
        others = " or ".join(other.title for other in families.FAMILIES if other.fp16)
        return _refused(message, f"Use a card with bf16 ({CARDS_WITH_BF16}), or train {others} here.")
    if wanted == "fp16":
        if not _has_fast_fp16(card):
            message = f"training.precision fp16: {card.name} computes it many times slower than fp32."
            return _refused(message, "Set it to auto, which is fp32 here.")
        return Chosen("fp16", _SCALED)
    if usual == "fp16":
        return Chosen("fp16", f"{card.name} has no bf16: {_SCALED[0].lower()}{_SCALED[1:]}")
    return Chosen("fp32", f"{card.name} has neither bf16 nor a fit fp16: it trains in fp32, which takes twice the memory.")


_SCALED = (
    "Trains in fp16 with a scaled loss and the LoRA in fp32; a step whose gradients leave the range of fp16 is made again."
)


def _usual(settings: Settings, card: Card) -> Format:
    """What `auto` means on a card without bf16."""
    fit = card.capability >= (7, 0) and not any(name in card.name for name in NOT_FINITE_IN_FP16)
    return "fp16" if fit and families.family(settings.base.family).fp16 else "fp32"


def _has_fast_fp16(card: Card) -> bool:
    return card.capability >= (7, 0) or card.capability in FAST_FP16


def _refused(problem: str, remedy: str) -> Chosen:
    return Chosen("fp32", "", problem, remedy)
