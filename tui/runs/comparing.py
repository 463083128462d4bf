"""Runs side by side as rows of text: how they ended, and the settings in which they differ."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loratui.engine.runs.tail import Tail
from loratui.tui import text
from loratui.tui.runs.store import RunState
from loratui.tui.wizard.draft import shown_value

if TYPE_CHECKING:
    from loratui.engine.runs.summary import RunSummary

Rows = tuple[tuple[str, tuple[str, ...]], ...]

_ALWAYS_DIFFERENT = ("output.name",)


def compare(runs: Sequence[RunSummary], price_per_hour: float = 0.0) -> Rows:
    """(what, value of each run): results first, then every setting that is not the same in all of them."""
    states = [_state(run) for run in runs]
    epochs = [_epochs(run) for run in runs]
    rows: list[tuple[str, tuple[str, ...]]] = [
        ("status", tuple(_status(run) for run in runs)),
        ("images", tuple(text.number(run.state.images) for run in runs)),
        ("optimizer steps", tuple(f"{text.number(r.state.step)} of {text.number(r.state.optimizer_steps)}" for r in runs)),
        ("mean loss, last epoch", tuple(_worded(told[-1:]) for told in epochs)),
        ("loss, smoothed", tuple(text.loss(state.smoothed_loss) for state in states)),
        ("mean loss, best epoch", tuple(_worded(sorted(told)[:1]) for told in epochs)),
        ("time", tuple(text.duration(run.state.worked_s or None) for run in runs)),
        ("LoRA file", tuple(Path(run.state.output).name or "–" for run in runs)),
        ("warnings", tuple(str(len(state.warnings)) for state in states)),
    ]
    if price_per_hour:
        rows.append(("cost", tuple(f"{run.state.worked_s / 3600 * price_per_hour:.2f}" for run in runs)))
    return (*rows, *differing([_settings(run) for run in runs]))


def differing(settings: Sequence[dict[str, Any] | None]) -> Rows:
    """The settings that are not the same everywhere; a dash where a run's recipe could not be read."""
    keys = {key: None for table in settings if table for key in table}
    rows = []
    for key in keys:
        values = ["–" if table is None else shown_value(table.get(key, "–")) for table in settings]
        if len(set(values)) > 1 and key not in _ALWAYS_DIFFERENT:
            rows.append((key, tuple(values)))
    return tuple(rows)


def _status(run: RunSummary) -> str:
    """As the list of runs calls it."""
    words = "validating" if run.job == "validate" and run.active else run.status
    return f"{text.STATUS_SIGNS[run.status]} {words}"


def _settings(run: RunSummary) -> dict[str, Any] | None:
    from loratui.engine.planning.recipe import read_recipe
    from loratui.presets import schema

    try:
        recipe = read_recipe(Path(run.path) / "effective.toml")
    except schema.SchemaError:
        return None
    return {"preset": recipe.preset, **{key: schema.get(recipe.settings, key) for key in schema.KEYS}}


def _state(run: RunSummary) -> RunState:
    state = RunState()
    for batch in Tail(Path(run.path) / "events.jsonl").drain():
        state.apply_batch(batch)
    return state


def _epochs(run: RunSummary) -> list[tuple[float, int]]:
    """The mean loss of each epoch that was completed, and the epoch."""
    found: list[tuple[float, int]] = []
    for batch in Tail(Path(run.path) / "events.jsonl").drain():
        for event in batch.events:
            loss, epoch = event.get("loss"), event.get("epoch")
            if event.type == "epoch_finished" and isinstance(loss, (int, float)) and isinstance(epoch, int):
                found.append((float(loss), epoch))
    return found


def _worded(epochs: Sequence[tuple[float, int]]) -> str:
    return f"{text.loss(epochs[0][0])} (epoch {epochs[0][1]})" if epochs else "–"
