"""What a plan will cost: LoRA file, memory, disk, time and money, as ranges with their source."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from loratui.engine.families.figures import FamilyFigures, Range
from loratui.engine.findings import Finding
from loratui.engine.machine.accelerator import NO_GPU, Accelerator
from loratui.engine.machine.accelerator import Card as UsedCard
from loratui.engine.planning import figures, loss_measuring, rungs, step_time
from loratui.engine.planning.disk import Disk, checkpoint_bytes, disk_of, sample_area, sample_count
from loratui.engine.planning.figures import Card
from loratui.engine.planning.lora_size import LoraSize
from loratui.engine.planning.measured import Measurement, Recalled, recall, work_of
from loratui.engine.planning.memory_need import Facts
from loratui.engine.planning.memory_plan import Fits, MemoryPlan, decide
from loratui.engine.planning.plan import Plan
from loratui.engine.planning.recipe import Recipe
from loratui.engine.words import count
from loratui.presets.schema import Settings

WRITING_BYTES_PER_S = 0.5e9
"""Of a checkpoint, read back and compared: 1 GB took 2 s."""
DECODING_S = 0.5
"""Of a sample image, at the family's own resolution."""
WIDEST = 1.7
"""A range whose ends differ by a larger factor says too little to show; in a run of minutes it does not matter."""
SHORT_S = 300.0

UNKNOWN = "time unknown until the preflight has run one real step"


@dataclass(frozen=True)
class Cost:
    """What training takes on one machine."""

    machine: str
    time_s: Range | None
    """None if it cannot be estimated."""
    vram_gib: Range | None
    """Of the memory plan that fits there, else of the smallest; None without a GPU, or if unknown."""
    ram_gib: Range
    fits: Fits
    """As in `MemoryPlan`."""
    memory_plan: str
    """Its name; empty where nothing can be trained."""
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
    here: Accelerator = NO_GPU,
    *,
    price_per_hour: float | None = None,
    measurements: Sequence[Measurement] = (),
) -> Estimate:
    """The costs of `plan`: for this machine from earlier runs where there are any, else from the table."""
    settings, plan = recipe.settings, plan.to_come()
    if settings.memory.device == "cpu":
        here = NO_GPU
    case = _Case(Facts.here(settings, here), plan)
    return Estimate(
        lora=case.facts.lora,
        disk=disk_of(settings, plan, case.facts.lora),
        here=_here(case, here.problem, measurements, price_per_hour),
        elsewhere=()
        if case.settings.base.is_embedded
        else tuple(_on_card(case, card) for card in figures.CARDS if card.listed),
    )


@dataclass(frozen=True)
class _Case:
    facts: Facts
    plan: Plan

    @property
    def settings(self) -> Settings:
        return self.facts.settings

    @property
    def known(self) -> FamilyFigures:
        return self.facts.figures

    @property
    def own_image_steps(self) -> float:
        """Image-steps of each of the processes that share the training."""
        return self.plan.image_steps / self.settings.training.processes

    @property
    def work(self) -> float:
        """These, and what takes as long as so many of them."""
        return self.own_image_steps + loss_measuring.as_image_steps(self.plan)

    def for_all(self, ram_gib: Range) -> Range:
        """Main memory of all processes, of which each loads the base."""
        return ram_gib[0] * self.settings.training.processes, ram_gib[1] * self.settings.training.processes


def _here(case: _Case, problem: str, measurements: Sequence[Measurement], price: float | None) -> Cost:
    card = case.facts.card
    if problem:
        return _refused("unusable", case, "time unknown while the GPU cannot be used", "")
    found = decide(case.facts)
    if isinstance(found, Finding):
        return _refused(card.name if card else "CPU", case, found.message.removesuffix("."), "memory unknown")
    remembered = _remembered(case, found, measurements)
    gib, memory_source = _memory(case, found)
    ram = figures.EMBEDDED_RAM_GIB if case.settings.base.is_embedded else _ram(case, found)
    if remembered and remembered.peak_vram_gib:
        gib, memory_source = _measured_gib(case, remembered.peak_vram_gib), "memory measured on this machine"
    if remembered and remembered.peak_ram_gib:
        ram = (remembered.peak_ram_gib, remembered.peak_ram_gib * 1.1)
    time = _time(case, found, remembered)
    return _cost(card.name if card else "CPU", found, time, gib, case.for_all(ram), memory_source if card else "", price)


