"""Which validation images to make: the form as a request, its images, and which of them are missing."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from loratui.engine.dataset.ledger import read_ledger
from loratui.engine.errors import LoratuiError, UsageError
from loratui.engine.planning.validation_grid import Cell, Grid, GridRequest, filled, words
from loratui.engine.proof.needed import wanted
from loratui.engine.proof.never import captions_of
from loratui.engine.runs.directory import RunDirectory
from loratui.engine.runs.lora_files import LoraFiles
from loratui.presets.schema import Settings, nearest, parse_value, replace
from loratui.tui.validation.grid_images import Slot

PLACEHOLDERS = ("trigger", "class", "subject")


@dataclass(frozen=True, slots=True)
class Typed:
    """The fields of the form."""

    grids: tuple[Grid, ...]
    file: str
    """Name of the LoRA file of the strengths."""
    prompts: tuple[str, ...]
    strengths: str
    seeds: str
    complete: bool = False
    """Whether what a verdict needs besides is made too."""


def typed_from(settings: Settings, wish: GridRequest, files: LoraFiles) -> Typed:
    """The form for a request, with the recipe's values where it has none."""
    validation = settings.validation
    return Typed(
        wish.grids,
        PurePosixPath(wish.file if wish.file in files.all and wish.file else files.final).name,
        wish.prompts or validation.prompts,
        ", ".join(f"{strength:g}" for strength in wish.strengths or validation.strengths),
        str(wish.seeds or validation.seeds),
        wish.complete,
    )


def wish_of(typed: Typed, settings: Settings, files: LoraFiles) -> GridRequest:
    """The request that the form describes.

    Raises `SchemaError` for invalid numbers, `UsageError` for anything else invalid.
    """
    if not typed.grids:
        raise UsageError("No table is chosen.", "Switch on at least one.")
    file = f"output/{typed.file.strip()}"
    if file not in files.all:
        names = [PurePosixPath(known).name for known in files.all]
        raise UsageError(f"There is no LoRA file {typed.file.strip() or '–'}{nearest(typed.file, names)}.")
    prompts = tuple(prompt.strip() for prompt in typed.prompts if prompt.strip())
    if not prompts:
        raise UsageError("There is no prompt.", "Type one, such as {trigger} portrait photo.")
    for prompt in prompts:
        if problem := prompt_problem(prompt):
            raise UsageError(problem)
    changes = {
        key: parse_value(key, text)[1]
        for key, text in (("validation.strengths", typed.strengths), ("validation.seeds", typed.seeds))
    }
    chosen = replace(Settings(validation=settings.validation), changes, origin="the form").validation
    if not chosen.strengths or any(strength < 0 for strength in chosen.strengths):
        raise UsageError(f"{typed.strengths}: strengths are numbers of 0 or more, such as 0, 0.5, 1.")
    return GridRequest(
        grids=typed.grids,
        file=file,
        prompts=prompts,
        strengths=chosen.strengths,
        seeds=chosen.seeds,
        complete=typed.complete,
    )


def prompt_problem(prompt: str) -> str:
    """What is wrong with a prompt: an unknown placeholder would reach the model as it is."""
    unknown = next((name for name in re.findall(r"\{([^{}]*)\}", prompt) if name not in PLACEHOLDERS), None)
    if unknown is None:
        return ""
    return f"{{{unknown}}} is no placeholder{nearest(unknown, PLACEHOLDERS)}; use {{trigger}}, {{class}} or {{subject}}"


def filled_in(prompt: str, settings: Settings) -> str:
    """A prompt with its placeholders filled in."""
    return filled(prompt, words(settings))


def planned(wish: GridRequest, settings: Settings, files: LoraFiles, captions: Sequence[str] = ()) -> list[Cell]:
    """Every image of a request; `captions` are those of the photos. Raises `UsageError` for too many."""
    return wanted(settings, wish, files=files.epochs, final=wish.file or files.final, fill=words(settings), captions=captions)


def captions_in(run: RunDirectory) -> list[str]:
    """The captions of a run's photos; none if its list of images cannot be read, which its job tells."""
    try:
        return captions_of(read_ledger(run.dataset).images)
    except LoratuiError:
        return []


def missing(cells: Sequence[Cell], slots: Sequence[Slot]) -> int:
    """How many images of the cells are not made yet; several cells may share an image."""
    there: Collection[tuple[str, int, str, float]] = {
        (slot.prompt, slot.seed, slot.file, slot.strength) for slot in slots if slot.made
    }
    wanted = {(cell.prompt, cell.seed, cell.file if cell.strength else "", cell.strength) for cell in cells}
    return len(wanted - set(there))
