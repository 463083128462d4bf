"""What a run adds up to, for lists: its state, and how it stands by that state and its lock."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from loratui.engine.runs import lock, ownership, stalls
from loratui.engine.runs.directory import RunDirectory, list_runs
from loratui.engine.runs.state import RunState
from loratui.engine.runs.state_file import read_state

Status = Literal["starting", "running", "paused", "stopped", "done", "failed", "interrupted", "stalled"]

_GOOD_ENDINGS: tuple[Status, ...] = ("done", "paused", "stopped")

STALLED_AFTER_S = 10.0
"""A trainer writes at least a heartbeat each 5 s; two missing ones are shown."""
START_TAKES_S = 180.0
"""Loading torch from a slow volume may take minutes in which the trainer can say nothing."""
ELSEWHERE_STALE_S, ELSEWHERE_DEAD_S = 30.0, 600.0
"""Locks do not reach across machines: a run that another machine owns is judged by the age of its last event."""

_LONGEST_REASON = 2000
"""Letters of what is said of files that cannot be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """One line of a list of runs."""

    name: str
    path: str
    status: Status
    job: str
    """What is being done now, `train` or `validate`; "" when nothing is."""
    reason: str
    """Why the run ended as it did, in words; "" while it is well."""
    advice: str
    exit_code: int | None
    """Of a run that ended; None before."""
    created: float
    """Seconds since 1970."""
    state: RunState
    owner: str = ""
    """The account that it belongs to, where that is another one."""

    @property
    def active(self) -> bool:
        """Whether a process works on it."""
        return self.status in ("starting", "running", "stalled")

    def file(self, relative: str) -> Path | None:
        """A file of the run that its state names; None if it names none, or one outside of the run."""
        return RunDirectory(Path(self.path)).file(relative)

    def to_json(self) -> dict[str, Any]:
        """The summary as one flat object, for `--json`."""
        own = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "state"}
        return {**own, "active": self.active, **self.state.figures()}


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a run stands, with the reason and what to do about it."""

    status: Status
    reason: str = ""
    advice: str = ""
    exit_code: int | None = None


GONE = "Its folder is gone: deleted, moved, or on a disk that is not connected."
"""The reason of a run that was there when somebody began to look at it."""


def summarise(run: RunDirectory) -> RunSummary:
    """The present summary of a run."""
    owner = lock.read_owner(run.lock)
    held = lock.is_held(run.lock)
    job = (owner.job if owner else "train") if held else ""
    state = read_state(run)
    heard = state if job != "validate" else read_state(run, job)
    quiet_s = heard.quiet_s() if heard.last_ts else max(0.0, time.time() - (owner.since if owner else 0.0))
    verdict = judge(heard, held=held, quiet_s=quiet_s, idle_s=heard.idle_s(), owner=owner, name=run.name)
    if not held and not run.path.is_dir():
        verdict = Verdict("interrupted", GONE)
    if not held and not job:
        job = "train" if verdict.status in ("running", "stalled") else ""
    return RunSummary(
        name=run.name,
        path=str(run.path),
        status=verdict.status,
        job=job,
        reason=verdict.reason,
        advice=verdict.advice,
        exit_code=verdict.exit_code,
        created=run.created(),
        state=state,
        owner=ownership.foreign_owner(run.path),
    )


def how_validation_ended(run: RunDirectory) -> Verdict:
    """How the validation ended; the summary of a run tells that only while it lasts."""
    return judge(read_state(run, "validate"), held=False, quiet_s=0.0, owner=lock.read_owner(run.lock), name=run.name)


def judge(state: RunState, *, held: bool, quiet_s: float, owner: lock.Owner | None, name: str, idle_s: float = 0.0) -> Verdict:
    """How a run stands: by its state, its lock, the seconds since its last event, and those since its trainer got further."""
    if held:
        # What a trainer writes when it pauses or stops may take long, and it says nothing meanwhile.
        busy = not state.told or state.phase == "loading" or bool(state.leaving)
        if quiet_s > (START_TAKES_S if busy else STALLED_AFTER_S):
            return Verdict("stalled", f"No word from the trainer for {stalls.round_about(quiet_s)}.{_stopped(owner)}")
        if state.told and (stalled := stalls.words(state, idle_s)):
            return Verdict("stalled", stalled)
        return Verdict("running" if state.told else "starting")
    if state.ending is not None:
        last = state.ending
        status: Status = next((ending for ending in _GOOD_ENDINGS if ending == last.status), "failed")
        code = last.exit_code if last.exit_code in range(256) else None  # what a process can have
        return Verdict(status, last.reason, last.advice, code)
    if owner is not None and owner.supervisor.host != lock.host_name() and quiet_s < ELSEWHERE_DEAD_S:
        where = f"It runs on {owner.supervisor.host}, whose lock cannot be seen from here."
        return Verdict("running" if quiet_s < ELSEWHERE_STALE_S else "stalled", where)
    if state.final:
        return Verdict("done", "The last LoRA file was written; the supervisor was killed before it could say so.", "", 0)
    advice = f"loratui resume {name} goes on from the last checkpoint."
    return Verdict("interrupted", _why_interrupted(state, owner), advice)


def _stopped(owner: lock.Owner | None) -> str:
    """What to do about a trainer that somebody has stopped by a signal."""
    if owner is None or not owner.trainer.stopped:
        return ""
    return f" Somebody has stopped it by a signal. To let it go on: kill -CONT {owner.trainer.pid}"


def summarise_all(home: Path) -> list[RunSummary]:
    """Summaries of all runs in a home folder, the one made last first."""
    return [_summary_of(run) for run in list_runs(home)]


def _summary_of(run: RunDirectory) -> RunSummary:
    """The summary of a run, or a line that says that there is none: whatever one run holds, the others are listed."""
    try:
        return summarise(run)
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


def _why_interrupted(state: RunState, owner: lock.Owner | None) -> str:
    if not state.seq and owner is None:
        return "It was never started."
    if owner is not None and owner.supervisor.host != lock.host_name():
        return f"It ran on another machine, {owner.supervisor.host}, and has been silent since."
    if owner is not None and owner.supervisor.boot_id != lock.boot_id():
        return "The machine was restarted while it ran."
    return "Its processes ended without a message: killed, perhaps for lack of memory, or the container was restarted."
