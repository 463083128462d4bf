"""`loratui runs`: the runs on this machine, with their status."""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from loratui.engine.runs.directory import RunDirectory, loratui_home
from loratui.engine.runs.lineage import ancestors, lineage_of
from loratui.engine.runs.summary import RunSummary, summarise_all
from loratui.tui import text
from loratui.tui.commands import common
from loratui.tui.plain.follow import say
from loratui.tui.runs import figures
from loratui.tui.terminal import clean


def add_arguments(parser: argparse.ArgumentParser, name: str) -> None:
    """`--json`."""
    del name
    common.add_output_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Lists the runs, newest first.

    JSON: `home`, `runs[]` with `name path status job reason advice exit_code created active preset family base trigger
    images epochs epoch step optimizer_steps steps_per_epoch image_step image_steps loss epoch_loss loss_smoothed last_step
    step_s phase text sample output checkpoint_step seconds worked_s seconds_left seconds_left_sure owner
    certainty lineage[]{kind run path step sha256}`; `output` and `sample` are relative to `path`.
    """
    home = loratui_home()
    summaries = summarise_all(home)
    if args.json:
        common.print_json({"home": str(home), "runs": [_to_json(summary) for summary in summaries]})
        return 0
    if not summaries:
        say(sys.stdout, f"There are no runs in {clean(home)}. To try one: loratui demo")
        return 0
    rows = [("run", "status", "steps", "smoothed loss", "preset", "created"), *(_row(s, time.time()) for s in summaries)]
    right = (1, 1, -1, -1, 1, 1)  # numbers are aligned right
    widths = [side * max(len(row[column]) for row in rows) for column, side in enumerate(right)]
    for row in rows:
        say(sys.stdout, text.columns(row, widths), as_it_is=True)
    return 0


def _to_json(summary: RunSummary) -> dict[str, Any]:
    return {**summary.to_json(), "lineage": [asdict(one) for one in ancestors(RunDirectory(Path(summary.path)))]}


def _row(summary: RunSummary, now: float) -> tuple[str, ...]:
    state = summary.state
    steps = figures.steps(state) if state.optimizer_steps else "–"
    made = text.ago(max(0.0, now - summary.created)) if summary.created else "–"
    began = lineage_of(RunDirectory(Path(summary.path)))
    name = clean(summary.name) + (f" ({clean(began.words)})" if began else "")
    name += f" (of {clean(summary.owner, 20)})" if summary.owner else ""
    return name, figures.status(summary), steps, figures.loss(state), clean(state.preset, 30) or "–", made
