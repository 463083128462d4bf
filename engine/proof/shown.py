"""How much a run has trained, beside what its preset gives such images."""

from __future__ import annotations

import statistics
from collections import Counter
from typing import TYPE_CHECKING

from loratui.engine.dataset.ledger import LedgerEntry, read_ledger
from loratui.engine.errors import DatasetError
from loratui.engine.planning.case import preset_schedule, shown
from loratui.engine.planning.recipe import read_recipe
from loratui.engine.planning.rules import ConceptImages
from loratui.presets import load_preset
from loratui.presets.schema import SchemaError

if TYPE_CHECKING:
    from loratui.engine.runs.directory import RunDirectory


def share_of_preset(run: RunDirectory) -> float | None:
    """How often each of the subject's images was shown by the run, as a share of what its preset gives them.

    None where there is no such preset, where it was not made for so many images, or where the run's files cannot be read.
    """
    try:
        recipe, images = read_recipe(run.recipe), [one for one in read_ledger(run.dataset).images if _counts(one)]
        preset = load_preset(recipe.preset).settings
    except (SchemaError, DatasetError, OSError):
        return None
    least, most = preset.dataset.images_wanted
    if not least <= len(images) <= most:
        return None
    training = recipe.settings.training
    concepts = [ConceptImages(name, count) for name, count in Counter(one.concept for one in images).items()]
    wanted = shown(
        preset_schedule(preset), concepts, training.batch_size * training.accumulation * training.processes
    ).exposures
    seen = statistics.fmean(one.planned_exposures if one.times_shown is None else one.times_shown for one in images)
    return seen / wanted if wanted > 0 else None


def _counts(entry: LedgerEntry) -> bool:
    return not entry.regularisation and not entry.held_out
