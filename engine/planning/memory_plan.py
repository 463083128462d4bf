"""How a run lies in memory and what it computes in, decided in one place for the estimate, the preflight and the trainer.

A card never gets a promise that no rung keeps: what does not fit into the smallest does not fit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, TypeVar

from loratui.engine import families
from loratui.engine.families.figures import FamilyFigures, ImageMemory, Range, StepTime
from loratui.engine.findings import Finding
from loratui.engine.machine.accelerator import Card
from loratui.engine.planning import figures
from loratui.engine.planning.lora_size import LoraSize, size_of
from loratui.engine.planning.precision import Format, choose
from loratui.engine.words import GIB
from loratui.presets.schema import Settings

Fits = Literal["yes", "with savings", "without samples", "no", ""]
"""`with savings`: on a lower rung than the fastest; `without samples`: they need more than the training; empty: not known."""

_BYTES: Mapping[str, int] = MappingProxyType(
    {"auto": 10, "adamw8bit": 10, "lion": 12, "adafactor": 12, "adamw_schedule_free": 20, "prodigy": 24, "dadapt_adam": 24}
)
"""For each trained number: itself and its gradient in fp32, and what the optimizer keeps. AdamW's two moments make 16."""

_FRAGMENTS = 1.03
"""What the allocator cannot use of the memory it holds, when a card is nearly full."""

_Figures = TypeVar("_Figures", ImageMemory, StepTime)


@dataclass(frozen=True, slots=True)
class Rung:
    """One way in which a run can lie in GPU memory."""

    name: str
    checkpointing: Literal["on", "off"]
    """The value of `memory.gradient_checkpointing` that asks for this rung."""
    recomputed: float
    """Share of the activations that the backward pass computes again. Memory and time lie between those of a family that
    keeps all and of one that keeps none, by this share."""
    records: bool
    """Whether a step can be recorded as a CUDA graph."""

    def memory(self, known: FamilyFigures) -> ImageMemory:
        """What it takes beside weights and LoRA."""
        return self._between(known.kept, known.again)

    def time(self, known: FamilyFigures) -> StepTime:
        """How long a step takes."""
        return self._between(known.kept_time, known.again_time)

    def _between(self, kept: _Figures, again: _Figures) -> _Figures:
        share = self.recomputed
        ends = ((getattr(kept, name), getattr(again, name)) for name in kept.__dataclass_fields__)
        return type(kept)(*((1 - share) * all_kept + share * none for all_kept, none in ends))


KEPT = Rung("kept", "off", recomputed=0.0, records=True)
CHECKPOINTING = Rung("checkpointing", "on", recomputed=1.0, records=False)

LADDER: tuple[Rung, ...] = (KEPT, CHECKPOINTING)
"""The fastest first. Compiled blocks and recorded steps need no more memory than these."""


@dataclass(frozen=True, slots=True)
class Need:
    """GPU memory of one rung, GiB, without what the process holds beside torch's tensors."""

    training: float
    """The most at any moment of a step; what is encoded and loaded before takes less."""
    sampling: float
    """While a sample is decoded; 0 where none are made."""

    @property
    def most(self) -> float:
        return max(self.training, self.sampling)


@dataclass(frozen=True, slots=True)
class Facts:
    """What a memory plan is decided by."""

    settings: Settings
    card: Card | None
    """None: the CPU trains."""
    lora: LoraSize
    """Of the recipe's own LoRA."""
    free_gib: float = math.inf
    """Memory of the card that nothing else holds at the start, where that is known."""

    @classmethod
    def of(cls, settings: Settings, card: Card | None, free_gib: float = math.inf) -> Facts:
        """The facts of a recipe; the base's folder is read where it is on this machine."""
        return cls(settings, card, size_of(settings), free_gib)

    @property
    def figures(self) -> FamilyFigures:
        """What training the family takes."""
        return families.family(self.settings.base.family).figures

    @property
    def room_gib(self) -> float:
        """What torch can have of the card's memory."""
        total = self.card.total_gib if self.card else math.inf
        return min(self.free_gib, total * figures.USABLE - figures.GPU_CONTEXT_GIB)


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryPlan:
    """How a run is carried out: the same numbers but for rounding, with more or less memory and time."""

    placement: Literal["gpu", "cpu"]
    """Where the frozen base and the LoRA lie."""
    precision: Format
    """Of the frozen base and of the computation; the LoRA is fp32 in any case."""
    rung: Rung
    cuda_graphs: bool
    """Whether steps are recorded and replayed, so that the CPU has no part in their time."""
    compile: Literal["auto", "on", "off"]
    """Whether the base's blocks are compiled; `auto`: as soon as it is clear that the rest of the run is long enough."""
    need: Need | None
    """None on a CPU and for the embedded bases."""
    fits: Fits
    found: Finding | None
    """What a person should know of the number format; None where it is the usual one."""

    @property
    def name(self) -> str:
        """Such as `gpu-bf16-kept-graphs-compile-auto`: the same for runs that take the same memory and time."""
        parts = [self.placement, self.precision, self.rung.name, *["graphs"] * self.cuda_graphs]
        return "-".join([*parts, *[f"compile-{self.compile}"] * (self.compile != "off")])

    def pays_to_compile(self, known: FamilyFigures, step_s: float, steps_left: int) -> bool:
        """Whether blocks are compiled in a run that has so many batches of so many seconds before it."""
        saved_s = steps_left * step_s * known.compiled_share
        return self.compile == "on" or (self.compile == "auto" and saved_s > figures.COMPILE_S)


