"""What a run adds up to, for lists and screens: its state, and the verdict on it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loratui.engine.runs import lock, ownership
from loratui.engine.runs.directory import RunDirectory, list_runs
from loratui.engine.runs.queue import entries
from loratui.engine.runs.queue.entries import Queue
from loratui.engine.runs.state import RunState
from loratui.engine.runs.state_file import read_state
from loratui.engine.runs.verdict import Verdict, gather, judge

_KEYS = ("name", "path", "status", "job", "reason", "advice", "exit_code", "created", "owner", "certainty")
"""What `--json` has besides the figures."""

_LONGEST_REASON = 2000
"""Letters of what is said of files that cannot be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary(Verdict):
    """One line of a list of runs: the verdict on a run, and what else there is to say of it."""

    name: str
    path: str
    job: str
    """What is being done now, `train` or `validate`; "" when nothing is."""
    created: float
    """Seconds since 1970."""
    state: RunState
    owner: str = ""
    """The account that it belongs to, where that is another one."""

    def file(self, relative: str) -> Path | None:
        """A file of the run that its state names; None if it names none, or one outside of the run."""
        return RunDirectory(Path(self.path)).file(relative)

    def to_json(self) -> dict[str, Any]:
        """The summary as one flat object, for `--json`."""
        own = {name: getattr(self, name) for name in _KEYS}
        there = {"output": "" if self.output_gone else self.state.output}
        return {**own, "active": self.active, **self.state.figures(), **there}


def summarise(run: RunDirectory, *, closely: bool = False, queue: Queue | None = None) -> RunSummary:
    """The present summary of a run. `closely` compares the sums of its checkpoints and of its finished file too, once nobody works on it:
    for whoever looks at one run. `queue` is that of the run's home, where it was read already."""
    owner = lock.read_owner(run.lock)
    held = lock.is_held(run.lock)
    job = (owner.job if owner else "train") if held else ""
    state = read_state(run)
    heard = state if job != "validate" else read_state(run, job)
    waits = entries.of_run(run) if queue is None else queue
    found = judge(
        gather(run, heard, job or "train", held=held, owner=owner, closely=closely, queued=waits.place(run.name, state.seq))
    )
    if not held and not job:
        job = "train" if found.status in ("running", "stalled") else ""
    return RunSummary(
        **{f.name: getattr(found, f.name) for f in dataclasses.fields(found)},
        name=run.name,
        path=str(run.path),
        job=job,
        created=run.created(),
        state=state,
        owner=ownership.foreign_owner(run.path),
    )


def how_validation_ended(run: RunDirectory) -> Verdict:
    """How the validation ended; the summary of a run tells that only while it lasts."""
    state, owner = read_state(run, "validate"), lock.read_owner(run.lock)
    return judge(gather(run, state, "validate", held=False, owner=owner, closely=False))


def summarise_all(home: Path) -> list[RunSummary]:
    """Summaries of all runs in a home folder, the one made last first."""
    queue = entries.read_if_possible(home)
    return [_summary_of(run, queue) for run in list_runs(home)]


def _summary_of(run: RunDirectory, queue: Queue) -> RunSummary:
    """The summary of a run, or a line that says that there is none: whatever one run holds, the others are listed."""
    try:
        return summarise(run, queue=queue)
    except Exception as error:
        return RunSummary(
            name=run.name,
            path=str(run.path),
            status="failed",
            job="",
            reason=f"Its files cannot be read: {type(error).__name__}: {error}"[:_LONGEST_REASON],
            advice="Look into its folder.",
            exit_code=None,
            created=0.0,
            state=RunState(),
        )
