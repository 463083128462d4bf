"""What every job needs before it can begin: the run's settings, its images, a device, and the base model."""

from __future__ import annotations

import dataclasses
import math
import os
from dataclasses import dataclass, field

import torch
from torch.distributed import ProcessGroup

from loratui.engine import families
from loratui.engine.dataset.ledger import Ledger, read_ledger
from loratui.engine.errors import OutOfMemoryError, UsageError
from loratui.engine.families import fingerprints
from loratui.engine.families.model import LoadOptions, Model, load_model
from loratui.engine.families.parts import is_mixed
from loratui.engine.findings import Finding
from loratui.engine.formats.layers import Part
from loratui.engine.machine import accelerator, hardware
from loratui.engine.planning import figures
from loratui.engine.planning.adapter_rules import contradictions
from loratui.engine.planning.bases import find_base
from loratui.engine.planning.family_rules import misfits
from loratui.engine.planning.memory_misfits import untried
from loratui.engine.planning.memory_need import Facts
from loratui.engine.planning.memory_plan import MemoryPlan, decide
from loratui.engine.planning.precision import TORCH_NAMES
from loratui.engine.planning.recipe import read_recipe
from loratui.engine.planning.targets import denoiser_patterns, text_layers_used, text_patterns
from loratui.engine.planning.validation_grid import filled, words
from loratui.engine.planning.world import ALONE, World
from loratui.engine.runs.directory import RunDirectory
from loratui.engine.runs.lora_files import output_name
from loratui.engine.runs.state_file import read_state
from loratui.engine.training.adapters.adapter import LoraAdapter
from loratui.engine.training.adapters.build import Target, add_adapters
from loratui.engine.training.compiling_ahead import CompilingAhead
from loratui.engine.training.frozen.blocks import Blocks
from loratui.engine.training.frozen.place import place
from loratui.engine.training.team import Team
from loratui.engine.training.torch_facts import gather
from loratui.engine.words import GIB
from loratui.presets.schema import Memory, Settings, replace


@dataclass(frozen=True)
class Job:
    """A run as a trainer process sees it."""

    run: RunDirectory
    settings: Settings
    preset: str
    ledger: Ledger
    device: torch.device
    memory_plan: MemoryPlan
    facts: Facts
    """What the memory plan was decided by."""
    card: accelerator.Card | None = None
    """The GPU that trains; None on a CPU."""
    team: Team = field(default_factory=Team)
    """The processes that train it."""
    ahead: CompilingAhead | None = None
    """What compiles its blocks while this process loads."""

    @property
    def world(self) -> World:
        """The place of this process among them."""
        return self.team.world

    @property
    def group(self) -> ProcessGroup | None:
        """With which they add up their results; None for a single process."""
        return self.team.gradients

    def prompt(self, template: str) -> str:
        """A prompt with `{subject}`, `{trigger}` and `{class}` filled in."""
        return filled(template, words(self.settings))

    @property
    def dtype(self) -> torch.dtype:
        """Number format of the frozen base; the LoRA is fp32."""
        found: torch.dtype = getattr(torch, TORCH_NAMES[self.memory_plan.precision])
        return found

    @property
    def mixed(self) -> bool:
        """Whether it computes under autocast: the base in few bits, sums and norms in fp32."""
        return is_mixed(self.device, self.dtype)

    @property
    def trained_images(self) -> int:
        """Images that are trained on, without regularisation images."""
        return sum(1 for entry in self.ledger.images if entry.repeats and not entry.regularisation)

    @property
    def output_name(self) -> str:
        """Name of the LoRA files, without step and ending."""
        return output_name(self.settings)


def read_job(
    run: RunDirectory,
    job: str = "train",
    *,
    computes: bool = True,
    team: Team | None = None,
    failed: frozenset[str] = frozenset(),
) -> Job:
    """The job of a run directory. `computes` False: nothing is trained or sampled, so the CPU is enough. `failed` are memory plans
    that are not tried, beside those with which the run was out of memory before.

    `team` None: this process trains alone.
    Raises `UsageError` and `DatasetError` for unusable files, `UsageError` for an unusable GPU, and `OutOfMemoryError` where no memory
    plan is left.
    """
    recipe = read_recipe(run.effective)
    settings, team = recipe.settings, team or Team()
    if team.world.size > settings.training.window_batches:
        raise UsageError(
            f"A step of this run has {settings.training.window_batches} batches, too few for {team.world.size} processes.",
            f"Start fewer, or a new run with --gpus {team.world.size}.",
        )
    on_cpu = settings.memory.device == "cpu" or not computes
    card = None if on_cpu else usable_card()
    device = torch.device("cpu" if card is None else "cuda:0")
    configure_torch(device, settings.memory, team.world)
    team = team.on(device)
    failed |= failed_before(run, job, device_name(device)) if card else frozenset()
    facts = memory_facts(settings if computes else replace(settings, {"training.precision": "fp32"}), card, team, failed)
    memory_plan = decide_memory(facts)
    if not team.same(memory_plan.name):
        raise UsageError(
            f"The GPUs of this run are of different kinds: here the memory plan is {memory_plan.name}, elsewhere another.",
            "Train it on GPUs of one kind, or force a plan that all can carry out (memory.plan).",
        )
    return Job(run, settings, recipe.preset, read_ledger(run.dataset), device, memory_plan, facts, card, team)


