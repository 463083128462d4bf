"""Checks before a start, each with its remedy: base, disk, output folder, images, captions, and what follows the run."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from loratui.engine import families
from loratui.engine.dataset import held_out
from loratui.engine.dataset.inspect import Inspection
from loratui.engine.dataset.scan import DatasetScan
from loratui.engine.dataset.tokens import TokenCounter, counter_for
from loratui.engine.errors import ExitCode
from loratui.engine.findings import Finding, worst_first
from loratui.engine.limits import DISK_SPARE_BYTES
from loratui.engine.machine import hardware
from loratui.engine.machine.accelerator import Accelerator
from loratui.engine.machine.volume import missing_in
from loratui.engine.planning.adapter_rules import contradictions, dora_files, start_refusal
from loratui.engine.planning.base_checks import check_base
from loratui.engine.planning.bases import tokenizer_base
from loratui.engine.planning.ending_rules import check_ending
from loratui.engine.planning.estimate import estimate
from loratui.engine.planning.family_rules import guidance, misfits
from loratui.engine.planning.memory_misfits import misfits_of, price_of
from loratui.engine.planning.memory_need import Facts
from loratui.engine.planning.memory_plan import MemoryPlan, decide
from loratui.engine.planning.plan import Plan
from loratui.engine.planning.recipe import Recipe
from loratui.engine.words import size
from loratui.presets.bases import demo_dataset
from loratui.presets.schema import Settings

SETTING_RULES: tuple[Callable[[Settings], Iterator[Finding]], ...] = (
    contradictions,
    start_refusal,
    dora_files,
    misfits,
    guidance,
)
"""What of the settings contradicts itself, or means nothing to the family."""


def check(recipe: Recipe, images: Inspection, plan: Plan, home: Path, here: Accelerator) -> list[Finding]:
    """Everything that a person should know before the start on this machine, errors first. Of the images it is what `images` found."""
    of_images = {finding.code for finding in images.findings}
    return worst_first(
        [
            *check_settings(recipe),
            *check_machine(recipe, here),
            *check_tiny_base(recipe, images.scan),
            *check_held_out(recipe.settings, images.scan),
            *check_base(recipe.settings.base, scale_v_loss=recipe.settings.training.scale_v_loss),
            *check_home(home),
            *check_disk(recipe, plan, home),
            *check_ending(recipe.settings.when_finished, home),
            *images.findings,
            # The number of images is judged by both.
            *(finding for finding in plan.warnings if finding.code not in of_images),
        ]
    )


def check_settings(recipe: Recipe) -> Iterator[Finding]:
    """What the rules say of the settings alone."""
    return (finding for rule in SETTING_RULES for finding in rule(recipe.settings))


def check_plan(recipe: Recipe, plan: Plan, here: Accelerator | None) -> list[Finding]:
    """What can be said without the base and the images, errors first: settings that cannot be, and the plan's warnings.

    `here` None: the machine is not known yet, and nothing is said of it.
    """
    machine = () if here is None else check_machine(recipe, here)
    return worst_first([*check_settings(recipe), *machine, *plan.warnings])


def check_machine(recipe: Recipe, here: Accelerator) -> Iterator[Finding]:
    """Whether this machine can train as the recipe says."""
    settings = recipe.settings
    by_name = settings.memory.device == "cpu"
    if by_name and (here.card or here.problem):
        yield Finding.of("cpu_by_name", card=here.card.name if here.card else "the GPU")
    elif here.problem:
        code = "gpu_lost" if here.code == ExitCode.GPU_LOST else "gpu_unusable"
        yield Finding.of(code, problem=here.problem, remedy=here.remedy)
        return
    if not by_name and settings.training.processes > max(1, len(here.together)):
        there = len(here.together)
        fix = {"training.processes": max(1, there)}
        yield Finding.of("too_few_gpus", wanted=settings.training.processes, there=there, settings=fix)
    facts = Facts.here(settings, here)
    decided = decide(facts)
    if found := decided if isinstance(decided, Finding) else decided.found:
        yield found
    if isinstance(decided, MemoryPlan):
        yield from misfits_of(facts, decided)
        yield from price_of(decided, facts.settings)
    if settings.optimizer.name != "adamw8bit":
        return
    if by_name or here.card is None:
        key = "optimizer_machine.on_cpu" if by_name else "optimizer_machine"
        yield Finding.of(key, settings={"optimizer.name": "auto"})
    elif hardware.versions(["bitsandbytes"])["bitsandbytes"] is None:
        yield Finding.of("optimizer_machine.not_installed", settings={"optimizer.name": "adamw"})


def check_tiny_base(recipe: Recipe, scan: DatasetScan) -> Iterator[Finding]:
    """Whether somebody's own images are about to be trained on a base that nothing else can use."""
    model = recipe.settings.base.model
    if not model.startswith("embedded:"):
        return
    known = {path.name for path in demo_dataset().iterdir()}
    if not all(image.path.name in known for image in scan.images):
        yield Finding.of("tiny_base", base=model, preset=families.family(recipe.settings.base.family).default_preset)


def check_held_out(settings: Settings, scan: DatasetScan) -> Iterator[Finding]:
    """Whether the images that are to be held out are there."""
    gone = held_out.unknown(scan, settings.dataset)
    if gone:
        known = [name for name in settings.dataset.held_out if name not in gone]
        yield Finding.of("held_out_unknown", gone, settings={"dataset.held_out": known})
    elif settings.dataset.held_out == (held_out.AUTO,) and not any(map(held_out.how_many, held_out.by_folder(scan).values())):
        yield Finding.of("held_out_few", fewest=held_out.FEWEST, settings={"dataset.held_out": []})


_LACKS = {"locks": "has no locks", "sync": "cannot put a file on the disk for certain (fsync)", "links": "has no hard links"}


def check_home(home: Path) -> Iterator[Finding]:
    """Whether runs can be written below `home`."""
    existing = next(p for p in (home / "runs", home, *home.parents) if p.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        yield Finding.of("output_not_writable", folder=str(existing))
        return
    with contextlib.suppress(OSError):  # a full volume, of which another check tells
        lacks = missing_in(existing)
        if "replace" in lacks:
            yield Finding.of("volume_lacks.replace", folder=str(existing))
        elif lacks:
            yield Finding.of("volume_lacks", folder=str(existing), lacks=[_LACKS[ability] for ability in lacks])


def check_disk(recipe: Recipe, plan: Plan, home: Path) -> Iterator[Finding]:
    """Whether the volume of the runs, which need not be that of `home`, holds what the run will write."""
    needed, free = estimate(recipe, plan).disk.run, free_bytes(home / "runs")
    if free < needed * 1.1 + DISK_SPARE_BYTES:
        yield Finding.of("disk_full", home=str(home), free=size(free), needed=size(needed * 1.1), spare=size(DISK_SPARE_BYTES))


def free_bytes(folder: Path) -> int:
    """Free space on the volume on which `folder` lies or would be made."""
    existing = next(p for p in (folder, *folder.parents) if p.exists())
    return shutil.disk_usage(existing).free


def token_counter(settings: Settings) -> TokenCounter:
    """The tokenizer of the chosen base where that is on this machine, else the estimate. Reads the disk."""
    return counter_for(tokenizer_base(settings.base), families.family(settings.base.family).caption_tokenizer.name)
