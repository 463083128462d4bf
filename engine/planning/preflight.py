"""Checks before a start, each with its remedy: base, disk, output folder, pictures and captions."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from loratui.engine.dataset import captions
from loratui.engine.dataset.scan import DatasetScan
from loratui.engine.planning.recipe import Recipe
from loratui.engine.planning.schedule import Plan
from loratui.presets import SHIPPED
from loratui.presets.schema import Family

Severity = Literal["error", "warning", "info"]

TRAINABLE: dict[Family, str] = {
    "sd15": "",
    "sdxl": "This version plans SDXL but does not train it yet.",
    "flux": "This version plans FLUX but does not train it yet.",
}
"""Family -> why this version refuses to train it; empty where it trains it."""

REFUSED_FORMATS = {
    ".ckpt": "can run code when it is read",
    ".pt": "can run code when it is read",
    ".pth": "can run code when it is read",
    ".bin": "can run code when it is read",
    ".gguf": "is quantised for generating and cannot be trained on",
}
"""Endings of base models that are never opened -> why."""


@dataclass(frozen=True)
class Finding:
    """One result of a check. An `error` means that the start would fail."""

    id: str
    severity: Severity
    message: str
    why: str
    remedy: str
    files: tuple[str, ...] = ()


def check(recipe: Recipe, scan: DatasetScan, plan: Plan, home: Path) -> list[Finding]:
    """Everything that a person should know before the start, errors first."""
    findings = [
        *check_family(recipe),
        *check_base(recipe),
        *check_home(home),
        *check_pictures(scan),
        *check_captions(recipe, scan),
        *(Finding(w.code, "warning", w.message, w.source, w.remedy) for w in plan.warnings),
    ]
    rank = {"error": 0, "warning": 1, "info": 2}
    return sorted(findings, key=lambda f: rank[f.severity])


def check_family(recipe: Recipe) -> Iterator[Finding]:
    """Whether this version trains the family."""
    refusal = TRAINABLE[recipe.settings.base.family]
    if refusal:
        yield Finding("family_unsupported", "error", refusal, "", "Choose a preset for SD1.5, such as sd15-portrait.")


def check_base(recipe: Recipe) -> Iterator[Finding]:
    """Whether the base model is there and of a kind that may be opened."""
    model = recipe.settings.base.model
    suffix = Path(model).suffix.lower()
    if not model:
        yield Finding("base_missing", "error", "No base model is chosen.", "", "Name one with --base.")
    elif suffix in REFUSED_FORMATS:
        reason = REFUSED_FORMATS[suffix]
        yield Finding(
            "base_format",
            "error",
            f"{model}: a {suffix} file {reason}.",
            "",
            "Use the model's .safetensors file or diffusers folder.",
        )
    elif not base_path(model):
        yield Finding(
            "base_not_found",
            "error",
            f"{model}: there is no such base model on this machine.",
            "",
            "Check the path given with --base; embedded:sd15 is always there.",
        )


def base_path(model: str) -> Path | None:
    """Where a base model lies on this machine; None if it is not here."""
    if model.startswith("embedded:"):
        path = SHIPPED / "bases" / model.removeprefix("embedded:")
        return path if (path / "model_index.json").is_file() else None
    path = Path(model).expanduser()
    return path if path.exists() else None


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


def free_bytes(folder: Path) -> int:
    """Free space on the volume on which `folder` lies or would be made."""
    existing = next(p for p in (folder, *folder.parents) if p.exists())
    return shutil.disk_usage(existing).free


def check_pictures(scan: DatasetScan) -> Iterator[Finding]:
    """What of the folder is not trained on."""
    for item in scan.left_out:
        if item.picture:
            yield Finding(
                "left_out",
                "warning",
                f"{item.relative} {item.reason}.",
                "It is not trained on.",
                "Replace or remove it.",
                (item.relative,),
            )
    others = tuple(item.relative for item in scan.left_out if not item.picture)
    if others:
        yield Finding("ignored", "info", f"{_files(others)} ignored.", "", "", others)
    for note in scan.notes:
        named = f"{', '.join(note.files)} " if note.files else ""
        yield Finding(note.id, "info", f"{named}{note.message}.", "", "", note.files)


def check_captions(recipe: Recipe, scan: DatasetScan) -> Iterator[Finding]:
    """Missing captions, and captions without the trigger."""
    dataset = recipe.settings.dataset
    without = tuple(i.relative for i in scan.training if i.caption is None)
    if without:
        instead = captions.compose(None, dataset.trigger, dataset.class_word)
        which = "No picture has" if len(without) == len(scan.training) else f"{len(without)} pictures have no"
        rest = "a caption" if which.startswith("No ") else "caption"
        shown = f'trained on "{instead}"' if instead else "trained on an empty caption"
        yield Finding(
            "caption_missing",
            "info" if instead else "warning",
            f"{which} {rest}: {shown}.",
            "A caption tells what in the picture is not the subject.",
            "" if instead else "Name the subject with --trigger and --class.",
            without,
        )
    lacking = tuple(
        i.relative for i in scan.training if i.caption and not captions.contains_trigger(i.caption, dataset.trigger)
    )
    if lacking:
        yield Finding(
            "trigger_missing",
            "warning",
            f'{len(lacking)} captions do not hold "{dataset.trigger}": {", ".join(lacking[:5])}{" …" if len(lacking) > 5 else ""}.',
            "Only the trigger calls the subject up later (guide 000).",
            "Put the trigger first in every caption, spelled the same.",
            lacking,
        )


def _files(names: tuple[str, ...]) -> str:
    return f"{names[0]} is" if len(names) == 1 else f"{len(names)} files are"
