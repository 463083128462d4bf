"""What a plan will cost: LoRA file, memory, disk, time and money, as ranges with their source."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from loratui.engine import families
from loratui.engine.dataset.caption_choice import makes_several
from loratui.engine.families.figures import FamilyFigures
from loratui.engine.families.figures import Range as Range
from loratui.engine.machine import hardware
from loratui.engine.machine.accelerator import NO_GPU, Accelerator, accelerator
from loratui.engine.machine.accelerator import Card as UsedCard
from loratui.engine.planning import figures, memory_plans, step_time
from loratui.engine.planning.bases import base_path
from loratui.engine.planning.figures import Card
from loratui.engine.planning.lora_size import LoraSize, denoiser_config, lora_size, text_encoders_of
from loratui.engine.planning.measured import Measurement, Recalled, recall, work_of
from loratui.engine.planning.memory_plans import Way
from loratui.engine.planning.plan import Plan
from loratui.engine.planning.precision import FP16_ALONE, HAS_BF16, choose, in_format
from loratui.engine.planning.recipe import Recipe
from loratui.presets.schema import Settings

PNG_BYTES_PER_PX = 1.6
"""Of a sample image, on average."""
WRITING_BYTES_PER_S = 0.5e9
"""Of a checkpoint, read back and compared: 1 GB took 2 s."""
DECODING_S = 0.5
"""Of a sample image, at the family's own resolution."""
WIDEST = 1.7
"""A time whose ends differ by a larger factor prices nothing, and is not told; for a run of minutes it does not matter."""
SHORT_S = 300.0

UNKNOWN = "not known before one real step was made; the preflight makes it"


@dataclass(frozen=True)
class Machine:
    """What is known of the machine that would train."""

    gpu: str = ""
    """The driver's name of the card; empty without one."""
    vram_gib: float | None = None
    ram_gib: float | None = None
    accelerator: Accelerator = NO_GPU
    """What the first two were taken from, with what stands in the way of it."""

    @classmethod
    def here(cls) -> Machine:
        """This machine. Driver and torch are asked, which may take seconds."""
        found, memory = accelerator(), hardware.ram()
        card = found.card
        return cls(card.name if card else "", card.total_gib if card else None, memory.total_gib or None, found)

    def training(self, settings: Settings) -> Machine:
        """What of it trains with these settings: without the card, where the CPU is asked for by name."""
        return Machine(ram_gib=self.ram_gib) if settings.memory.device == "cpu" else self


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
    time_s: Range | None
    """None where nothing that would price the run is known."""
    vram_gib: Range | None
    """Of the way that fits there, else of the smallest that there is; None without a GPU, and where nothing is known."""
    ram_gib: Range
    fits: str
    """`yes`, `with savings` (activations computed again), `without samples` (they need more than the training), `no`, or
    empty where nothing is known."""
    money: Range | None
    """In the unit of the price an hour; None without a price or a time."""
    source: str
    """Where time and memory come from, in one sentence."""
    time_source: str
    memory_source: str


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
    machine = (machine or Machine()).training(settings)
    lora = _lora(settings)
    known = figures_for(settings)
    remembered = recall(
        measurements,
        gpu=machine.gpu or "cpu",
        model=settings.base.model,
        resolution=settings.dataset.resolution,
        batch_size=settings.training.batch_size,
        work=work_of(settings),
    )
    case = _Case(settings, plan, lora, known, embedded=settings.base.model.startswith("embedded:"))
    return Estimate(
        lora=lora,
        disk=_disk(settings, plan, lora, known),
        here=_here(case, machine, remembered, price_per_hour),
        elsewhere=() if case.embedded else tuple(_on_card(case, card) for card in figures.CARDS if card.listed),
    )


def figures_for(settings: Settings) -> FamilyFigures:
    """The table's row for the recipe's family."""
    return families.family(settings.base.family).figures