def _on_card(case: _Case, card: Card) -> Cost:
    used = UsedCard(card.name, card.memory_gib, card.capability)
    case = dataclasses.replace(case, facts=dataclasses.replace(case.facts.alone, card=used, host_gib=math.inf))
    found = decide(case.facts)
    if isinstance(found, Finding):
        return _refused(card.name, case, found.message.removesuffix("."), "memory unknown")
    gib, memory_source = _memory(case, found)
    return _cost(card.name, found, _by_table(case, card, found), gib, case.for_all(_ram(case, found)), memory_source, None)


def _remembered(case: _Case, found: MemoryPlan, measurements: Sequence[Measurement]) -> Recalled | None:
    settings, card = case.settings, case.facts.card
    return recall(
        measurements,
        gpu=card.name if card else "cpu",
        model=settings.base.model,
        resolution=settings.dataset.resolution,
        batch_size=settings.training.batch_size,
        work=work_of(settings, found.name),
    )


def _ram(case: _Case, found: MemoryPlan) -> Range:
    """Main memory, with what is pinned for blocks that are swapped."""
    pinned = rungs.host_gib(case.known, found.rung, found.base) if found.placement == "gpu" else 0.0
    low, high = case.known.ram_gib
    return low + pinned, high + pinned


def _memory(case: _Case, found: MemoryPlan) -> tuple[Range | None, str]:
    """GPU memory, and where that comes from."""
    settings, known = case.settings, case.known
    if case.settings.base.is_embedded:
        return figures.EMBEDDED_GIB if found.placement == "gpu" else None, "memory typical of a tiny base"
    if found.need is None:
        return None, "memory unknown"
    plain = settings.adapter.kind in ("lora", "locon") and not (settings.adapter.dora or settings.training.train_text_encoder)
    as_measured = plain and settings.dataset.resolution == known.resolution
    as_measured = as_measured and settings.training.batch_size in known.measured_batches
    most = (found.need.training if found.fits == "without samples" else found.need.most) + figures.GPU_CONTEXT_GIB
    source = f"memory {'measured on' if as_measured else 'scaled from'} an {figures.MEASURED_ON.name}"
    return (most * 0.95, most), source  # what was measured lies below: see the tests


def _measured_gib(case: _Case, torch_gib: float) -> Range:
    """GPU memory of a run like one that was measured, with all that the process holds: no more than this run may take."""
    held = torch_gib + figures.GPU_CONTEXT_GIB
    return held, max(held, min(held * 1.1, case.facts.room_gib + figures.GPU_CONTEXT_GIB))


@dataclass(frozen=True)
class _Time:
    seconds: Range | None
    source: str

    def if_it_prices(self) -> _Time:
        """Itself, or unknown if its ends are too far apart to say anything."""
        if self.seconds is None or self.seconds[1] <= SHORT_S or self.seconds[1] <= WIDEST * self.seconds[0]:
            return self
        return _Time(None, UNKNOWN)


def _time(case: _Case, found: MemoryPlan, remembered: Recalled | None) -> _Time:
    card = case.facts.card
    if remembered:
        return _by_memory(case, found, remembered)
    if case.settings.base.is_embedded:
        return _Time(None, UNKNOWN) if card else _embedded_on_a_cpu(case)
    if card is None:
        return _Time(None, f"{UNKNOWN}; on a CPU, a base of this size takes days")
    listed = figures.card(card.name)
    if listed and card.link_gb_s:
        listed = dataclasses.replace(listed, link_gb_s=card.link_gb_s)
    return _by_table(case, listed, found) if listed else _Time(None, f"{UNKNOWN}; no figures for this card")


