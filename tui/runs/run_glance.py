"""One run in words: its figures, its cost, and the texts to copy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loratui.tui.runs import figures

if TYPE_CHECKING:
    from loratui.engine.runs.summary import RunSummary


def numbers(run: RunSummary, price_per_hour: float) -> list[str]:
    """Progress, cost and LoRA file, a few words each."""
    state, active = run.state, figures.trains(run)
    words = list(figures.progress(state, active)) if state.optimizer_steps else []
    words += figures.costs(state, price_per_hour, active)
    return [*words, f"LoRA file {figures.file(state)}"] if state.output else words


def run_texts(run: RunSummary) -> list[tuple[str, str]]:
    """Names and texts to copy."""
    import shlex

    from loratui.tui.terminal import ssh_hints

    items = [("folder", run.path), ("command to come back", f"loratui attach {shlex.quote(run.name)}")]
    output = run.file(run.state.output)
    if output is not None:
        items += [("LoRA file", str(output)), ("scp line for the LoRA file, for your own machine", ssh_hints.scp_line(output))]
    sample = run.file(run.state.sample)
    if sample is not None:
        items.append(("newest sample", str(sample)))
    if run.status in ("failed", "interrupted") and run.reason:
        items.append(("error", f"{run.name}: {run.reason} {run.advice}".strip()))
    return items
