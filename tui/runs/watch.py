"""News about runs, shown on every screen: ends, crashes, numbers not finite, a disk running full. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from loratui.engine.errors import ExitCode
from loratui.engine.limits import disk_is_low
from loratui.engine.words import size
from loratui.tui.runs import figures

if TYPE_CHECKING:
    from loratui.engine.runs.summary import RunSummary
    from loratui.engine.runs.verdict import Verdict

Severity = Literal["information", "warning", "error"]


@dataclass(frozen=True, slots=True)
class Notice:
    """One piece of news."""

    words: str
    severity: Severity
    run: str = ""
    """Its run; empty for the machine."""


def notices(
    before: Mapping[str, RunSummary], now: Iterable[RunSummary], validation_ended: Callable[[RunSummary], Verdict]
) -> list[Notice]:
    """The changes between two looks at the runs that matter to a person. Runs not seen before are no news.

    `validation_ended` gives how a validation ended: by then the summary is about the training.
    """
    found = []
    for run in now:
        old = before.get(run.name)
        if old is None:
            continue
        if old.job == "validate" and old.active and not run.job:
            ended = validation_ended(run)
            run = replace(run, status=ended.status, reason=ended.reason, advice=ended.advice, exit_code=ended.exit_code)
        found.append(_of_run(old, run))
    return [notice for notice in found if notice]


def disk_notice(free_bytes: int | None, was_low: bool, next_bytes: int) -> tuple[Notice | None, bool]:
    """A notice when the disk may not take what the active runs write next (`next_bytes`, 0 without one), and whether it is low; once
    until there is space again."""
    if free_bytes is None or not next_bytes:
        return None, was_low
    low = disk_is_low(free_bytes, next_bytes, was_low)
    if not low or was_low:
        return None, low
    words = f"Only {size(free_bytes)} are free on the disk of the runs, and their next writes take {size(next_bytes)}. Without room they wait."
    return Notice(f"{words} Free some space.", "error"), True


def window_title(runs: Sequence[RunSummary], shown: str = "") -> str:
    """The title of the window: the progress of the shown run, else of the first active run, else the program."""
    active = [run for run in runs if run.active]
    run = next((run for run in active if run.name == shown), active[0] if active else None)
    if run is None:
        return "loratui"
    if run.status in ("stalled", "waiting"):
        return f"{run.status} · {run.name} · loratui"
    share = figures.percent(run.state) if run.job == "train" else ""
    return " · ".join(word for word in (share, run.name, "loratui") if word)


def _of_run(old: RunSummary, run: RunSummary) -> Notice | None:
    if run.status == old.status or run.job not in (old.job, ""):
        return None
    if old.status == "queued" and run.exit_code is None:  # it was taken out of the queue, or it starts
        return None
    what = "The validation of " if old.job == "validate" else ""
    match run.status:
        case "done":
            return Notice(f"✔ {what}{run.name} is done.", "information", run.name)
        case "finishing":
            return Notice(f"{run.name} has ended. {run.advice}".rstrip(), "information", run.name)
        case "paused" | "stopped":
            severity: Severity = "error" if run.exit_code == ExitCode.DISK else "information"
            return Notice(f"‖ {what}{run.name} is {run.status}. {run.reason}".rstrip(), severity, run.name)
        case "failed" | "interrupted":
            why = "Its numbers are no longer finite (NaN). " if run.exit_code == ExitCode.NOT_FINITE else ""
            return Notice(f"✖ {what}{run.name} ended. {why}{run.reason} {run.advice}".rstrip(), "error", run.name)
        case "stalled":
            return Notice(f"! {run.name}: {run.reason}", "warning", run.name)
        case "waiting":
            return Notice(f"! {run.name} waits for its disk. {run.reason} {run.advice}", "error", run.name)
    return None