def decide(facts: Facts) -> MemoryPlan | Finding:
    """The plan, or why there is none: on the highest rung that fits, else on the lowest that the settings leave open."""
    settings, card = facts.settings, facts.card
    chosen = choose(settings, card)
    if chosen.found and chosen.found.severity == "error":
        return chosen.found
    memory, left = settings.memory, rungs(settings)
    rung, taken = left[0], None
    if card is not None and not settings.base.is_embedded:  # which fit on any card
        fitting = (one for one in left if need(facts, one, chosen.format).training <= facts.room_gib)
        rung = next(fitting, left[-1])
        taken = need(facts, rung, chosen.format)
    return MemoryPlan(
        placement="cpu" if card is None else "gpu",
        precision=chosen.format,
        rung=rung,
        cuda_graphs=card is not None and rung.records and is_repeatable(settings) and memory.cuda_graphs == "auto",
        compile="off" if card is None else memory.compile,
        need=taken,
        fits=_fits(facts, rung, taken),
        found=chosen.found,
    )


def rungs(settings: Settings) -> tuple[Rung, ...]:
    """The rungs that the settings leave open, the fastest first."""
    return tuple(rung for rung in LADDER if settings.memory.gradient_checkpointing in ("auto", rung.checkpointing))


def is_repeatable(settings: Settings) -> bool:
    """Whether a step is the same computation on other tensors each time: nothing is dropped at random, no text encoder is at work."""
    return not (settings.adapter.drops or settings.training.train_text_encoder)


def need(facts: Facts, rung: Rung, precision: Format) -> Need:
    """What training takes on a rung."""
    settings, known = facts.settings, facts.figures
    width = 2 if precision == "fp32" else 1  # of a number, against the two bytes of the table
    memory = rung.memory(known)
    images = image_share(settings, known) * settings.training.batch_size
    fixed = known.weights_gib * width + _trained_gib(facts) + figures.VAE_GIB
    if settings.training.train_text_encoder:
        fixed += known.text_encoders_gib
    if settings.adapter.dora or settings.adapter.kind in ("loha", "lokr"):
        fixed += 2 * known.weights_gib * (1 - rung.recomputed)  # the change of every layer, whole, in fp32
    samples = settings.samples
    side = settings.dataset.resolution
    decoding = figures.DECODING_GIB_PER_PX * (samples.width or side) * (samples.height or side) if samples.prompts else 0.0
    return Need(
        training=fixed + (memory.fixed_gib + memory.image_gib * images) * width,
        sampling=(fixed + decoding) * _FRAGMENTS if decoding else 0.0,
    )


def memory_range(facts: Facts) -> Range:
    """GPU memory of the smallest rung that the settings leave open and of the largest, GiB, with all that the process holds.

    Without a card: on one that has bf16.
    """
    if facts.settings.base.is_embedded:
        return figures.EMBEDDED_GIB
    wanted = facts.settings.training.precision
    precision = choose(facts.settings, facts.card).format if facts.card else "fp32" if wanted == "fp32" else "bf16"
    taken = [need(facts, rung, precision).most + figures.GPU_CONTEXT_GIB for rung in rungs(facts.settings)]
    return min(taken), max(taken)


def image_share(settings: Settings, known: FamilyFigures) -> float:
    """What an image of the recipe's resolution takes, against one of the family's."""
    own, table = settings.dataset.resolution**2, known.resolution**2
    text = known.text_tokens * 16**2  # as if it were pixels: a token of FLUX is a square of 16
    return (own + text) / (table + text)


def _fits(facts: Facts, rung: Rung, taken: Need | None) -> Fits:
    if taken is None:
        roomy = facts.card is not None and facts.card.total_gib > 2 * figures.EMBEDDED_GIB[1]
        return "yes" if roomy else ""
    if taken.training > facts.room_gib:
        return "no"
    if taken.sampling > facts.room_gib:
        return "without samples"
    return "yes" if rung is rungs(facts.settings)[0] else "with savings"


def _trained_gib(facts: Facts) -> float:
    average = 4 if facts.settings.training.ema_decay else 0
    return facts.lora.parameters * (_BYTES.get(facts.settings.optimizer.name, 16) + average) / GIB
