"""What a run takes of GPU memory on each rung of the ladder, by the figures of its family."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from loratui.engine import families
from loratui.engine.families.figures import FamilyFigures, Range
from loratui.engine.machine.accelerator import Accelerator, Card
from loratui.engine.machine.gpu_holders import Holder
from loratui.engine.planning import figures
from loratui.engine.planning.lora_size import LoraSize, size_of
from loratui.engine.planning.optimizer_choice import BYTES, chosen_optimizer
from loratui.engine.planning.precision import Format
from loratui.engine.planning.rungs import HAS_FP8, BaseFormat, Rung, weights_gib
from loratui.engine.words import GIB
from loratui.presets.schema import Settings

_FRAGMENTS = 1.03
"""What the allocator cannot use of the memory it holds, when a card is nearly full."""

HELD_GIB = 0.5
"""What others must hold of a card to be worth a word: desktops and drivers always hold a little."""


@dataclass(frozen=True, slots=True)
class Need:
    """GPU memory of one rung, GiB, without what the process holds beside torch's tensors."""

    training: float
    """The most at any moment of a step; what is encoded and loaded before takes less."""
    sampling: float
    """While a sample is decoded, in tiles where it does not fit as a whole."""
    weights: float
    """Of `training`, what stays on the card between steps: weights, LoRA, optimizer."""

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
    """Memory of the card that torch can have, since nothing else holds it at the start, where that is known."""
    host_gib: float = math.inf
    """Main memory that is free for each process, where that is known."""
    held_by: tuple[Holder, ...] = ()
    """The other programs on the card."""
    failed: frozenset[str] = frozenset()
    """`MemoryPlan.way` of the plans on which this run was out of memory."""

    @classmethod
    def of(cls, settings: Settings, card: Card | None, free_gib: float = math.inf) -> Facts:
        """The facts of a recipe; the base's folder is read where it is on this machine."""
        return cls(settings, card, size_of(settings), free_gib)

    @classmethod
    def here(cls, settings: Settings, here: Accelerator) -> Facts:
        """The facts of a recipe on this machine."""
        card = None if settings.memory.device == "cpu" else here.card
        if card is None:
            return cls.of(settings, None)
        used = here.listed[: settings.training.processes]
        free_gib = min((gpu.free_gib for gpu in used), default=math.inf) - figures.GPU_CONTEXT_GIB
        sharing = min(settings.training.processes, max(1, len(here.together)))  # the main memory of this machine
        held_by = tuple(holder for gpu in used for holder in gpu.held_by)
        return replace(cls.of(settings, card, free_gib), host_gib=here.host_gib / sharing, held_by=held_by)

    @property
    def figures(self) -> FamilyFigures:
        """What training the family takes."""
        return families.family(self.settings.base.family).figures

    @property
    def room_gib(self) -> float:
        """What torch can have of the card's memory."""
        return max(0.0, min(self.free_gib, self.whole_gib))

    @property
    def whole_gib(self) -> float:
        """The same if no other program held any."""
        total = self.card.total_gib if self.card else math.inf
        limit = self.settings.memory.limit_gib or math.inf
        return min(total * figures.USABLE - figures.GPU_CONTEXT_GIB, limit)

    @property
    def held_gib(self) -> float:
        """What other programs take away of it; 0 where that is little or unknown."""
        held = self.whole_gib - self.room_gib
        return held if HELD_GIB < held < math.inf else 0.0

    @property
    def alone(self) -> Facts:
        """The same facts if no other program used the card."""
        return replace(self, free_gib=math.inf, held_by=())

    def format_on(self, rung: Rung) -> BaseFormat:
        """What the blocks' large Linears are kept in on a rung: fp8 where the card multiplies in it, int8 on older ones."""
        wanted = self.settings.memory.quantise
        if rung.four_bits:
            return "nf4"
        if not rung.quantised or wanted == "off":
            return "full"
        if wanted != "auto":
            return wanted
        return "fp8" if self.card is None or self.card.capability >= HAS_FP8 else "int8"


def need(facts: Facts, rung: Rung, precision: Format, recomputed: float | None = None, *, split: bool = False) -> Need:
    """What training takes on a rung, with this share of blocks computed again; by default as many as the rung allows."""
    settings, known = facts.settings, facts.figures
    share = degrees(settings, rung)[1] if recomputed is None else recomputed
    width = 2 if precision == "fp32" else 1  # of a number, against the two bytes of the table
    memory = rung.memory(known, share)
    images = image_share(settings, known) * (1 if split else settings.training.batch_size)
    fixed = weights_gib(known, rung, facts.format_on(rung)) * width + _trained_gib(facts) + figures.VAE_GIB
    if settings.training.train_text_encoder:
        fixed += known.text_encoders_gib
    if settings.adapter.dora or settings.adapter.kind in ("loha", "lokr"):
        fixed += 2 * known.weights_gib * (1 - share)  # the change of every layer, whole, in fp32
    sampling = sampling_gib(facts, fixed)
    if sampling > facts.room_gib:
        sampling = sampling_gib(facts, fixed, tiled=True)
    return Need(
        training=fixed + (memory.fixed_gib + memory.image_gib * images) * width,
        sampling=sampling,
        weights=fixed,
    )


def sampling_gib(facts: Facts, fixed: float, *, tiled: bool = False) -> float:
    """While a sample is decoded beside `fixed` GiB."""
    return (fixed + decoding_gib(facts.settings, tiled=tiled)) * _FRAGMENTS


def decoding_gib(settings: Settings, *, tiled: bool) -> float:
    """What decoding a sample takes beside the weights, as a whole or in tiles."""
    samples, side = settings.samples, settings.dataset.resolution
    area = (samples.width or side) * (samples.height or side)
    return figures.DECODING_GIB_PER_PX * (min(area, figures.TILE_PX**2) if tiled else area)


def degrees(settings: Settings, rung: Rung) -> Range:
    """(least, most) share of blocks that may be computed again."""
    return {"on": (1.0, 1.0), "off": (0.0, 0.0)}.get(settings.memory.gradient_checkpointing, rung.recomputed)


def image_share(settings: Settings, known: FamilyFigures) -> float:
    """What an image of the recipe's resolution takes, against one of the family's."""
    own, table = settings.dataset.resolution**2, known.resolution**2
    text = known.text_tokens * 16**2  # as if it were pixels: a token of FLUX is a square of 16
    return (own + text) / (table + text)


def _trained_gib(facts: Facts) -> float:
    """The LoRA with gradients and optimizer; with an average, and a copy of what is trained while the average is in its place."""
    settings = facts.settings
    averages = bool(settings.training.ema_decay), settings.optimizer.name == "adamw_schedule_free"
    copies = 4 * (averages[0] + any(averages))
    optimizer = chosen_optimizer(facts.settings.optimizer.name, facts.lora.parameters, on_gpu=facts.card is not None)
    return facts.lora.parameters * (BYTES[optimizer] + copies) / GIB