def same_job(run: RunDirectory, *, free_gib: float, host_gib: float, failed: frozenset[str]) -> Job:
    """The job of a run as its trainer sees it, which found so much memory. Raises as `read_job`."""
    recipe = read_recipe(run.effective)
    card = usable_card()
    device = torch.device("cpu" if card is None else "cuda:0")
    configure_torch(device, recipe.settings.memory)
    facts = dataclasses.replace(Facts.of(recipe.settings, card, free_gib), host_gib=host_gib, failed=failed)
    return Job(run, recipe.settings, recipe.preset, read_ledger(run.dataset), device, decide_memory(facts), facts, card)


def usable_card() -> accelerator.Card | None:
    """The card to train on; None where the machine has none. Raises `UsageError` for a card that torch cannot use, since nobody
    rents a GPU to train on its CPU, and `GpuLostError` for one that does not respond."""
    listed, visible = hardware.listing(hardware.NVML_COLD_S), os.environ.get(accelerator.VISIBLE)
    here = accelerator.judge(listed, accelerator.facts_of(gather()), visible)
    if here.problem:
        raise here.refusal()
    return here.card


def configure_torch(device: torch.device, memory: Memory, world: World = ALONE) -> None:
    """Sets the threads, on a CPU the same bits in each run, and on a GPU the most memory that torch may take."""
    torch.set_num_threads(memory.threads or hardware.allowed_cpus() // world.local_size or 1)
    if device.type == "cpu":
        torch.use_deterministic_algorithms(True, warn_only=True)
    else:
        torch.backends.cuda.matmul.allow_tf32 = True
        torch.backends.cudnn.allow_tf32 = True
        if memory.limit_gib:
            total = torch.cuda.get_device_properties(device).total_memory
            torch.cuda.set_per_process_memory_fraction(min(1.0, memory.limit_gib * GIB / total), device)


def device_name(device: torch.device) -> str:
    """What computes, in words."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"


def failed_before(run: RunDirectory, job: str, device: str) -> frozenset[str]:
    """The memory plans with which this run, or the validation that is being made, was out of memory on this device."""
    trained = read_state(run)
    failed = trained.failed_plans if trained.device == device else ()
    return frozenset((*failed, *(read_state(run, job).failed_plans if job == "validate" else ())))


def memory_facts(settings: Settings, card: accelerator.Card | None, team: Team, failed: frozenset[str]) -> Facts:
    """What a memory plan is decided by, from the memory that is free now, before anything is loaded."""
    free_gib = team.least(math.inf if card is None else torch.cuda.mem_get_info()[0] / GIB)
    host_gib = team.least(hardware.ram().free_gib / team.world.local_size) or math.inf
    facts = dataclasses.replace(Facts.of(settings, card, free_gib), host_gib=host_gib, failed=failed)
    return named(facts)


def named(facts: Facts) -> Facts:
    """The facts with the programs that hold memory of the card, where they hold some. Asks the driver."""
    if facts.card is None or not facts.held_gib:
        return facts
    on_it = (gpu.held_by for gpu in hardware.gpus() if gpu.uuid and gpu.uuid == facts.card.uuid)
    return dataclasses.replace(facts, held_by=next(on_it, ()))


def decide_memory(facts: Facts) -> MemoryPlan:
    """The plan. Raises `UsageError` where the card cannot train this, and `OutOfMemoryError` where no plan is left to try."""
    found = decide(facts)
    if isinstance(found, Finding):
        none_left = found.key == "memory.no_plan_left"
        found = untried(facts) if none_left else found
        raise (OutOfMemoryError if none_left else UsageError)(found.message, found.remedy)
    return found


def load_base(job: Job) -> Model:
    """The base model of a job; each part is loaded when it is first needed: onto the device, or where the memory plan wants it.

    Raises `UsageError` for a base that is missing, incomplete, or of another family than the recipe says, and for settings
    without meaning for its family.
    """
    settings = job.settings
    for misfit in misfits(settings):
        raise UsageError(misfit.message, misfit.remedy)
    plan = job.memory_plan
    options = LoadOptions(
        job.device,
        job.dtype,
        fingerprints.shared(job.run.fingerprints),
        denoiser_on_host=plan.on_host,
        text_streamed=plan.text_streamed,
        vae_tiled=plan.vae_tiled,
        tile_px=figures.TILE_PX,
    )
    return load_model(find_base(settings.base), settings, options)


def place_on_card(job: Job, model: Model, adapter: LoraAdapter) -> Blocks:
    """Puts the denoiser with its LoRA where the memory plan wants it."""
    return place(
        model.denoiser,
        adapter,
        job.memory_plan,
        families.family(job.settings.base.family),
        model.join_projections,
        device=job.device,
        dtype=job.dtype,
        draws=job.settings.adapter.drops,
    )


def add_adapter(job: Job, model: Model) -> LoraAdapter:
    """A new LoRA on the base with the job's settings: on the denoiser and, where they are trained, the text encoders.

    Raises `UsageError` for contradictory settings, and where no layer matches.
    """
    settings = job.settings
    adapter, name = settings.adapter, settings.base.family
    for found in contradictions(settings):
        raise UsageError(found.message, found.remedy)
    targets: dict[Part, Target] = {"denoiser": Target(model.denoiser, denoiser_patterns(name, adapter.targets), adapter)}
    if settings.training.train_text_encoder:
        for part, encoder in model.text_encoders.items():
            layers = int(encoder.config.num_hidden_layers)  # type: ignore[union-attr, arg-type]  # transformers' own
            used = text_layers_used(name, part, layers, settings.base.clip_skip)
            targets[part] = Target(encoder, text_patterns(adapter.targets, used), adapter)
    return add_adapters(targets, seed=settings.training.seed)
