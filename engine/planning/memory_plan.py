"""How a run lies in memory and what it computes in, decided in one place for the estimate, the preflight and the trainer.

A card never gets a promise that no rung keeps: what does not fit into the smallest does not fit. The estimate chooses the rung
(`planning.rungs`); how many blocks keep their activations, or stay on the card, is measured in the first real step.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from loratui.engine.families.figures import FamilyFigures, Range
from loratui.engine.findings import Finding
from loratui.engine.planning import figures
from loratui.engine.planning import rungs as ladder
from loratui.engine.planning.memory_choices import contradiction, is_recordable, rungs, splits
from loratui.engine.planning.memory_need import Facts, Need, degrees, need, sampling_gib
from loratui.engine.planning.precision import Format, choose
from loratui.engine.planning.rungs import HAS_FP8, BaseFormat, Rung, host_gib

Fits = Literal["yes", "with savings", "without samples", "no", ""]
"""`with savings`: on a lower rung than the fastest; `without samples`: they need more than the training; empty: not known."""

WORTH_SPLITTING = 0.1
"""Share of the blocks that splitting a batch must spare being computed again: about 3 % of a step."""

_WayOn = tuple[Rung, bool]
"""A rung, and whether batches are split on it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryPlan:
    """How a run is carried out. But for the base's format, all plans give the same numbers, up to rounding."""

    placement: Literal["gpu", "cpu"]
    """Where the frozen base and the LoRA lie."""
    precision: Format
    """Of the frozen base and of the computation; the LoRA is fp32 in any case."""
    rung: Rung
    base: BaseFormat
    """What the large Linears of the base's blocks are kept in."""
    recomputed: float
    """Share of the blocks whose activations are computed again, as far as the estimate knows."""
    split: bool
    """Whether the images of a batch are computed one after the other; the gradients add up to those of the whole batch."""
    cuda_graphs: bool
    """Whether steps are recorded and replayed, so that the CPU has no part in their time."""
    compile: Literal["auto", "on", "off"]
    """Whether the base's blocks are compiled; `auto`: as soon as it is clear that the rest of the run is long enough."""
    two_copies: bool
    """Whether a base in 8 bits is kept a second time with rows and columns exchanged, which the backward pass reads."""
    appends: bool
    """Whether large Linears make what their LoRAs add in the same product: faster, for a few percent of the base's memory."""
    room_gib: float
    """GPU memory that torch may take; infinite without a card."""
    text_streamed: bool
    """Whether captions are encoded with text encoders that lie in host memory."""
    vae_tiled: bool
    """Whether samples are decoded in tiles."""
    need: Need | None
    """None on a CPU and for the embedded bases."""
    fits: Fits
    found: Finding | None
    """What a person should know of the number format; None where it is the usual one."""

    @property
    def name(self) -> str:
        """Such as `gpu-bf16-quantised-fp8-graphs-compile-auto`: the same for runs that take the same memory and time."""
        base = [self.base] if self.base != "full" and self.base != self.rung.name else []
        parts = [self.placement, self.precision, self.rung.name, *base, *["split"] * self.split, *["graphs"] * self.cuda_graphs]
        return "-".join([*parts, *[f"compile-{self.compile}"] * (self.compile != "off")])

    @property
    def way(self) -> str:
        """The rung, and whether batches are split: what a run that was out of memory does not try again."""
        return way_of(self.rung, self.split)

    @property
    def joins(self) -> bool:
        """Whether layers with the same input are computed together: faster on a card, and the same but for rounding."""
        return self.placement == "gpu"

    @property
    def on_host(self) -> bool:
        """Whether the base is loaded into host memory first, and moved to the card layer by layer."""
        return self.base != "full" or self.rung.swaps

    def loads_at_once(self, known: FamilyFigures) -> bool:
        """Whether the denoiser is loaded while captions and images are encoded: where both take no more than a step."""
        if self.need is None or self.on_host:
            return False
        return self.need.weights + _reading_gib(known, self.precision) <= min(self.need.training, self.room_gib)

    def pays_to_compile(self, known: FamilyFigures, step_s: float, steps_left: int) -> bool:
        """Whether blocks are compiled in a run that has so many batches of so many seconds before it."""
        saved_s = steps_left * step_s * known.compiled_share
        return self.compile == "on" or (self.compile == "auto" and saved_s > figures.COMPILE_S)


def decide(facts: Facts) -> MemoryPlan | Finding:
    """The plan, or why there is none: on the highest rung that fits, else on the smallest that the settings leave open."""
    settings, card = facts.settings, facts.card
    chosen = choose(settings, card)
    if chosen.found and chosen.found.severity == "error":
        return chosen.found
    if card and settings.memory.quantise == "fp8" and card.capability < HAS_FP8:
        return Finding.of("memory.no_fp8", card=card.name, settings={"memory.quantise": "auto"})
    if not rungs(settings):
        return contradiction(settings)
    ways = [way for way in itertools.product(rungs(settings), splits(settings)) if not _failed(facts, *way)]
    sized = card is not None and not settings.base.is_embedded  # which fit on any card
    fitting = [way for way in ways if not sized or _fits_on(facts, *way, chosen.format)]
    if not ways or (facts.failed and not fitting):
        return Finding.of("memory.no_plan_left")
    rung, split = _first(facts, fitting, chosen.format, sized=sized) if fitting else _smallest(facts, ways, chosen.format)
    taken = need(facts, rung, chosen.format, split=split) if sized else None
    memory, known = settings.memory, facts.figures
    room = facts.room_gib if card else math.inf
    two_copies = taken is not None and _takes_more(facts, rung, split, chosen.format, copies=2)
    recomputed = _recomputed(facts, rung, split, chosen.format) if taken else degrees(settings, rung)[1]
    return MemoryPlan(
        placement="cpu" if card is None else "gpu",
        precision=chosen.format,
        rung=rung,
        base=facts.format_on(rung),
        recomputed=recomputed,
        split=split,
        cuda_graphs=card is not None and is_recordable(settings, recomputed) and memory.cuda_graphs == "auto",
        compile="off" if card is None else memory.compile,
        two_copies=two_copies,
        appends=taken is not None and _takes_more(facts, rung, split, chosen.format, copies=1 + two_copies, appended=True),
        room_gib=room,
        text_streamed=taken is not None and _reading_gib(known, chosen.format) > room,
        vae_tiled=taken is not None and sampling_gib(facts, taken.weights) > room,
        need=taken,
        fits=_fits(facts, rung, taken) if not sized or _pins(facts, rung) else "no",
        found=chosen.found,
    )