def _by_table(case: _Case, card: Card, found: MemoryPlan) -> _Time:
    settings, plan, known = case.settings, case.plan, case.known
    cost = step_time.step_cost(settings, known, card, found, plan.optimizer_steps)
    if isinstance(cost, str):
        return _Time(None, f"{UNKNOWN}; {cost}")
    passes = settings.samples.steps * (known.guidance_passes if settings.samples.guidance != 1 else 1)
    area = sample_area(settings) / known.resolution**2
    each = [passes * second * area + DECODING_S for second in cost.sample_pass_s]
    low, high = (
        case.work * step_s + sample_count(settings, plan) * sample_s + load_s + _writing_s(case) * share
        for step_s, sample_s, load_s, share in zip(cost.image_step_s, each, known.load_s, (0.5, 1.0), strict=True)
    )
    compiling = figures.COMPILE_S if cost.compiles else 0.0
    source = f"time measured on an {figures.MEASURED_ON.name}"
    if card.name != figures.MEASURED_ON.name:
        source = f"time scaled from an {figures.MEASURED_ON.name} by compute and memory bandwidth"
    return _Time((_two_digits(low + compiling / 2), _two_digits(high + compiling)), source).if_it_prices()


def _by_memory(case: _Case, found: MemoryPlan, remembered: Recalled) -> _Time:
    """From the step that was measured here; one that was not compiled is compiled where the run is long enough."""
    settings, plan, known = case.settings, case.plan, case.known
    middle = sum(remembered.image_step_s) / 2
    steps = plan.optimizer_steps * settings.training.accumulation
    compiles = not remembered.compiled and found.pays_to_compile(known, middle * settings.training.batch_size, steps)
    share, extra = (1 - known.compiled_share, figures.COMPILE_S) if compiles else (1.0, 0.0)
    load = figures.EMBEDDED_LOAD_S if case.settings.base.is_embedded else known.load_s
    passes = settings.samples.steps * (known.guidance_passes if settings.samples.guidance != 1 else 1)
    samples = (
        sample_count(settings, plan) * passes * loss_measuring.PASS * sample_area(settings) / settings.dataset.resolution**2
    )
    low, high = (
        s * (case.work * share + samples) + load_s + extra for s, load_s in zip(remembered.image_step_s, load, strict=True)
    )
    scaled = "" if remembered.same else ", scaled from other settings"
    source = f"time measured in {count(remembered.runs, 'earlier run')} on this machine{scaled}"
    return _Time((_two_digits(low), _two_digits(high)), source)


def _embedded_on_a_cpu(case: _Case) -> _Time:
    settings, plan = case.settings, case.plan
    scale = (settings.dataset.resolution / figures.EMBEDDED_RESOLUTION) ** 2
    samples = sample_count(settings, plan) * settings.samples.steps * 2 * loss_measuring.PASS
    work = case.work + samples * sample_area(settings) / settings.dataset.resolution**2
    low, high = (work * s * scale + load for s, load in zip(figures.EMBEDDED_CPU_S, figures.EMBEDDED_LOAD_S, strict=True))
    return _Time((_two_digits(low), _two_digits(high)), "time measured on two CPU cores").if_it_prices()


def _writing_s(case: _Case) -> float:
    """Of all checkpoints and LoRA files."""
    return case.plan.epochs * checkpoint_bytes(case.settings, case.facts.lora) / WRITING_BYTES_PER_S


def _cost(
    machine: str, found: MemoryPlan, time: _Time, gib: Range | None, ram: Range, memory_source: str, price: float | None
) -> Cost:
    if found.fits == "no":
        time = _Time(None, "time unknown because the training does not fit")
    return Cost(
        machine=machine,
        time_s=time.seconds,
        vram_gib=_rounded(gib) if gib else None,
        ram_gib=_rounded(ram),
        fits=found.fits,
        memory_plan=found.name,
        money=_money(time.seconds, price),
        source="; ".join(filter(None, (time.source, memory_source))),
        time_source=time.source,
        memory_source=memory_source,
    )


def _refused(machine: str, case: _Case, why: str, memory_source: str) -> Cost:
    """Of a machine that cannot train this."""
    source = "; ".join(filter(None, (why, memory_source)))
    return Cost(machine, None, None, _rounded(case.for_all(case.known.ram_gib)), "no", "", None, source, why, memory_source)


def _money(time_s: Range | None, price_per_hour: float | None) -> Range | None:
    if price_per_hour is None or time_s is None:
        return None
    low, high = (round(t / 3600 * price_per_hour, 2) for t in time_s)
    return low, high


def _two_digits(value: float) -> float:
    """Two significant digits: a range, never a false precision."""
    return float(f"{value:.2g}")


def _rounded(values: Range) -> Range:
    return round(values[0], 1), round(values[1], 1)
