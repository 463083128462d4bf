"""What a plan will cost: LoRA file, memory, disk, time and money, as ranges with their source."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from loratui.engine.planning import figures
from loratui.engine.planning.bases import base_path
from loratui.engine.planning.figures import Card, FamilyFigures
from loratui.engine.planning.lora_size import LoraSize, lora_size, shape_of, text_encoders_of
from loratui.engine.planning.measured import Measurement, Recalled, recall
from loratui.engine.planning.recipe import Recipe
from loratui.engine.planning.schedule import Plan
from loratui.presets.schema import Settings

Range = tuple[float, float]
"""(least, most)."""

PNG_BYTES_PER_PX = 1.6
"""Of a sample picture, on average."""


@dataclass(frozen=True)
class Machine:
    """What is known of the machine that would train."""

    gpu: str = ""
    """The driver's name of the card; empty without one."""
    vram_gib: float | None = None
    ram_gib: float | None = None


@dataclass(frozen=True)
class Disk:
    """Bytes that a run writes, and downloads before it."""

    checkpoints: int
    """At the fullest moment: those kept and the one being written."""
    outputs: int
    samples: int
    cache: int
    download: int

    @property
    def run(self) -> int:
        """Bytes in the run directory."""
        return self.checkpoints + self.outputs + self.samples + self.cache


@dataclass(frozen=True)
class Cost:
    """What training takes on one machine."""

    machine: str
    time_s: Range
    vram_gib: Range | None
    """None without a GPU."""
    ram_gib: Range
    fits: str
    """`yes`, `with savings`, `no`, or empty where nothing is known."""
    money: Range | None
    """In the unit of the price an hour; None without a price."""
    source: str


@dataclass(frozen=True)
class Estimate:
    """Everything that a plan costs."""

    lora: LoraSize
    disk: Disk
    here: Cost
    """On this machine."""
    elsewhere: tuple[Cost, ...]
    """On the cards that are usually rented."""

    def to_json(self) -> dict[str, Any]:
        """The estimate with the stable keys of `loratui plan --json`; bytes, seconds and GiB."""
        return {
            "lora": dataclasses.asdict(self.lora),
            "disk": {**dataclasses.asdict(self.disk), "run": self.disk.run},
            "here": dataclasses.asdict(self.here),
            "elsewhere": [dataclasses.asdict(cost) for cost in self.elsewhere],
        }


def estimate(
    recipe: Recipe,
    plan: Plan,
    machine: Machine | None = None,
    *,
    price_per_hour: float | None = None,
    measurements: Sequence[Measurement] = (),
) -> Estimate:
    """The costs of `plan`: for this machine from earlier runs where there are any, else from the table."""
    settings = recipe.settings
    machine = machine or Machine()
    lora = _lora(settings)
    known = figures_for(settings)
    remembered = recall(
        measurements,
        gpu=machine.gpu or "cpu",
        model=settings.base.model,
        resolution=settings.dataset.resolution,
        batch_size=settings.training.batch_size,
    )
    return Estimate(
        lora=lora,
        disk=_disk(settings, plan, lora, known),
        here=_here(settings, plan, lora, known, machine, remembered, price_per_hour),
        elsewhere=tuple(_on_card(settings, plan, lora, known, card) for card in figures.CARDS),
    )


def figures_for(settings: Settings) -> FamilyFigures:
    """The table's row for the recipe's base."""
    embedded = settings.base.model.startswith("embedded:")
    return figures.EMBEDDED if embedded else figures.FAMILIES[settings.base.family]


def training_image_steps(settings: Settings, plan: Plan, known: FamilyFigures) -> float:
    """Image-steps of training, with the samples in between counted as what they equal.

    A pass of the denoiser without gradients costs about half of an image-step.
    """
    samples = settings.samples
    area = _area(samples.width or settings.dataset.resolution, samples.height or settings.dataset.resolution)
    a_sample = samples.steps * known.guidance_passes * 0.5 * area / settings.dataset.resolution**2
    return plan.image_steps + sample_count(settings, plan) * a_sample


def sample_count(settings: Settings, plan: Plan) -> int:
    """How many sample pictures a run makes: each so many image-steps, always at the end, and before it if wanted."""
    every = settings.samples.every_image_steps or plan.image_steps_per_epoch
    times = math.ceil(plan.image_steps / every) + int(settings.samples.before_training)
    return times * len(settings.samples.prompts)


def vram_range(settings: Settings, lora: LoraSize, known: FamilyFigures) -> Range:
    """Least and most GPU memory, GiB: with all savings and with none, or narrower where the recipe decides."""
    scale = (settings.dataset.resolution / known.resolution) ** 2 * settings.training.batch_size
    saved, full = (a * scale for a in known.activations_gib)
    match settings.memory.gradient_checkpointing:
        case "on":
            full = saved * 1.3
        case "off":
            saved = full * 0.8
        case "auto":
            pass
    # LoRA, gradient and two moments: 4 × 4 bytes a parameter, or moments of one byte each.
    state_low, state_high = (lora.parameters * n / 2**30 for n in (10, 16))
    low, high = known.weights_gib
    return (
        low + saved + state_low + figures.GPU_CONTEXT_GIB,
        high + full + state_high + figures.GPU_CONTEXT_GIB,
    )


def keeps_activations(settings: Settings, usable_gib: float) -> bool:
    """Whether training fits into so much GPU memory without computing activations twice."""
    kept = dataclasses.replace(settings, memory=dataclasses.replace(settings.memory, gradient_checkpointing="off"))
    return vram_range(kept, _lora(kept), figures_for(kept))[1] <= usable_gib


