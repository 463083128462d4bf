"""What the check shall make: from what a person typed to a wish, its images, and which of them are there already."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from loratui.engine.errors import UsageError
from loratui.engine.planning.validation_grid import Cell, Grid, GridRequest, cells, filled, words
from loratui.engine.runs.lora_files import LoraFiles
from loratui.presets.schema import Settings, nearest, parse_value, replace
from loratui.tui.validation.grid_images import Slot

PLACEHOLDERS = ("trigger", "class", "subject")
TRIGGER_ALONE = "{trigger} portrait photo"


@dataclass(frozen=True, slots=True)
class Typed:
    """The form as it stands."""

    grids: tuple[Grid, ...]
    file: str
    """Name of the LoRA file of the strengths."""
    prompts: tuple[str, ...]
    strengths: str
    seeds: str


def typed_from(settings: Settings, wish: GridRequest, files: LoraFiles) -> Typed:
    """The form for a wish, with the recipe's values where it leaves them open."""
    validation = settings.validation
    return Typed(
        wish.grids,
        PurePosixPath(wish.file if wish.file in files.all and wish.file else files.final).name,
        wish.prompts or validation.prompts,
        ", ".join(f"{strength:g}" for strength in wish.strengths or validation.strengths),
        str(wish.seeds or validation.seeds),
    )


def wish_of(typed: Typed, settings: Settings, files: LoraFiles) -> GridRequest:
    """The wish that the form describes.

    Raises `SchemaError` for numbers that are none, `UsageError` for what cannot be made.
    """
    if not typed.grids:
        raise UsageError("Nothing is chosen.", "Switch at least one of the grids on.")
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
    return GridRequest(grids=typed.grids, file=file, prompts=prompts, strengths=chosen.strengths, seeds=chosen.seeds)


def prompt_problem(prompt: str) -> str:
    """What is wrong with a prompt: a placeholder that nobody fills in would reach the model as it stands."""
    unknown = next((name for name in re.findall(r"\{([^{}]*)\}", prompt) if name not in PLACEHOLDERS), None)
    if unknown is None:
        return ""
    return f"{{{unknown}}} is no placeholder{nearest(unknown, PLACEHOLDERS)}; there are {{trigger}}, {{class}} and {{subject}}"


def filled_in(prompt: str, settings: Settings) -> str:
    """A prompt as it is read with the LoRA."""
    return filled(prompt, words(settings))


def planned(wish: GridRequest, settings: Settings, files: LoraFiles) -> list[Cell]:
    """Every image of a wish. Raises `UsageError` for too many."""
    return cells(settings, wish, files=files.epochs, final=wish.file or files.final, fill=words(settings))


def missing(cells: Sequence[Cell], slots: Sequence[Slot]) -> int:
    """How many images of the cells are still to be made; an image of several cells is made once."""
    there: Collection[tuple[str, int, str, float]] = {
        (slot.prompt, slot.seed, slot.file, slot.strength) for slot in slots if slot.made
    }
    wanted = {(cell.prompt, cell.seed, cell.file if cell.strength else "", cell.strength) for cell in cells}
    return len(wanted - set(there))
