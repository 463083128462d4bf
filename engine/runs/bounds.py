"""How long a run waits before it is ended: as its recipe says, or as a person changed it since."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from loratui.engine import sealed
from loratui.engine.disk_errors import PASSING
from loratui.engine.errors import DiskError
from loratui.engine.runs import aside
from loratui.engine.runs.directory import RunDirectory

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Bounds:
    """The settings of these names in the section `training`; 0 is never."""

    end_stalled_after_s: float
    end_disk_wait_after_h: float


def read(run: RunDirectory) -> Bounds:
    """What holds for a run now: the change of a person, else `effective.toml` as it is at this moment."""
    from loratui.engine.planning.recipe import read_recipe  # not at the start of a supervisor, which must be quick
    from loratui.presets.schema import SchemaError, Settings

    try:
        training = read_recipe(run.effective).settings.training
    except (OSError, SchemaError):
        training = Settings().training
    chosen = Bounds(training.end_stalled_after_s, training.end_disk_wait_after_h)
    try:
        return with_values(chosen, _changed(run))
    except SchemaError:
        return chosen


def with_values(chosen: Bounds, values: Mapping[str, Any]) -> Bounds:
    """`chosen` with other values, by their names without section. Raises `SchemaError` for one that does not fit."""
    from loratui.presets.schema import KEYS, check

    return Bounds(**{**asdict(chosen), **{name: check(KEYS[f"training.{name}"], value) for name, value in values.items()}})


def change(run: RunDirectory, values: Mapping[str, Any]) -> Bounds:
    """Changes the bounds of a run, also of one that hangs or waits, from now on. Raises `SchemaError`, `DiskError`."""
    after = with_values(read(run), values)
    body = {"v": FORMAT, **asdict(after)}
    try:
        sealed.write(run.bounds, body, run.path)
        aside.drop(run.bounds)
    except DiskError as error:  # a run that waits for its disk must still take this
        if error.number not in PASSING or not aside.keep(run.bounds, body):
            raise
    return after


def _changed(run: RunDirectory) -> dict[str, Any]:
    try:
        body = aside.kept(run.bounds) or sealed.read(run.bounds, run.path)
    except OSError:
        return {}
    return {f.name: body[f.name] for f in fields(Bounds) if f.name in body} if body.get("v") == FORMAT else {}