def _here(
    settings: Settings,
    plan: Plan,
    lora: LoraSize,
    known: FamilyFigures,
    machine: Machine,
    remembered: Recalled | None,
    price: float | None,
) -> Cost:
    known_card = figures.card(machine.gpu) if machine.gpu else None
    if remembered:
        picture_s = remembered.image_step_s
        what = "this machine" if remembered.same else "this machine at another size, scaled"
        source = f"measured: {remembered.runs} earlier run{'s' if remembered.runs > 1 else ''} on {what}"
    elif known_card:
        picture_s, source = _picture_s(settings, known, known_card), f"table: {known.source}"
    elif machine.gpu:
        slowest, fastest = (_picture_s(settings, known, c) for c in (figures.CARDS[0], figures.CARDS[-1]))
        picture_s, source = (fastest[0], slowest[1]), f"table, card not in it: {known.source}"
    else:
        picture_s, source = _cpu_picture_s(settings, known), f"table, CPU: {known.source}"
    vram = None
    if machine.gpu:
        vram = vram_range(settings, lora, known)
        if remembered and remembered.peak_vram_gib:
            vram = (remembered.peak_vram_gib, remembered.peak_vram_gib * 1.1)
    ram = known.ram_gib
    if remembered and remembered.peak_ram_gib:
        ram = (remembered.peak_ram_gib, remembered.peak_ram_gib * 1.1)
    time_s = _time_s(settings, plan, known, picture_s)
    memory = machine.vram_gib or (known_card.memory_gib if known_card else None)
    return Cost(
        machine=machine.gpu or "CPU",
        time_s=time_s,
        vram_gib=_rounded(vram) if vram else None,
        ram_gib=_rounded(ram),
        fits=_fits(vram, memory),
        money=_money(time_s, price),
        source=source,
    )


def _on_card(settings: Settings, plan: Plan, lora: LoraSize, known: FamilyFigures, card: Card) -> Cost:
    vram = vram_range(settings, lora, known)
    return Cost(
        machine=card.name,
        time_s=_time_s(settings, plan, known, _picture_s(settings, known, card)),
        vram_gib=_rounded(vram),
        ram_gib=known.ram_gib,
        fits=_fits(vram, card.memory_gib),
        money=None,
        source=f"table: {known.source}",
    )


def _picture_s(settings: Settings, known: FamilyFigures, card: Card) -> Range:
    """Seconds for one image-step: arithmetic at the share of the peak that trainers reach, and launching."""
    tflop = known.tflop * (settings.dataset.resolution / known.resolution) ** 2
    slow, fast = known.share_of_peak
    quick, sluggish = (s / settings.training.batch_size for s in known.overhead_s)
    return tflop / (card.peak_tflops * fast) + quick, tflop / (card.peak_tflops * slow) + sluggish


def _cpu_picture_s(settings: Settings, known: FamilyFigures) -> Range:
    scale = (settings.dataset.resolution / known.resolution) ** 2
    if known is figures.EMBEDDED:
        low, high = figures.EMBEDDED_CPU_S
        return low * scale, high * scale
    slow, fast = figures.CPU_TFLOPS
    return known.tflop * scale / fast, known.tflop * scale / slow


def _time_s(settings: Settings, plan: Plan, known: FamilyFigures, picture_s: Range) -> Range:
    work = training_image_steps(settings, plan, known)
    low, high = (work * s + load for s, load in zip(picture_s, known.load_s, strict=True))
    return _two_digits(low), _two_digits(high)


def _lora(settings: Settings) -> LoraSize:
    path, family = base_path(settings.base.model), settings.base.family
    shape = shape_of(path) if path and family != "flux" else None
    return lora_size(
        family,
        settings.adapter,
        precision=settings.output.precision,
        shape=shape,
        text_encoders=text_encoders_of(family, path) if settings.training.train_text_encoder else None,
        clip_skip=settings.base.clip_skip,
    )


def _disk(settings: Settings, plan: Plan, lora: LoraSize, known: FamilyFigures) -> Disk:
    samples = settings.samples
    side = settings.dataset.resolution
    pictures = plan.images + plan.regularisation_images
    files = math.ceil(plan.epochs / settings.output.save_every_epochs) + 1
    here = base_path(settings.base.model) is not None
    return Disk(
        checkpoints=(settings.output.keep_checkpoints + 1) * lora.parameters * 12,  # LoRA and two moments, fp32
        outputs=files * lora.bytes,
        samples=int(sample_count(settings, plan) * _area(samples.width or side, samples.height or side) * PNG_BYTES_PER_PX),
        cache=int(pictures * (side**2 * known.latent_bytes_per_px + known.text_bytes)),
        download=0 if here else known.download_bytes,
    )


def _fits(vram: Range | None, memory_gib: float | None) -> str:
    if vram is None or memory_gib is None:
        return ""
    if memory_gib >= vram[1]:
        return "yes"
    return "with savings" if memory_gib >= vram[0] else "no"


def _money(time_s: Range, price_per_hour: float | None) -> Range | None:
    if price_per_hour is None:
        return None
    low, high = (round(t / 3600 * price_per_hour, 2) for t in time_s)
    return low, high


def _two_digits(value: float) -> float:
    """Two significant digits: a range, never a false precision."""
    if value <= 0:
        return 0.0
    digits = 1 - math.floor(math.log10(value))
    return round(value, digits)


def _rounded(values: Range) -> Range:
    return round(values[0], 1), round(values[1], 1)


def _area(width: int, height: int) -> int:
    return width * height