def _reading_gib(known: FamilyFigures, precision: Format) -> float:
    """While captions are encoded, with every text encoder on the card."""
    return known.reading_gib * (2 if precision == "fp32" else 1)


def _failed(facts: Facts, rung: Rung, split: bool) -> bool:
    """Whether a way has failed, or one that takes less on the same rung."""
    return any(way_of(rung, less) in facts.failed for less in {split, True})


def way_of(rung: Rung, split: bool) -> str:
    """The name of a rung with its batches whole or split."""
    return f"{rung.name}-split" if split else rung.name


def _fits_on(facts: Facts, rung: Rung, split: bool, precision: Format) -> bool:
    return need(facts, rung, precision, split=split).training <= facts.room_gib and _pins(facts, rung)


def _first(facts: Facts, fitting: Sequence[_WayOn], precision: Format, *, sized: bool) -> _WayOn:
    """Of the ways that fit, the first in which samples fit too, if there is one. On its rung single images instead of whole batches, if
    many fewer blocks are computed again then."""
    if not sized:
        return fitting[0]
    with_samples = [way for way in fitting if need(facts, way[0], precision, split=way[1]).most <= facts.room_gib]
    first = (with_samples or fitting)[0]
    if facts.settings.memory.cuda_graphs == "off":  # the CPU launches each image
        return first
    again = {way: _recomputed(facts, *way, precision) for way in with_samples or fitting if way[0] is first[0]}
    least = min(again, key=again.__getitem__)
    return least if again[first] - again[least] > WORTH_SPLITTING else first


def _smallest(facts: Facts, ways: Sequence[_WayOn], precision: Format) -> _WayOn:
    """Where none fits: the way that takes the least GPU memory, of those that main memory allows. If it allows none, the fastest that
    the card has room for."""
    allowed = [(rung, split) for rung, split in ways if _pins(facts, rung)]
    roomy = [way for way in ways if need(facts, way[0], precision, split=way[1]).training <= facts.room_gib]
    if not allowed and roomy:
        return roomy[0]
    return min(allowed or ways, key=lambda way: need(facts, way[0], precision, split=way[1]).training)


def _pins(facts: Facts, rung: Rung) -> bool:
    """Whether main memory has room for the blocks' weights of a rung."""
    return host_gib(facts.figures, rung, facts.format_on(rung)) <= facts.host_gib * figures.PINNED


def _takes_more(facts: Facts, rung: Rung, split: bool, precision: Format, *, copies: int, appended: bool = False) -> bool:
    """Whether so many copies of the base in its format fit with all activations kept; `appended`: each with room for the LoRA."""
    known, base = facts.figures, facts.format_on(rung)
    one = known.weights_gib * known.block_share * ladder.BYTES[base] / 2
    more = (copies - 1) * one + appended * copies * one * figures.APPENDED
    if rung.swaps or base not in (("full", "fp8") if appended else ("fp8", "int8")):
        return False
    if appended and copies == 1 and rung is not ladder.KEPT:  # memory is short
        return False
    return need(facts, rung, precision, degrees(facts.settings, rung)[0], split=split).training + more <= facts.room_gib


def _recomputed(facts: Facts, rung: Rung, split: bool, precision: Format) -> float:
    """The least share of blocks to be computed again that fits."""
    least, most = degrees(facts.settings, rung)
    with_least, with_most = (need(facts, rung, precision, one, split=split).training for one in (least, most))
    if with_least <= facts.room_gib or with_least == with_most:
        return least if with_least <= facts.room_gib else most
    return min(most, least + (most - least) * (with_least - facts.room_gib) / (with_least - with_most))


def memory_range(facts: Facts) -> Range:
    """GPU memory of the smallest rung that the settings leave open and of the largest, GiB, with all that the process holds.

    Without a card: on one that has bf16.
    """
    if facts.settings.base.is_embedded:
        return figures.EMBEDDED_GIB
    wanted = facts.settings.training.precision
    precision = choose(facts.settings, facts.card).format if facts.card else "fp32" if wanted == "fp32" else "bf16"
    taken = [
        need(facts, rung, precision, degree, split=split)
        for rung in rungs(facts.settings)
        for degree in degrees(facts.settings, rung)
        for split in splits(facts.settings)
    ]
    least = min(max(one.training, sampling_gib(facts, one.weights, tiled=True)) for one in taken)
    return least + figures.GPU_CONTEXT_GIB, max(one.most for one in taken) + figures.GPU_CONTEXT_GIB


def _fits(facts: Facts, rung: Rung, taken: Need | None) -> Fits:
    if taken is None:
        roomy = facts.card is not None and facts.card.total_gib > 2 * figures.EMBEDDED_GIB[1]
        return "yes" if roomy else ""
    if taken.training > facts.room_gib:
        return "no"
    if taken.sampling > facts.room_gib:
        return "without samples"
    return "yes" if rung is rungs(facts.settings)[0] else "with savings"
