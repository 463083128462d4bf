"""Runs side by side as rows of text: how they ended, and the settings in which they differ."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loratui.engine.runs.directory import RunDirectory
from loratui.engine.runs.history import RunHistory
from loratui.engine.runs.tail import Tail
from loratui.tui import text
from loratui.tui.runs import figures
from loratui.tui.wizard.draft import shown_value

if TYPE_CHECKING:
    from loratui.engine.runs.summary import RunSummary

Rows = tuple[tuple[str, tuple[str, ...]], ...]


def compare(runs: Sequence[RunSummary], price_per_hour: float = 0.0) -> Rows:
    """(what, value of each run): results first, then every setting that differs."""
    states = [run.state for run in runs]
    epochs = [_epochs(run) for run in runs]
    rows: list[tuple[str, tuple[str, ...]]] = [
        ("status", tuple(figures.signed_status(run) for run in runs)),
        ("images", tuple(text.number(state.images) for state in states)),
        ("optimizer steps", tuple(figures.steps(state) for state in states)),
        ("mean loss, last epoch", tuple(_worded(told[-1:]) for told in epochs)),
        ("loss, smoothed", tuple(figures.loss(state) for state in states)),
        ("mean loss, best epoch", tuple(_worded(sorted(told)[:1]) for told in epochs)),
        ("time", tuple(figures.worked(state) for state in states)),
        ("LoRA file", tuple(figures.file(state) for state in states)),
        ("warnings", tuple(str(len(state.warnings)) for state in states)),
    ]
    if price_per_hour:
        rows.append(("cost", tuple(figures.cost_so_far(state, price_per_hour) for state in states)))
    return (*rows, *differing([_settings(run) for run in runs]))


def differing(settings: Sequence[dict[str, Any] | None]) -> Rows:
    """The settings that differ; a dash where a recipe could not be read."""
    keys = {key: None for table in settings if table for key in table}
    rows = []
    for key in keys:
        values = ["–" if table is None else shown_value(table.get(key, "–")) for table in settings]
        if len(set(values)) > 1 and key != "output.name":
            rows.append((key, tuple(values)))
    return tuple(rows)


def _settings(run: RunSummary) -> dict[str, Any] | None:
    from loratui.engine.planning.recipe import read_recipe
    from loratui.presets import schema

    try:
        recipe = read_recipe(Path(run.path) / "effective.toml")
    except schema.SchemaError:
        return None
    return {"preset": recipe.preset, **{key: schema.get(recipe.settings, key) for key in schema.KEYS}}


def _epochs(run: RunSummary) -> list[tuple[float, int]]:
    """The mean loss of each epoch that was completed, and the epoch."""
    history = RunHistory()
    for batch, keep_every in Tail(RunDirectory(Path(run.path)).events).glance():
        history.apply_batch(batch, keep_every)
    return [(epoch.loss, epoch.epoch) for epoch in history.epochs if epoch.loss is not None]


def _worded(epochs: Sequence[tuple[float, int]]) -> str:
    return f"{text.loss(epochs[0][0])} (epoch {epochs[0][1]})" if epochs else "–"
