"""One run in words: what it has done and costs, and what there is to copy of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from loratui.tui import text
from loratui.tui.widgets.run_list import seconds_left, trains

if TYPE_CHECKING:
    from loratui.engine.runs.summary import RunSummary


def inside(run: RunSummary, relative: str) -> Path | None:
    """A file of the run that its state names; None if there is none or the name leads out of the run."""
    named = Path(relative)
    if not relative or "\0" in relative or named.is_absolute() or ".." in named.parts:
        return None
    return Path(run.path) / named


def numbers(run: RunSummary, price_per_hour: float) -> list[str]:
    """What the chosen run has done, does and costs, a few words each."""
    state = run.state
    words = []
    if state.optimizer_steps:
        words.append(
            f"step {text.number(state.step)} of {text.number(state.optimizer_steps)}, epoch {state.epoch} of {state.epochs}"
        )
    if state.loss_smoothed is not None:
        words.append(f"smoothed loss {text.loss(state.loss_smoothed)}")
    left = seconds_left(run)
    if trains(run) and state.step_s:
        words.append(text.rate(1 / state.step_s))
    if left is not None:
        words.append(f"{text.time_left(left)} left{'' if state.seconds_left_sure else ', not sure yet'}")
    if state.worked_s:
        words.append(f"worked {text.duration(state.worked_s)}")
    if price_per_hour and (state.worked_s or left):
        so_far = f"cost so far {state.worked_s / 3600 * price_per_hour:.2f}"
        words.append(so_far + (f", {left / 3600 * price_per_hour:.2f} to come" if left else ""))
    if state.output:
        words.append(f"LoRA file {Path(state.output).name}")
    return words


def run_texts(run: RunSummary) -> list[tuple[str, str]]:
    """What there is to copy of a run: names and texts."""
    import shlex

    from loratui.tui.terminal import ssh_hints

    items = [("folder", run.path), ("command to come back", f"loratui attach {shlex.quote(run.name)}")]
    output = inside(run, run.state.output)
    if output is not None:
        items += [("LoRA file", str(output)), ("line for your own machine, to fetch the file", ssh_hints.scp_line(output))]
    sample = inside(run, run.state.sample)
    if sample is not None:
        items.append(("newest sample", str(sample)))
    if run.status in ("failed", "interrupted") and run.reason:
        items.append(("error", f"{run.name}: {run.reason} {run.advice}".strip()))
    return items