def sample_count(settings: Settings, plan: Plan) -> int:
    """How many sample images a run makes: each so many image-steps, always at the end, and before it if wanted."""
    every = settings.samples.every_image_steps or plan.image_steps_per_epoch
    times = math.ceil(plan.image_steps / every) + int(settings.samples.before_training)
    return times * len(settings.samples.prompts)


def vram_range(settings: Settings) -> Range:
    """GPU memory of the smallest way that the settings leave open and of the largest, GiB, with all that the process holds."""
    if settings.base.model.startswith("embedded:"):
        return figures.EMBEDDED_GIB
    lora, known = _lora(settings), figures_for(settings)
    needs = [
        memory_plans.need(settings, way, lora, known).most + figures.GPU_CONTEXT_GIB for way in memory_plans.ways(settings)
    ]
    return min(needs), max(needs)


def way_in(settings: Settings, room_gib: float) -> Way:
    """Whether training keeps activations or computes them again where torch can have so much GPU memory."""
    if settings.base.model.startswith("embedded:"):
        return memory_plans.ways(settings)[0]
    return memory_plans.chosen(settings, _lora(settings), figures_for(settings), room_gib)


def fits(settings: Settings, memory_gib: float) -> str:
    """What `Cost.fits` says of a card with so much memory."""
    return _Memory.on(settings, _lora(settings), figures_for(settings), memory_gib).fits


@dataclass(frozen=True)
class _Case:
    settings: Settings
    plan: Plan
    lora: LoraSize
    known: FamilyFigures
    embedded: bool


@dataclass(frozen=True)
class _Memory:
    """How a run lies in a card's memory."""

    way: Way
    gib: Range
    fits: str
    source: str

    @classmethod
    def on(cls, settings: Settings, lora: LoraSize, known: FamilyFigures, memory_gib: float) -> _Memory:
        """In a card with so much memory and nothing else in it."""
        if settings.base.model.startswith("embedded:"):
            return cls("kept", figures.EMBEDDED_GIB, "yes" if memory_gib > 2 * figures.EMBEDDED_GIB[1] else "", "a tiny base")
        room = memory_plans.room_gib(memory_gib)
        way = memory_plans.chosen(settings, lora, known, room)
        need = memory_plans.need(settings, way, lora, known)
        if need.training > room:
            found = "no"
        elif need.sampling > room:
            found = "without samples"
        else:
            found = "with savings" if way == "again" and settings.memory.gradient_checkpointing == "auto" else "yes"
        plain = settings.adapter.kind in ("lora", "locon") and not (
            settings.adapter.dora or settings.training.train_text_encoder
        )
        as_measured = plain and settings.dataset.resolution == known.resolution
        as_measured = as_measured and settings.training.batch_size in known.measured_batches
        source = f"memory {'measured on' if as_measured else 'scaled from'} an {figures.MEASURED_ON.name}"
        most = (need.training if found == "without samples" else need.most) + figures.GPU_CONTEXT_GIB
        return cls(way, (most * 0.95, most), found, source)  # what was measured lies below: see the tests


def _here(case: _Case, machine: Machine, remembered: Recalled | None, price: float | None) -> Cost:
    known_card = figures.card(machine.gpu) if machine.gpu else None
    total = machine.vram_gib or (known_card.memory_gib if known_card else None)
    if machine.accelerator.problem:
        time = _Time(None, "not known while the GPU cannot be used")
        return _cost("unusable", time, None, case.known.ram_gib, "no", "", price)
    own = machine.accelerator.card
    chosen = choose(case.settings, own) if own else None
    settings = in_format(case.settings, chosen.format) if chosen else case.settings
    memory = _Memory.on(settings, case.lora, case.known, total) if machine.gpu and total else None
    if memory and chosen is None and known_card and not known_card.bf16:
        memory = None
    time = _time(case, machine, known_card, memory.way if memory else "kept", remembered)
    if memory and memory.fits == "no":
        time = _Time(None, "not known, since it does not fit")
    if chosen and chosen.problem:
        return _cost(machine.gpu, _Time(None, chosen.problem), None, case.known.ram_gib, "no", "memory not known", price)
    gib, memory_source = (memory.gib, memory.source) if memory else (None, "memory not known")
    if memory and remembered and remembered.peak_vram_gib:
        gib, memory_source = (remembered.peak_vram_gib, remembered.peak_vram_gib * 1.1), "memory measured on this machine"
    ram = figures.EMBEDDED_RAM_GIB if case.embedded else case.known.ram_gib
    if remembered and remembered.peak_ram_gib:
        ram = (remembered.peak_ram_gib, remembered.peak_ram_gib * 1.1)
    return _cost(
        machine.gpu or "CPU", time, gib, ram, memory.fits if memory else "", memory_source if machine.gpu else "", price
    )


