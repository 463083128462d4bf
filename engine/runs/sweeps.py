"""Sweeps: runs over one dataset that differ in a few settings, kept as one small file of the home each."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from loratui.engine import durable, sealed
from loratui.engine.errors import UsageError
from loratui.engine.runs import ownership
from loratui.engine.runs.directory import RUN_NAME, RunDirectory, safe_name
from loratui.engine.untrusted import Gone
from loratui.presets import schema
from loratui.presets.schema import SchemaError

FORMAT = 1
FOLDER = "sweeps"
_MOST = 64
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}\.json")


@dataclass(frozen=True, slots=True)
class Member:
    """One run of a sweep."""

    run: str
    """Its name; of a run that was trained elsewhere, that of its job."""
    path: str
    """Its folder; empty while it trains elsewhere and was not collected."""
    values: Mapping[str, Any]
    """The value of each setting of the sweep."""

    @property
    def directory(self) -> RunDirectory | None:
        """None for a run that is not on this machine."""
        return RunDirectory(Path(self.path)) if self.path else None


@dataclass(frozen=True, slots=True)
class Sweep:
    """All its runs, in their order."""

    name: str
    created: float
    """Seconds since 1970."""
    keys: tuple[str, ...]
    """The settings in which they differ."""
    planned: int
    """How many runs it has; fewer are there while they are made."""
    members: tuple[Member, ...] = ()


def create(home: Path, stem: str, keys: tuple[str, ...], planned: int, *, today: str | None = None) -> Sweep:
    """A new sweep without runs, named like `anafox-sweep-20261121-1`. Raises `DiskError`, `UsageError`."""
    ownership.require_trusted(home)
    folder = home / FOLDER
    durable.make_directory(folder)
    stem = f"{safe_name(stem, longest=32)}-sweep-{today or time.strftime('%Y%m%d')}"
    number = 0
    while True:
        number += 1
        sweep = Sweep(f"{stem}-{number}", round(time.time(), 3), keys, planned)
        try:
            durable.write_new(_path(home, sweep.name), b"{}\n")
        except FileExistsError:
            continue
        write(home, sweep)
        return sweep


def write(home: Path, sweep: Sweep) -> None:
    """Keeps a sweep as it is now. Raises `DiskError`."""
    table = {"format": FORMAT, "created": sweep.created, "keys": list(sweep.keys), "planned": sweep.planned}
    members = [{**asdict(one), "values": schema_free(one.values)} for one in sweep.members]
    sealed.write(_path(home, sweep.name), {**table, "runs": members}, home)


def schema_free(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values as JSON has them."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}


def read(home: Path, name: str) -> Sweep:
    """A sweep by its name; `latest` is the newest. Raises `UsageError` for one that is not there or cannot be read."""
    if name == "latest":
        found = list_sweeps(home)
        if not found:
            raise UsageError("There are no sweeps yet.", "Start one: loratui sweep FOLDER --preset NAME --over rank=8,16")
        return found[0]
    path = _path(home, name)
    try:
        if not _NAME.fullmatch(path.name):
            raise Gone(2, "is not there")
        return _sweep(name, sealed.read(path, home))
    except Gone:
        there = schema.nearest(name, [sweep.name for sweep in list_sweeps(home)])
        raise UsageError(f"There is no sweep {name}{there}.", "loratui sweeps lists them.") from None
    except (OSError, KeyError, ValueError, TypeError, SchemaError) as error:
        raise UsageError(f"{path} cannot be read: {error}", "Its runs are whole: loratui runs lists them.") from None


def list_sweeps(home: Path) -> list[Sweep]:
    """All sweeps that can be read, the newest first."""
    found = []
    for path in (home / FOLDER).glob("*.json"):
        try:
            found.append(read(home, path.stem))
        except UsageError:
            continue
    return sorted(found, key=lambda sweep: (sweep.created, sweep.name), reverse=True)


def remove(home: Path, name: str) -> None:
    """Forgets a sweep; its runs stay. Raises `UsageError` where there is none."""
    read(home, name)
    durable.remove(_path(home, name))


def _path(home: Path, name: str) -> Path:
    return home / FOLDER / f"{name}.json"


def _sweep(name: str, table: dict[str, Any]) -> Sweep:
    runs, keys, planned = table["runs"], table["keys"], table["planned"]
    if table["format"] != FORMAT or not isinstance(runs, list) or len(runs) > _MOST or not isinstance(keys, list):
        raise ValueError("it has another format")
    if not isinstance(planned, int) or not all(key in schema.KEYS for key in keys):
        raise ValueError("it has unknown settings")
    return Sweep(name, float(table["created"]), tuple(keys), planned, tuple(_member(row, keys) for row in runs))


def _member(row: dict[str, Any], keys: list[str]) -> Member:
    run, path = row["run"], row["path"]
    if not isinstance(run, str) or not RUN_NAME.fullmatch(run) or not isinstance(path, str) or "\0" in path:
        raise ValueError("a run has no name")
    values = {key: schema.check(schema.KEYS[key], _as_tuple(row["values"][key])) for key in keys}
    return Member(run, path, values)


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
