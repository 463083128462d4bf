"""From an advice of the judgement to the plan of the next run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loratui.engine.dataset.prepared_copy import copy_below
from loratui.engine.dataset.remedies import Remedy
from loratui.engine.dataset.scan import scan
from loratui.engine.errors import DatasetError, UsageError
from loratui.engine.planning.recipe import Recipe, read_to_begin
from loratui.engine.proof.judgement import Advice
from loratui.engine.runs import continuing
from loratui.engine.runs.directory import RunDirectory
from loratui.engine.runs.lineage import is_imported
from loratui.engine.words import count, joined
from loratui.presets.schema import PATHS

SECTIONS = ("dataset", "schedule", "training", "adapter", "optimizer")
"""What an advice may set. Its file may come from a stranger, and other sections name commands and places."""


@dataclass(frozen=True)
class NextPlan:
    """The plan of a run that follows an advice."""

    recipe: Recipe
    re_caption: tuple[str, ...] = ()
    """Images whose captions the person changes before it begins, by their paths in the dataset."""


def next_plan(run: RunDirectory, advice: Advice, home: Path) -> NextPlan:
    """The run's plan with what the advice changes; images are left out in a copy below `home`, the folder stays as it is.

    Raises `UsageError` for an advice from which no run follows, with what to do instead, and `LoratuiError` and `SchemaError` for what
    cannot be done.
    """
    do = advice.do
    if do.use is not None:
        remedy = f"Use the file at strength {do.use.strength:g}: loratui keep {run.name} --file {Path(do.use.file).name}"
        raise UsageError("This advice needs no new run.", remedy)
    if is_imported(run):
        raise UsageError(
            f"{run.name} is a LoRA file that was not trained here, so there is no plan to change.", "Train your own: loratui"
        )
    if do.continue_epochs:
        return NextPlan(continuing.to_continue(run, do.continue_epochs))
    recipe = _again(run)
    if do.settings:
        return NextPlan(recipe.with_changes(_allowed(do.settings)))
    if do.leave_out:
        return NextPlan(recipe.with_changes({"dataset.path": str(_without(recipe, do.leave_out, home))}))
    if do.re_caption:
        return NextPlan(recipe, do.re_caption)
    raise UsageError("loratui cannot carry out this advice.", do.look)


def _again(run: RunDirectory) -> Recipe:
    """What the person chose for the run, for a run of its own that is planned from it."""
    new = {"schedule.continue_run": "", "schedule.continue_step": 0, "output.planned_from": str(run.path.absolute())}
    return read_to_begin(run.recipe).with_changes(new)


def _allowed(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    refused = [key for key in settings if key.partition(".")[0] not in SECTIONS or key in PATHS]
    if refused:
        raise UsageError(
            f"This advice sets {joined(refused, 'and')}, which no advice may.", "Change it yourself if you want it."
        )
    return settings


def _without(recipe: Recipe, names: tuple[str, ...], home: Path) -> Path:
    """The folder of a copy without these images."""
    folder = Path(recipe.settings.dataset.path)
    found = scan(folder)
    there = {image.relative for image in found.images}
    out = [name for name in names if name in there]
    if not out:
        raise DatasetError(f"{folder} no longer has {joined(names[:3], 'and')}.", "Nothing is left to leave out.")
    if not {image.relative for image in found.training} - set(out):
        raise DatasetError(f"Without {count(len(out), 'image')} nothing is left to train on.", "Add images to the folder.")
    return copy_below(home / "datasets", found, [Remedy("leave_out", name) for name in out])
