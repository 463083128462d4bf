"""Exports a LoRA file under a name with its settings, and says where to put it and which licence applies."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loratui.engine import durable, families, jobs
from loratui.engine.errors import UsageError
from loratui.engine.runs import contents
from loratui.engine.runs.directory import RunDirectory
from loratui.engine.runs.lora_files import chosen_name, file_name
from loratui.engine.runs.lora_hashes import require_as_saved
from loratui.presets.schema import Settings

LAYOUTS = ("as it is", "kohya", "peft")
DTYPES = ("as it is", "fp16", "bf16", "fp32")


@dataclass(frozen=True, slots=True)
class Export:
    """What to write."""

    file: str
    """LoRA file, relative to the run."""
    name: str
    """Of the new file, without its ending."""
    folder: Path
    layout: str = LAYOUTS[0]
    dtype: str = DTYPES[0]


@dataclass(frozen=True, slots=True)
class Place:
    """A program that opens the file, and its folder for it."""

    program: str
    where: str


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written."""

    path: Path
    settings: tuple[Path, ...]
    """The recipe and every value in force, beside it."""
    places: tuple[Place, ...]


def export(run: RunDirectory, settings: Settings, wanted: Export) -> Exported:
    """Writes the file, and `NAME.recipe.toml` and `NAME.effective.toml` beside it; never replaces a file.

    Copies the bytes if layout and number format stay; else a process of its own writes the file.
    Raises `UsageError`, `DiskError`, and `JobFailed` with what that process said.
    """
    name = chosen_name(wanted.name)
    if not name:
        raise UsageError("The file needs a name.", "Type one, such as the trigger and a version.")
    path = wanted.folder / file_name(name)
    beside = [(run.recipe, wanted.folder / f"{name}.recipe.toml"), (run.effective, wanted.folder / f"{name}.effective.toml")]
    for target in (path, *(to for _, to in beside)):
        if os.path.lexists(target):
            raise UsageError(f"{target} already exists.", "Choose another name or folder.")
    contents.require_sound(run.path)
    durable.make_directory(wanted.folder)
    if wanted.layout == LAYOUTS[0] and wanted.dtype == DTYPES[0]:
        require_as_saved(run.inside(wanted.file))
        copy(run.inside(wanted.file), path)
        places = places_of(settings)
    else:
        layout = "auto" if wanted.layout == LAYOUTS[0] else wanted.layout
        dtype = "" if wanted.dtype == DTYPES[0] else wanted.dtype
        written = written_by_job(run, file=wanted.file, format=layout, dtype=dtype, name=name, output=str(path))
        places = tuple(Place(program["title"], program["place"]) for program in written["opened_by"])
    for source, target in beside:
        copy(source, target)
    return Exported(path, tuple(target for _, target in beside), places)


def copy(source: Path, target: Path) -> None:
    """As `durable.copy_new`. Raises `UsageError` if `target` exists, `DiskError` if the disk refuses."""
    try:
        durable.copy_new(source, target)
    except FileExistsError as error:
        raise UsageError(f"{target} already exists.", "Choose another name or folder.") from error


def places_of(settings: Settings) -> tuple[Place, ...]:
    """The programs that open a run's files as they are, and their folders for them."""
    from loratui.engine.formats.metadata import default_layout
    from loratui.engine.formats.programs import PROGRAMS, readers_of

    names = readers_of(settings, default_layout(settings))
    return tuple(Place(PROGRAMS[name].title, PROGRAMS[name].place) for name in names)


def licence_note(settings: Settings) -> str:
    """What the base's licence means for the LoRA."""
    model = settings.base.model.lower()
    if model.startswith("embedded:"):
        return "The base is a toy that comes with loratui (Apache 2.0): programs read the file, but have no base for it."
    spec = families.family(settings.base.family)
    return next((note for word, note in spec.licences.items() if word in model), spec.licence)


def written_by_job(run: RunDirectory, **wanted: Any) -> dict[str, Any]:
    """What `engine.training.export` says about the file it wrote; `wanted` are the fields of its `Wanted`.

    Raises `JobFailed` with the exit code of what went wrong, and `JobDied`.
    """
    written: dict[str, Any] = jobs.run("export", {"run": str(run.path), "wanted": wanted})
    return written
