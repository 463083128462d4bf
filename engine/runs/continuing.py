"""More from a run that has ended: a new run that goes on from one of its checkpoints, or begins with its weights.

The new run gets a copy of the checkpoint, whose identity is made that of the new run, so that its trainer resumes from it as from its own.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from loratui.engine import durable
from loratui.engine.dataset.ledger import build_ledger, read_ledger, read_table, trained_on
from loratui.engine.durable import MARKER
from loratui.engine.errors import DatasetError, DiskError, LoratuiError, UsageError
from loratui.engine.findings import Finding, worst_first
from loratui.engine.planning import prepare as planning
from loratui.engine.planning.prepare import Prepared
from loratui.engine.planning.recipe import Recipe, read_recipe, read_to_begin
from loratui.engine.runs import lineage
from loratui.engine.runs.checkpoint_files import (
    ADAPTER,
    FORMAT,
    MANIFEST,
    STATE,
    BadCheckpointError,
    identity_in,
    look,
    manifest_of,
    problem,
)
from loratui.engine.runs.directory import RunDirectory
from loratui.engine.runs.identity import SECTIONS, differing_settings, then_and_now
from loratui.engine.runs.lora_files import file_name, lora_files
from loratui.engine.runs.parents import lineage_in
from loratui.engine.untrusted import parse_json, read_small
from loratui.engine.words import joined, listed
from loratui.presets.schema import SchemaError, to_table

_MAY_DIFFER = {("schedule", "epochs"), ("schedule", "continue_run"), ("schedule", "continue_step"), ("optimizer", "continued")}
"""What a run that continues another changes."""
_SAME_BY_IMAGES = {("dataset", "path")}
"""The images and their repeats are compared one by one."""
_OF_THE_PLAN = "schedule"
"""Section whose other settings only lead to repeats and epochs; those that count are compared."""
_KEPT_OF_THE_PLAN = {("schedule", "image_steps")}


@dataclass(frozen=True, slots=True)
class Position:
    """Where a checkpoint is."""

    step: int
    image_step: int
    whole_epochs: int
    """Epochs that are complete, or will be when the one that was begun is."""


def position_of(run: RunDirectory, step: int | None = None) -> Position:
    """Of the checkpoint of a step, by default of the newest good one. Raises `UsageError` where it cannot be used."""
    if step is None:
        step = look(run, sums=True).step
        if step is None:
            raise UsageError(
                f"{run.name} has no checkpoint that can be used.",
                f"Begin with its weights: loratui continue {run.name} --weights",
            )
    if found := _problem(run, step):
        raise UsageError(found, _which(run))
    try:
        at = _state(run.checkpoint(step))["position"]
        return Position(step, int(at["image_step"]), int(at["epoch"]) - (0 if int(at["window"]) else 1))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{run.checkpoint(step)} cannot be read.", _which(run)) from error


def to_continue(run: RunDirectory, more_epochs: int, *, step: int | None = None, rates: str = "stretch") -> Recipe:
    """The recipe of a run that goes on from a checkpoint for so many epochs more, with everything else as it was.

    Raises `UsageError`, `SchemaError`.
    """
    if more_epochs < 1:
        raise UsageError(f"{more_epochs} more epochs: nothing would be trained.", "Give at least 1.")
    at = position_of(run, step)
    return read_to_begin(run.effective).with_changes(
        {
            "schedule.epochs": at.whole_epochs + more_epochs,
            "schedule.continue_run": str(run.path.absolute()),
            "schedule.continue_step": at.step,
            "output.planned_from": "",
            "optimizer.continued": rates,
        }
    )


def from_weights(run: RunDirectory, step: int | None = None) -> Recipe:
    """The recipe of a run that begins with the weights of a LoRA file of this one, by default of the finished one: images and settings
    may be others. Raises `UsageError`, `SchemaError`."""
    recipe = read_to_begin(run.recipe)
    files = lora_files(run, recipe.settings)
    named = files.final if step is None else next((one for one in files.all if files.step_of.get(one) == step), "")
    path = run.file(named)
    if path is None or not path.is_file():
        there = listed([file_name(Path(one).stem) for one in files.all], 8)
        which = f"of step {step}" if step is not None else "that could be begun with"
        raise UsageError(f"{run.name} has no LoRA file {which}.", f"There are: {there}." if there else "")
    new = {
        "schedule.continue_run": "",
        "schedule.continue_step": 0,
        "adapter.start_from": str(path.absolute()),
        "output.planned_from": "",
    }
    return recipe.with_changes(new)


def prepare(recipe: Recipe, home: Path, **options: Any) -> Prepared:
    """As `planning.prepare`, and with what is to be said of the run that is continued."""
    prepared = planning.prepare(recipe, home, **options)
    found = tuple(check_continued(prepared))
    return replace(prepared, findings=tuple(worst_first([*prepared.findings, *found]))) if found else prepared


def check_continued(prepared: Prepared) -> Iterator[Finding]:
    """Whether the run that a recipe continues is there, and was trained with the same settings on the same images."""
    settings = prepared.recipe.settings
    if not settings.schedule.continue_run:
        return
    old, step = RunDirectory(Path(settings.schedule.continue_run)), settings.schedule.continue_step
    if not (old.path / MARKER).is_file():
        yield Finding.of("continued.gone", path=str(old.path))
        return
    if found := _problem(old, step):
        yield Finding.of("continued.no_checkpoint", problem=found, remedy=_which(old))
        return
    try:
        then, ledger = identity_in(old.checkpoint(step)), read_table(old.dataset)
        epochs = position_of(old, step).whole_epochs
        table = build_ledger(settings, prepared.scan, prepared.plan)
    except (LoratuiError, SchemaError, BadCheckpointError) as error:
        yield Finding.of("continued.unreadable", run=old.name, problem=str(error))
        return
    if prepared.plan.epochs <= epochs:
        yield Finding.of("continued.nothing", run=old.name, epochs=epochs, settings={"schedule.epochs": epochs + 1})
    own = to_table(prepared.recipe.with_changes({"adapter.alpha": settings.adapter.effective_alpha}).settings)
    if differing := _differing(then, own):
        yield Finding.of("continued.differs", run=old.name, others=then_and_now(then, own, differing))
    if changed := _changed_images(trained_on(ledger), trained_on(table)):
        yield Finding.of("continued.images", changed, run=old.name)
    left = max(0, prepared.plan.optimizer_steps - step)
    key = "restarted" if settings.optimizer.continued == "restart" else "stretched"
    yield Finding.of(f"continued.{key}", run=old.name, step=step, left=left, epochs=prepared.plan.epochs)


def begin(run: RunDirectory) -> None:
    """What a new run is given before its start: the checkpoint that it continues, and its lineage. Raises `LoratuiError`."""
    settings = read_recipe(run.effective).settings
    if settings.schedule.continue_run:
        old = RunDirectory(Path(settings.schedule.continue_run))
        lineage.keep(run, _bring(run, old, settings.schedule.continue_step))
    elif settings.adapter.start_from:
        lineage.keep(run, lineage.of_file(Path(settings.adapter.start_from)))
    elif (back := lineage_in(settings)) is not None:
        lineage.keep(run, back)


def _bring(run: RunDirectory, old: RunDirectory, step: int) -> lineage.Lineage:
    """Copies a checkpoint into a new run, with that run's settings and images as its identity."""
    source = old.checkpoint(step)
    if found := _problem(old, step):
        raise UsageError(found, _which(old))
    table = to_table(read_recipe(run.effective).settings)
    try:
        rows: dict[str, Any] = {name: dict(row) for name, row in manifest_of(source).items()}
        state = _state(source)
        if state["identity"]["images"] != read_ledger(old.dataset).identity:
            raise UsageError(f"dataset.json of {old.name} is not what the checkpoint was made with.", "Restore it.")
        state["identity"] = {
            **identity_in(source),
            **{section: table[section] for section in SECTIONS},
            "images": read_ledger(run.dataset).identity,
        }
        data = json.dumps(state, indent=1).encode()
        rows[STATE] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        with durable.building(run.checkpoint(step)) as folder:
            for name in rows.keys() - {STATE}:
                durable.copy_new(source / name, folder / name)
            durable.write_file(folder / STATE, data, durable=False)
            durable.write_json(folder / MANIFEST, {"format": FORMAT, "files": rows}, durable=False)
    except (BadCheckpointError, OSError, KeyError, TypeError, DatasetError) as error:
        raise UsageError(f"The checkpoint of step {step} of {old.name} cannot be used: {error}", _which(old)) from error
    if found := problem(run.checkpoint(step), sums=True):
        raise DiskError(f"{run.checkpoint(step)}: {found}: the disk returned other data than was written.", "Check the volume.")
    return lineage.Lineage(kind="continues", run=old.name, path=str(old.path), step=step, sha256=rows[ADAPTER]["sha256"])


def _state(folder: Path) -> dict[str, Any]:
    state: dict[str, Any] = parse_json(read_small(folder / STATE, follow=False), not_finite=True)
    return state


def _problem(run: RunDirectory, step: int) -> str:
    if step not in run.checkpoint_steps():
        return f"{run.name} has no checkpoint of step {step}."
    found = problem(run.checkpoint(step), sums=True)
    return f"{run.name}: {found}." if found else ""


def _which(run: RunDirectory) -> str:
    steps = run.checkpoint_steps()
    there = joined([str(step) for step in steps], "and")
    return f"There are those of steps {there}." if steps else "It has none; output.keep_checkpoints says how many are kept."


def _differing(then: Mapping[str, Any], now: Mapping[str, Any]) -> set[tuple[str, str]]:
    found = differing_settings(then, now) - _MAY_DIFFER - _SAME_BY_IMAGES
    return {at for at in found if at[0] != _OF_THE_PLAN or at in _KEPT_OF_THE_PLAN}


def _changed_images(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    return sorted(name for name in then.keys() | now.keys() if then.get(name) != now.get(name))