def _on_card(case: _Case, card: Card) -> Cost:
    chosen = choose(case.settings, UsedCard(card.name, card.memory_gib, HAS_BF16 if card.bf16 else FP16_ALONE))
    if chosen.problem:
        return _cost(card.name, _Time(None, chosen.problem), None, case.known.ram_gib, "no", "memory not known", None)
    memory = _Memory.on(in_format(case.settings, chosen.format), case.lora, case.known, card.memory_gib)
    time = _by_table(case, card, memory.way)
    if memory.fits == "no":
        time = _Time(None, "not known, since it does not fit")
    return _cost(card.name, time, memory.gib, case.known.ram_gib, memory.fits, memory.source, None)


@dataclass(frozen=True)
class _Time:
    seconds: Range | None
    source: str

    def if_it_prices(self) -> _Time:
        """Itself, or unknown where its ends are too far apart to say anything."""
        if self.seconds is None or self.seconds[1] <= SHORT_S or self.seconds[1] <= WIDEST * self.seconds[0]:
            return self
        return _Time(None, UNKNOWN)


def _time(case: _Case, machine: Machine, card: Card | None, way: Way, remembered: Recalled | None) -> _Time:
    if remembered:
        return _by_memory(case, remembered, on_gpu=bool(machine.gpu))
    if case.embedded:
        return _Time(None, UNKNOWN) if machine.gpu else _embedded_on_a_cpu(case)
    if not machine.gpu:
        return _Time(None, f"{UNKNOWN}; on a CPU a base of this size takes days")
    return _by_table(case, card, way) if card else _Time(None, f"{UNKNOWN}; no figures for this card")


def _by_table(case: _Case, card: Card, way: Way) -> _Time:
    settings, plan, known = case.settings, case.plan, case.known
    cost = step_time.step_cost(settings, known, card, way, plan.optimizer_steps)
    if isinstance(cost, str):
        return _Time(None, f"{UNKNOWN}; {cost}")
    passes = settings.samples.steps * (known.guidance_passes if settings.samples.guidance != 1 else 1)
    area = _sample_area(settings) / known.resolution**2
    each = [passes * second * area + DECODING_S for second in cost.sample_pass_s]
    low, high = (
        plan.image_steps * step_s + sample_count(settings, plan) * sample_s + load_s + _writing_s(case) * share
        for step_s, sample_s, load_s, share in zip(cost.image_step_s, each, known.load_s, (0.5, 1.0), strict=True)
    )
    compiling = figures.COMPILE_S if cost.compiles else 0.0
    how = "measured on" if card == figures.MEASURED_ON else "scaled by arithmetic and bandwidth from"
    found = (_two_digits(low + compiling / 2), _two_digits(high + compiling))
    return _Time(found, f"time {how} an {figures.MEASURED_ON.name}").if_it_prices()


