"""Checks before a start, each with its remedy: base, disk, output folder, images and captions."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from loratui.engine.dataset.checks import CHECKS
from loratui.engine.dataset.findings import Finding as Finding  # the app takes it from here
from loratui.engine.dataset.findings import worst_first
from loratui.engine.dataset.inspect import Inspection
from loratui.engine.dataset.scan import DatasetScan
from loratui.engine.dataset.tokens import TokenCounter, counter_for
from loratui.engine.errors import ExitCode
from loratui.engine.machine import hardware
from loratui.engine.machine.accelerator import Accelerator
from loratui.engine.planning.adapter_rules import DORA_FILES, contradictions, start_refusal
from loratui.engine.planning.base_checks import check_base as check_base
from loratui.engine.planning.bases import base_path as base_path  # the doctor takes it from here
from loratui.engine.planning.bases import tokenizer_base
from loratui.engine.planning.estimate import estimate
from loratui.engine.planning.family_rules import guidance_advice, misfits
from loratui.engine.planning.plan import Plan
from loratui.engine.planning.precision import choose
from loratui.engine.planning.recipe import Recipe
from loratui.presets.bases import demo_dataset
from loratui.presets.schema import Settings

SPARE_BYTES = 200_000_000
"""Left free on a disk for all else."""

ON_THE_CPU = "It trains on the CPU only if you say so (--device cpu, or memory.device under all settings)."

DATASET_CHECKS = frozenset(check.id for check in CHECKS)
"""Findings of the images and captions."""


def check(recipe: Recipe, images: Inspection, plan: Plan, home: Path, here: Accelerator) -> list[Finding]:
    """Everything that a person should know before the start on this machine, errors first. Of the images it is what `images` found."""
    scan = images.scan
    findings = [
        *check_settings(recipe),
        *check_machine(recipe, here),
        *check_tiny_base(recipe, scan),
        *check_base(recipe.settings.base, scale_v_loss=recipe.settings.training.scale_v_loss),
        *check_home(home),
        *check_disk(recipe, plan, home),
        *images.findings,
        # The number of images is judged by both.
        *(finding for finding in _warnings(plan) if finding.id not in DATASET_CHECKS),
    ]
    return worst_first(findings)


def check_settings(recipe: Recipe) -> Iterator[Finding]:
    """What of the recipe contradicts itself, or means nothing to its family."""
    settings = recipe.settings
    for found in contradictions(settings):
        yield Finding("adapter_settings", "error", found.message, "", found.remedy)
    refusal = start_refusal(settings)
    if refusal:
        yield Finding("start_from", "error", refusal.message, "", refusal.remedy)
    if settings.adapter.dora:
        yield Finding("dora_files", "warning", DORA_FILES, "", "Set adapter.dora to false for a file that opens everywhere.")
    for misfit in misfits(settings):
        yield Finding("setting_misfit", "error", misfit.message, "", misfit.remedy)
    advice = guidance_advice(settings)
    if advice:
        yield Finding("guidance_high", "warning", advice, "", "Set samples.guidance to 3.5.")


def check_plan(recipe: Recipe, plan: Plan, here: Accelerator | None) -> list[Finding]:
    """What can be said without the base and the images, errors first: settings that cannot be, and the plan's warnings.

    `here` None: the machine is not known yet, and nothing is said of it.
    """
    machine = () if here is None else check_machine(recipe, here)
    return worst_first([*check_settings(recipe), *machine, *_warnings(plan)])


def check_machine(recipe: Recipe, here: Accelerator) -> Iterator[Finding]:
    """Whether this machine can train as the recipe says."""
    settings = recipe.settings
    by_name = settings.memory.device == "cpu"
    if by_name and (here.card or here.problem):
        what = here.card.name if here.card else "the GPU"
        yield Finding("cpu_by_name", "info", f"Trains on the CPU, as memory.device says; {what} is left alone.", "", "")
    elif here.problem:
        why = "A machine with a GPU costs the same while its CPU trains, which takes many times as long."
        id = "gpu_lost" if here.code == ExitCode.GPU_LOST else "gpu_unusable"
        yield Finding(id, "error", here.problem, why, f"{ON_THE_CPU} {here.remedy}")
        return
    chosen = choose(settings, None if by_name else here.card)
    if chosen.problem:
        yield Finding("precision", "error", chosen.problem, "", chosen.remedy)
    elif chosen.why:
        yield Finding("precision", "info", chosen.why, "", "")
    if settings.optimizer.name != "adamw8bit":
        return
    why = "It keeps its numbers in 8 bits by means of bitsandbytes, which works on NVIDIA GPUs alone."
    if by_name or here.card is None:
        message = f"optimizer.name adamw8bit: {'training is on the CPU' if by_name else 'this machine has no NVIDIA GPU'}."
        yield Finding("optimizer_machine", "error", message, why, "Set optimizer.name to auto, which is adamw here.")
    elif hardware.versions(["bitsandbytes"])["bitsandbytes"] is None:
        message = "optimizer.name adamw8bit: bitsandbytes is not installed."
        yield Finding("optimizer_machine", "error", message, why, "Install bitsandbytes, or set optimizer.name to adamw.")


def _warnings(plan: Plan) -> Iterator[Finding]:
    return (Finding(w.code, "warning", w.message, w.source, w.remedy) for w in plan.warnings)


def check_tiny_base(recipe: Recipe, scan: DatasetScan) -> Iterator[Finding]:
    """Whether somebody's own images are about to be trained on a base that nothing else can use."""
    model = recipe.settings.base.model
    if not model.startswith("embedded:"):
        return
    known = {path.name for path in demo_dataset().iterdir()}
    if all(image.path.name in known for image in scan.images):
        return
    message = (
        f"{model} is a tiny base for trying loratui: a LoRA trained on it works with it alone, not in ComfyUI or elsewhere."
    )
    why = "It draws small portraits and nothing else."
    yield Finding("tiny_base", "warning", message, why, "For a LoRA to use, choose another preset, such as sd15-portrait.")


def check_home(home: Path) -> Iterator[Finding]:
    """Whether runs can be written below `home`."""
    existing = next(p for p in (home, *home.parents) if p.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        yield Finding(
            "output_not_writable",
            "error",
            f"{existing}: nothing can be written here.",
            "The run's checkpoints, samples and LoRA files go there.",
            "Choose another folder with --home, or change its permissions.",
        )


def check_disk(recipe: Recipe, plan: Plan, home: Path) -> Iterator[Finding]:
    """Whether the volume of `home` holds what the run will write."""
    needed, free = estimate(recipe, plan).disk.run, free_bytes(home)
    if free < needed * 1.1 + SPARE_BYTES:
        message = f"{home}: {_size(free)} are free, and this run writes about {_size(needed)}."
        why = "A full disk ends a run; checkpoints, LoRA files, samples and caches are all written there."
        remedy = "Free some space, choose another folder with --home, or keep fewer files (output.save_every_epochs)."
        yield Finding("disk_full", "error", message, why, remedy)


def free_bytes(folder: Path) -> int:
    """Free space on the volume on which `folder` lies or would be made."""
    existing = next(p for p in (folder, *folder.parents) if p.exists())
    return shutil.disk_usage(existing).free


def token_counter(settings: Settings) -> TokenCounter:
    """The tokenizer of the chosen base where that is on this machine, else the estimate. Reads the disk."""
    return counter_for(tokenizer_base(settings.base), long=settings.base.family == "flux")


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{max(1, round(count / 1e6))} MB"
