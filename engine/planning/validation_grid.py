"""The images of a validation: prompts × strengths of one file, and prompts × the files of all epochs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from loratui.engine import sealed
from loratui.engine.errors import UsageError
from loratui.engine.words import count
from loratui.presets.schema import Settings

FORMAT = 2
"""Of `validation/wish.json` and `validation/grid.json`."""

Grid = Literal["strengths", "checkpoints"]
GRIDS: tuple[Grid, ...] = get_args(Grid)

MOST_IMAGES = 2000
"""More would be a typing error, and days of a GPU."""


@dataclass(frozen=True, kw_only=True)
class GridRequest:
    """What a person wants to see. None: as in the recipe."""

    grids: tuple[Grid, ...] = GRIDS
    file: str | None = None
    """LoRA file of the strengths, relative to the run; None: the final one, or else the newest."""
    prompts: tuple[str, ...] | None = None
    """With `{trigger}`, `{class}` and `{subject}`."""
    strengths: tuple[float, ...] | None = None
    seeds: int | None = None
    files: tuple[str, ...] | None = None
    """LoRA files of the checkpoints, each at all seeds, for a comparison; None: those of the epochs, each at the first seed."""
    complete: bool = False
    """Whether what a verdict needs besides is made too (`proof.needed`)."""

    def to_json(self) -> dict[str, Any]:
        """The contents of `wish.json`."""
        return {"format": FORMAT, **asdict(self)}

    @classmethod
    def from_json(cls, table: Mapping[str, Any]) -> GridRequest:
        """The wish in a `wish.json`. Raises `UsageError` for a table that cannot be one."""
        try:
            if table["format"] > FORMAT:
                raise UsageError(
                    "validation/wish.json was written by a newer loratui.", "Update loratui, or start the validation again."
                )
            grids = tuple(grid for grid in GRIDS if grid in table["grids"])
            prompts, strengths, files = (table.get(name) for name in ("prompts", "strengths", "files"))
            return cls(
                grids=grids,
                file=table.get("file"),
                prompts=None if prompts is None else tuple(str(prompt) for prompt in prompts),
                strengths=None if strengths is None else tuple(float(strength) for strength in strengths),
                seeds=None if table.get("seeds") is None else int(table["seeds"]),
                files=None if files is None else tuple(str(file) for file in files),
                complete=table.get("complete") is True,
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UsageError("validation/wish.json is damaged.", "Start the validation again.") from error


def read_wish(path: Path) -> GridRequest:
    """The wish in a `wish.json`, or the recipe's and all that a verdict needs if there is no such file. Raises `UsageError` for a file
    that cannot be used."""
    try:
        return GridRequest.from_json(sealed.read(path, path.parent.parent))
    except FileNotFoundError:
        return GridRequest(complete=True)
    except UsageError:
        raise
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: cannot be read.", "Start the validation again.") from error


@dataclass(frozen=True)
class Cell:
    """One image of a validation."""

    grid: Grid
    prompt: str
    """As the person reads it. Without the LoRA, the model reads the class word in place of the trigger."""
    template: str
    seed: int
    file: str
    """LoRA file, relative to the run; empty for the base alone."""
    strength: float


def cells(settings: Settings, wish: GridRequest, *, files: Sequence[str], final: str, fill: Mapping[str, str]) -> list[Cell]:
    """Every image that `wish` asks for, in the order in which they are best made: the first answers come first.

    `files` are the LoRA files of the epochs, oldest first; `final` is the one whose strengths are looked at; `fill` maps
    `{trigger}` and the like to words. Raises `UsageError` for more than `MOST_IMAGES`.
    """
    validation, samples = settings.validation, settings.samples
    templates = wish.prompts or validation.prompts
    strengths = sorted(set(wish.strengths or validation.strengths))
    seeds = range(samples.seed, samples.seed + (wish.seeds or validation.seeds))
    chosen: list[Cell] = []
    if "strengths" in wish.grids:
        for seed in seeds:
            for template in templates:
                prompt = filled(template, fill)
                for strength in strengths:
                    chosen.append(Cell("strengths", prompt, template, seed, final if strength else "", strength))
    if "checkpoints" in wish.grids:
        of_epochs = wish.files is None
        for file in files if of_epochs else wish.files or ():  # each is put on the base once
            for seed in seeds[:1] if of_epochs else seeds:
                for template in templates:
                    prompt = filled(template, fill)
                    chosen.append(Cell("checkpoints", prompt, template, seed, file, validation.likely_strength))
    if len(chosen) > MOST_IMAGES:
        raise UsageError(f"That would be {count(len(chosen), 'image')}.", "Choose fewer prompts, strengths or seeds.")
    return chosen


def filled(template: str, fill: Mapping[str, str]) -> str:
    """A prompt with its placeholders filled in, without double spaces."""
    for placeholder, words in fill.items():
        template = template.replace(placeholder, words)
    return " ".join(template.split())


def words(settings: Settings) -> dict[str, str]:
    """What the placeholders of prompts mean in a recipe."""
    trigger, class_word = settings.dataset.trigger, settings.dataset.class_word
    return {"{subject}": f"{trigger} {class_word}".strip(), "{trigger}": trigger, "{class}": class_word}


def prompt_read(cell: Cell, settings: Settings) -> str:
    """What the model reads for a cell: with the LoRA the prompt itself, without it the class word in place of the trigger."""
    placeholders = ("{subject}", "{trigger}", "{class}")
    return cell.prompt if cell.strength else filled(cell.template, dict.fromkeys(placeholders, settings.dataset.class_word))


def image_name(cell: Cell, settings: Settings, file_sum: str) -> str:
    """Name of a cell's image: a hash of all that determines it, so that it is made once and never stale.

    `file_sum` is the SHA-256 of the LoRA file, empty for the base alone.
    """
    samples = settings.samples
    side = settings.dataset.resolution
    made_of = (
        *(settings.base.model, settings.base.clip_skip, settings.base.prediction),
        *(prompt_read(cell, settings), cell.seed, file_sum, cell.strength),
        *(samples.steps, samples.guidance, samples.width or side, samples.height or side),
    )
    return hashlib.sha256(json.dumps(made_of).encode()).hexdigest()[:24] + ".png"