def _by_memory(case: _Case, remembered: Recalled, *, on_gpu: bool) -> _Time:
    """From the step that was measured here; one that was not compiled is compiled where the run is long enough."""
    settings, plan, known = case.settings, case.plan, case.known
    middle = sum(remembered.image_step_s) / 2
    steps = plan.optimizer_steps * settings.training.accumulation
    compiles = on_gpu and not remembered.compiled
    compiles = compiles and step_time.will_compile(settings, known, middle * settings.training.batch_size, steps)
    share, extra = (1 - known.compiled_share, figures.COMPILE_S) if compiles else (1.0, 0.0)
    load = figures.EMBEDDED_LOAD_S if case.embedded else known.load_s
    # A pass of the denoiser without gradients costs about two fifths of an image-step.
    passes = settings.samples.steps * (known.guidance_passes if settings.samples.guidance != 1 else 1)
    samples = sample_count(settings, plan) * passes * 0.4 * _sample_area(settings) / settings.dataset.resolution**2
    low, high = (
        s * (plan.image_steps * share + samples) + load_s + extra
        for s, load_s in zip(remembered.image_step_s, load, strict=True)
    )
    what = "this machine" if remembered.same else "this machine with other settings, scaled"
    runs = f"{remembered.runs} earlier run{'s' if remembered.runs > 1 else ''}"
    return _Time((_two_digits(low), _two_digits(high)), f"time measured: {runs} on {what}")


def _embedded_on_a_cpu(case: _Case) -> _Time:
    settings, plan = case.settings, case.plan
    scale = (settings.dataset.resolution / figures.EMBEDDED_RESOLUTION) ** 2
    samples = sample_count(settings, plan) * settings.samples.steps * 2 * 0.4
    work = plan.image_steps + samples * _sample_area(settings) / settings.dataset.resolution**2
    low, high = (work * s * scale + load for s, load in zip(figures.EMBEDDED_CPU_S, figures.EMBEDDED_LOAD_S, strict=True))
    return _Time((_two_digits(low), _two_digits(high)), "time measured on two CPU cores").if_it_prices()


def _writing_s(case: _Case) -> float:
    """Checkpoints and LoRA files."""
    return case.plan.epochs * case.lora.parameters * 12 / WRITING_BYTES_PER_S


def _sample_area(settings: Settings) -> int:
    side = settings.dataset.resolution
    return _area(settings.samples.width or side, settings.samples.height or side)


def _cost(machine: str, time: _Time, gib: Range | None, ram: Range, fits: str, memory_source: str, price: float | None) -> Cost:
    return Cost(
        machine=machine,
        time_s=time.seconds,
        vram_gib=_rounded(gib) if gib else None,
        ram_gib=_rounded(ram),
        fits=fits,
        money=_money(time.seconds, price),
        source="; ".join(part for part in (time.source if time.seconds else f"time {time.source}", memory_source) if part),
        time_source=time.source,
        memory_source=memory_source,
    )


def _lora(settings: Settings) -> LoraSize:
    path, family = base_path(settings.base.model), settings.base.family
    return lora_size(
        family,
        settings.adapter,
        precision=settings.output.precision,
        config=denoiser_config(family, path),
        text_encoders=text_encoders_of(family, path) if settings.training.train_text_encoder else None,
        clip_skip=settings.base.clip_skip,
    )


def _disk(settings: Settings, plan: Plan, lora: LoraSize, known: FamilyFigures) -> Disk:
    samples = settings.samples
    side = settings.dataset.resolution
    images = plan.images + plan.regularisation_images
    text_bytes = known.text_bytes * (settings.dataset.caption_variants if makes_several(settings.dataset) else 1)
    files = math.ceil(plan.epochs / settings.output.save_every_epochs) + 1
    here = base_path(settings.base.model) is not None
    return Disk(
        checkpoints=(settings.output.keep_checkpoints + 1) * lora.parameters * 12,  # LoRA and two moments, fp32
        outputs=files * lora.bytes,
        samples=int(sample_count(settings, plan) * _area(samples.width or side, samples.height or side) * PNG_BYTES_PER_PX),
        cache=int(images * (side**2 * known.latent_bytes_per_px + text_bytes)),
        download=0 if here else known.download_bytes,
    )


def _money(time_s: Range | None, price_per_hour: float | None) -> Range | None:
    if price_per_hour is None or time_s is None:
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
