"""Which images a verdict needs beside those that were asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product

from loratui.engine.planning.validation_grid import Cell, GridRequest, cells, filled
from loratui.engine.proof.never import never_shown
from loratui.engine.proof.prompts import is_trigger_alone
from loratui.engine.proof.verdict.axes import HALF
from loratui.presets.schema import Settings

SEEDS = 3
"""From which the spread over the seeds, and their variety, are known."""
WEAKER, STRONGER = 0.5, 1.5
"""Times the usual strength: whether half of it is enough already, and whether more of it still adds likeness."""
MOST_FILES = 4
"""Files of epochs, evenly spread, of which a second seed is made: then their variety is known."""
NEVER_SEEDS = 2
"""Of each prompt for what the captions never name."""
TRIGGER_ALONE = "{trigger} portrait photo"


def wanted(
    settings: Settings,
    wish: GridRequest,
    *,
    files: Sequence[str],
    final: str,
    fill: Mapping[str, str],
    captions: Sequence[str] = (),
) -> list[Cell]:
    """Every image that `wish` asks for, as `validation_grid.cells` lists them, and then what a verdict needs besides, if it is to be
    complete: at the usual strength, at half of it and without the LoRA three seeds of each prompt and of the trigger alone, a higher
    strength, a second seed of some files of epochs, and two seeds of what the `captions` never name, with and without the LoRA."""
    chosen = cells(settings, wish, files=files, final=final, fill=fill)
    if not wish.complete:
        return chosen
    validation, dataset, first = settings.validation, settings.dataset, settings.samples.seed
    templates = list(wish.prompts or validation.prompts)
    prompts = {template: filled(template, fill) for template in templates}
    if dataset.trigger and not any(is_trigger_alone(one, dataset.trigger, dataset.class_word) for one in prompts.values()):
        prompts[TRIGGER_ALONE] = filled(TRIGGER_ALONE, fill)
    usual = validation.likely_strength
    asked = [strength for strength in wish.strengths or validation.strengths if strength > usual]
    higher = min(asked, default=usual * STRONGER)
    lower = max((s for s in wish.strengths or validation.strengths if 0 < s <= HALF * usual), default=usual * WEAKER)
    places = [*product(range(first, first + SEEDS), prompts, (0.0, lower, usual)), *product((first,), prompts, (higher,))]
    more = [
        Cell("strengths", prompts[template], template, seed, final if strength else "", strength)
        for seed, template, strength in places
    ]
    if "checkpoints" in wish.grids and wish.files is None:
        few = min(MOST_FILES, len(files))
        some = [files[(at + 1) * len(files) // few - 1] for at in range(few)]
        second = product(some, templates)
        more += [Cell("checkpoints", prompts[one], one, first + 1, file, usual) for file, one in second]
    never = [one.template for one in never_shown(settings, captions)]
    more += [
        Cell("strengths", filled(one, fill), one, seed, final if strength else "", strength)
        for seed, one, strength in product(range(first, first + NEVER_SEEDS), never, (0.0, usual))
    ]
    there = {(cell.grid, cell.prompt, cell.seed, cell.file, cell.strength) for cell in chosen}
    return [*chosen, *(one for one in more if (one.grid, one.prompt, one.seed, one.file, one.strength) not in there)]
