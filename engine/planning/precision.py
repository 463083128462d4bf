"""The number format that a card trains in: bf16 where it has that, else fp16 with a scaled loss, else fp32."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from loratui.engine import families
from loratui.engine.findings import Finding
from loratui.engine.machine.accelerator import Card
from loratui.presets.schema import Settings

Format = Literal["fp32", "bf16", "fp16"]
TORCH_NAMES: Mapping[Format, str] = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}

HAS_BF16 = (8, 0)
"""Compute capability from which a card computes in bf16. torch emulates it on older ones, many times slower, and calls it supported."""
FAST_FP16 = ((5, 3), (6, 0), (6, 2))
"""Cards older than 7.0 with fp16 at twice the rate of fp32; on the others it has a 64th. Source: CUDA C programming guide, throughput of
arithmetic instructions."""
NOT_FINITE_IN_FP16 = ("GTX 16",)
"""Cards without tensor cores whose fp16 convolutions are known to give NaN."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """A format, or why there is none."""

    format: Format
    found: Finding | None = None
    """What a person should know of the choice; an error refuses it, and the format means nothing then."""


def choose(settings: Settings, card: Card | None) -> Chosen:
    """The format of the frozen base and of the computation, for a card or, without one, the CPU. The LoRA is fp32 in any case."""
    wanted = settings.training.precision
    if wanted == "fp32":
        return Chosen("fp32")
    if card is None:
        found = Finding.of("precision.slow_on_cpu", settings=_AUTO) if wanted == "fp16" else None
        return Chosen("bf16" if wanted == "bf16" else "fp32", found)
    if card.capability >= HAS_BF16:
        return Chosen("fp16", Finding.of("precision.scaled")) if wanted == "fp16" else Chosen("bf16")
    return _without_bf16(settings, card)


def _without_bf16(settings: Settings, card: Card) -> Chosen:
    wanted, spec = settings.training.precision, families.family(settings.base.family)
    usual = _usual(settings, card)
    embedded = settings.base.is_embedded
    if wanted == "bf16" and (spec.fp16 or embedded):
        return Chosen(usual, Finding.of("precision.no_bf16", card=card.name, usual=usual, settings=_AUTO))
    if not spec.fp16 and not embedded:
        weights_gib = 2 * spec.figures.weights_gib
        others = [other.title for other in families.FAMILIES if other.fp16]
        needs = Finding.of("precision.needs_bf16", title=spec.title, card=card.name, weights_gib=weights_gib, others=others)
        return Chosen("fp32", needs)
    if spec.fp16 and wanted == "fp16":
        fast = card.capability >= (7, 0) or card.capability in FAST_FP16
        slow = Finding.of("precision.slow_fp16", card=card.name, settings=_AUTO)
        return Chosen("fp16", Finding.of("precision.scaled") if fast else slow)
    key = "fp16" if usual == "fp16" else "fp32" if spec.fp16 else "small"
    return Chosen(usual, Finding.of(f"precision.{key}", card=card.name))


_AUTO = {"training.precision": "auto"}


def _usual(settings: Settings, card: Card) -> Format:
    """What `auto` means on a card without bf16."""
    fit = card.capability >= (7, 0) and not any(name in card.name for name in NOT_FINITE_IN_FP16)
    return "fp16" if fit and families.family(settings.base.family).fp16 else "fp32"
