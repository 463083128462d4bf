"""What a person chose for the end of a run: in its recipe before the start, and in a file of the run at any time after it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from loratui.engine import sealed
from loratui.engine.errors import UsageError
from loratui.engine.planning.ending_rules import secrets_in
from loratui.engine.runs.directory import RunDirectory
from loratui.presets.schema import KEYS, SchemaError, WhenFinished, check
from loratui.presets.toml_file import read_settings, read_toml

FORMAT = 1
SECTION = "when_finished"

ACTIONS = ("copy", "command", "notify", "pod")
"""In the order in which they are carried out: the message tells what became of the files, and the pod stops last."""


def read(run: RunDirectory) -> WhenFinished:
    """What is chosen for a run now. Raises `SchemaError` for a recipe that cannot be read."""
    chosen = WhenFinished()
    if run.effective.exists():
        text, table = read_toml(run.effective)
        own = {SECTION: table[SECTION]} if SECTION in table else {}
        chosen = read_settings(own, origin=str(run.effective), text=text)[0].when_finished
    try:
        body = sealed.read(run.when_finished, run.path)
    except OSError:
        return chosen
    if body.get("v") != FORMAT:
        return chosen
    return with_values(chosen, {f.name: body[f.name] for f in fields(WhenFinished) if f.name in body})


def with_values(chosen: WhenFinished, values: Mapping[str, Any]) -> WhenFinished:
    """`chosen` with other values, by their names without section. Raises `SchemaError` for one that does not fit."""
    checked = {name: check(KEYS[f"{SECTION}.{name}"], value) for name, value in values.items()}
    return WhenFinished(**{**asdict(chosen), **checked})


def change(run: RunDirectory, values: Mapping[str, Any]) -> WhenFinished:
    """Changes what is done at the end of a run; it counts from the next ending on, or for what is not yet begun.

    Raises `SchemaError`, `DiskError`, and `UsageError` for a secret in a value.
    """
    after = with_values(read(run), values)
    if named := secrets_in(after):
        raise UsageError(f"{', '.join(named)}: this would write a secret into the run.", "Keep it in the environment.")
    sealed.write(run.when_finished, {"v": FORMAT, **asdict(after)}, run.path)
    return after


def wanted(chosen: WhenFinished, status: str) -> tuple[str, ...]:
    """The actions for an ending of this status. Of a failure the message tells in any case."""
    there = {
        "copy": bool(chosen.copy_to),
        "command": bool(chosen.command),
        "notify": chosen.notify != "off",
        "pod": chosen.pod == "stop",
    }
    if status == "failed" and not chosen.after_failure:
        there = {"notify": there["notify"]}
    elif status in ("paused", "stopped") and not chosen.after_pause:
        there = {}
    return tuple(name for name in ACTIONS if there.get(name))


def in_words(chosen: WhenFinished) -> tuple[str, ...]:
    """What is chosen, a phrase for each action; empty if that is nothing."""
    phrases = {
        "copy": f"copy the LoRA files to {chosen.copy_to}",
        "command": f"run {shlex.join(chosen.command)}",
        "notify": f"notify by {' and '.join(channels(chosen))}",
        "pod": f"stop the pod after {chosen.countdown_s} s",
    }
    return tuple(phrases[name] for name in wanted(chosen, "done"))


def channels(chosen: WhenFinished) -> tuple[str, ...]:
    """The ways by which somebody is told."""
    return {"off": (), "both": ("webhook", "ntfy")}.get(chosen.notify, (chosen.notify,))


def chosen_or_none(run: RunDirectory) -> WhenFinished:
    """As `read`; nothing where it cannot be read, as in a run whose recipe is damaged."""
    try:
        return read(run)
    except (SchemaError, OSError):
        return WhenFinished()
