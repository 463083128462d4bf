"""The run that a plan goes back to, and what the plan changes of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from loratui.engine.durable import MARKER
from loratui.engine.planning.recipe import Difference, read_recipe
from loratui.engine.runs.directory import RunDirectory
from loratui.engine.runs.lineage import Lineage
from loratui.presets import schema
from loratui.presets.schema import SchemaError, Settings

LEADING_BACK = ("schedule.continue_run", "schedule.continue_step", "adapter.start_from", "output.planned_from")
"""Settings that name the run; they are no change of it."""


@dataclass(frozen=True)
class Parent:
    """A run that a plan continues, begins with the weights of, or changes by an advice."""

    lineage: Lineage
    """Without a hash: nothing was read of its files."""
    recipe: Settings
    """As the person chose them."""
    effective: Settings
    """As they were in force."""

    @property
    def run(self) -> str:
        return self.lineage.run

    def before(self, key: str, value: object) -> object | None:
        """What the run had for a key, if the plan has another value; else None."""
        was = schema.get(self.effective, key)
        same = key in LEADING_BACK or value in (was, schema.get(self.recipe, key))
        return None if same else was

    def changed_by(self, settings: Settings) -> tuple[Difference, ...]:
        """Every setting that the plan changes, in the order of files."""
        values = ((key, schema.get(settings, key)) for key in schema.KEYS)
        return tuple(Difference(key, value, was) for key, value in values if (was := self.before(key, value)) is not None)


def parent_of(settings: Settings) -> Parent | None:
    """The run that these settings go back to; None if they name none, or if it cannot be read any more."""
    planned = settings.output.planned_from
    back = _planned_from(planned) if planned and not settings.schedule.continue_run else lineage_in(settings)
    if back is None:
        return None
    folder = RunDirectory(Path(back.path).parent.parent if back.kind == "starts_from" else Path(back.path))
    if not (folder.path / MARKER).is_file():
        return None
    try:
        return Parent(back, read_recipe(folder.recipe).settings, read_recipe(folder.effective).settings)
    except SchemaError:
        return None


def lineage_in(settings: Settings) -> Lineage | None:
    """What a run with these settings begins from, else the run that it was planned from, without a hash."""
    schedule, file, planned = settings.schedule, settings.adapter.start_from, settings.output.planned_from
    if schedule.continue_run:
        run, step = schedule.continue_run, schedule.continue_step
        return Lineage(kind="continues", run=Path(run).name, path=run, step=step, sha256="")
    if file:
        return Lineage(kind="starts_from", run=Path(file).parent.parent.name, path=file, step=0, sha256="")
    if planned:
        return _planned_from(planned)
    return None


def _planned_from(run: str) -> Lineage:
    return Lineage(kind="planned_from", run=Path(run).name, path=run, step=0, sha256="")
