"""Keeps a LoRA file of a run under a name: its settings, and what image programs read beside it; where to put it, and which licence applies."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loratui.engine import durable, families, jobs
from loratui.engine.errors import LoratuiError, UsageError
from loratui.engine.handover.private import place
from loratui.engine.handover.shots import shots_of
from loratui.engine.proof.judgement import read_judgement
from loratui.engine.proof.notes import read_checklist
from loratui.engine.runs import contents
from loratui.engine.runs.directory import RunDirectory
from loratui.engine.runs.lineage import is_imported
from loratui.engine.runs.lora_files import LoraFiles, chosen_name, file_name, lora_files
from loratui.engine.runs.lora_hashes import require_as_saved
from loratui.presets.schema import Settings

LAYOUTS = ("as it is", "kohya", "peft")
DTYPES = ("as it is", "fp16", "bf16", "fp32")
PREVIEW = ".preview.png"
"""After the file's name: ComfyUI, Automatic1111, Forge and SD.Next show such an image beside the file."""
CARD = ".json"
"""Where Automatic1111 and Forge keep what their users note about a file: trigger, strength, description."""


@dataclass(frozen=True, slots=True)
class Keep:
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
class Kept:
    """What was written."""

    path: Path
    beside: tuple[Path, ...]
    """The recipe, every value in force, the note for image programs, and an image of it if there is one."""
    places: tuple[Place, ...]
    no_preview: str = ""
    """Why there is no image beside it."""


def keep(run: RunDirectory, settings: Settings, wanted: Keep) -> Kept:
    """Writes the file, and `NAME.recipe.toml`, `NAME.effective.toml`, `NAME.json` and `NAME.preview.png` beside it; never replaces a file.

    Copies the bytes if layout and number format stay; else a process of its own writes the file.
    Raises `UsageError`, `DiskError`, and `JobFailed` with what that process said.
    """
    name = chosen_name(wanted.name)
    if not name:
        raise UsageError("The file needs a name.", "Type one, such as the trigger and a version.")
    path = wanted.folder / file_name(name)
    copied = [(run.recipe, wanted.folder / f"{name}.recipe.toml"), (run.effective, wanted.folder / f"{name}.effective.toml")]
    card, preview = wanted.folder / f"{name}{CARD}", wanted.folder / f"{name}{PREVIEW}"
    for target in (path, *(to for _, to in copied), card, preview):
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
    for source, target in copied:
        copy(source, target)
    strength = strength_of(run, settings, wanted.file)
    durable.write_new(card, json.dumps(noted(settings, strength, made_here=not is_imported(run)), indent=2).encode("ascii"))
    missing = _preview(run, settings, wanted.file, strength, preview)
    beside = [target for _, target in copied] + [card, *([] if missing else [preview])]
    return Kept(path, tuple(beside), places, missing)


def proposed_file(run: RunDirectory, settings: Settings, files: LoraFiles) -> str:
    """The file to keep: the one that the person chose, else the recommended one, else the finished or newest; empty without one."""
    judged = read_judgement(run, settings)
    best = judged.best.file if judged and judged.best else ""
    wished = [read_checklist(run.validation / "checklist.json").chosen, best, files.final]
    return next((file for file in wished if file in files.all), "")


def named_file(run: RunDirectory, settings: Settings, named: str) -> str:
    """The file that a person names by its step, its name or its path. Raises `UsageError` with those that there are."""
    files = lora_files(run, settings)
    by_step = {str(step): file for file, step in files.step_of.items() if file in files.steps}
    known = {**{Path(file).name: file for file in files.all}, **{Path(file).stem: file for file in files.all}, **by_step}
    found = known.get(Path(named).name)
    if found is None:
        listed = ", ".join(Path(file).name for file in files.all) or "none"
        raise UsageError(f"{run.name} has no LoRA file {named}.", f"Its files: {listed}")
    return found


def strength_of(run: RunDirectory, settings: Settings, file: str) -> float:
    """The strength to use a file at: the recommended one if it is the recommended file, else the recipe's."""
    judged = read_judgement(run, settings)
    best = judged.best if judged else None
    return best.strength if best is not None and best.file == file else settings.validation.likely_strength


def noted(settings: Settings, strength: float, *, made_here: bool) -> dict[str, Any]:
    """What Automatic1111 and Forge show of the file, by the names of their own editor of such notes. `made_here`: trained by loratui."""
    dataset, family = settings.dataset, families.family(settings.base.family)
    told = settings.output.trigger_in_metadata
    words = " ".join(word for word in (dataset.trigger, dataset.class_word) if word)
    return {
        "description": f"{family.title} LoRA, {'made with loratui' if made_here else 'tried'} on {place(settings.base.model)}.",
        "sd version": family.lora.webui_version,
        "activation text": words if told else "",
        "preferred weight": strength,
        "negative text": "",
        "notes": licence_note(settings),
    }


def _preview(run: RunDirectory, settings: Settings, file: str, strength: float, target: Path) -> str:
    """Writes the image beside the file; says why not where there is none. The file is kept without it too."""
    shots = shots_of(run, settings, file, strength)
    if not shots:
        return "No image beside it: none was made of this file. Validate the run, and keep the file again."
    problem = write_previews([(shots[0].path, target)])[0]
    return f"No image beside it: {problem}" if problem else ""


def write_previews(pairs: Sequence[tuple[Path, Path]]) -> list[str]:
    """Writes small copies of images as PNG, each second path from the first, in a process of its own; what went wrong with each, or ""."""
    if not pairs:
        return []
    try:
        told: list[str] = jobs.run("preview", {"pairs": [(str(source), str(target)) for source, target in pairs]})
    except LoratuiError as error:
        return [str(error)] * len(pairs)
    return told


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


def place_lines(kept: Kept) -> Iterator[str]:
    """Where each program wants the file."""
    for where in kept.places:
        yield f"{where.program}: {where.where.replace('PATH', repr(str(kept.path)))}"


def all_of(kept: Kept) -> Path:
    """The file and all that lies beside it, as a pattern that scp and rsync understand on the other side."""
    return kept.path.with_suffix(".*")


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
