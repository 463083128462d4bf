"""Which images a verdict needs beside those that were asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product

from loratui.engine.planning.validation_grid import Cell, GridRequest, cells, filled
from loratui.engine.proof.prompts import is_trigger_alone
from loratui.presets.schema import Settings

SEEDS = 3
"""From which the spread over the seeds, and their variety, are known."""
STRONGER = 1.5
"""Times the usual strength: whether more of it still adds likeness."""
TRIGGER_ALONE = "{trigger} portrait photo"


def wanted(settings: Settings, wish: GridRequest, *, files: Sequence[str], final: str, fill: Mapping[str, str]) -> list[Cell]:
    """Every image that `wish` asks for, as `validation_grid.cells` lists them, and then what a verdict needs besides, if it is to be
    complete: at the usual strength and without the LoRA three seeds of each prompt and of the trigger alone, and a higher strength."""
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
    places = [*product(range(first, first + SEEDS), prompts, (0.0, usual)), *product((first,), prompts, (higher,))]
    more = [
        Cell("strengths", prompts[template], template, seed, final if strength else "", strength)
        for seed, template, strength in places
    ]
    there = {(cell.prompt, cell.seed, cell.file, cell.strength) for cell in chosen if cell.grid == "strengths"}
    return [*chosen, *(cell for cell in more if (cell.prompt, cell.seed, cell.file, cell.strength) not in there)]
