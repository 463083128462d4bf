"""What a run adds up to, for lists: the numbers from `state.json`, and how it stands from the lock and the end of the log."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from loratui.engine import durable
from loratui.engine.errors import DiskError, UsageError
from loratui.engine.runs import lock, ownership
from loratui.engine.runs.directory import RunDirectory, list_runs
from loratui.engine.runs.eta import EtaEstimator
from loratui.engine.runs.events import Event, last_events
from loratui.engine.runs.smoothing import SmoothedLoss
from loratui.engine.untrusted import finite, read_json

FORMAT = 1

Status = Literal["starting", "running", "paused", "stopped", "done", "failed", "interrupted", "stalled"]

STALLED_AFTER_S = 10.0
"""A trainer writes at least a heartbeat each 5 s; two missing ones are shown."""
START_TAKES_S = 180.0
"""Loading torch from a slow volume may take minutes in which the trainer can say nothing."""
ELSEWHERE_STALE_S, ELSEWHERE_DEAD_S = 30.0, 600.0
"""Locks do not reach across machines: a run that another machine owns is judged by the age of its last event."""

_WRITE_EVERY_S = 5.0
_LONGEST_REASON = 2000
"""Letters of what a log says of its run's end."""
_LARGEST_COUNT = 1 << 53
"""From here on a whole number is no count of anything."""
_END_OF_LOG = 8192
"""Bytes of the log that tell how a run stands: some fifty events."""
_SUPERVISORS_TYPES = frozenset({"trainer_started", "trainer_ended", "run_finished"})


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """`state.json`: the numbers of a run as its trainer last told them. A cache of the log, for lists and fast starts."""

    preset: str = ""
    family: str = ""
    base: str = ""
    trigger: str = ""
    images: int = 0
    epochs: int = 0
    epoch: int = 0
    step: int = 0
    """Optimizer steps made."""
    optimizer_steps: int = 0
    steps_per_epoch: int = 0
    """0 in runs of versions that did not tell."""
    image_step: int = 0
    image_steps: int = 0
    loss: float | None = None
    """Mean of the last epoch where that was told last, else that of the last step."""
    loss_smoothed: float | None = None
    """What lists, dashboard and status show."""
    last_step: int = 0
    """The optimizer step with which the run ends, which a person may have brought forward; 0: that of the plan."""
    step_s: float | None = None
    """Seconds per optimizer step, smoothed."""
    phase: str = ""
    text: str = ""
    sample: str = ""
    """The newest sample, relative to the run."""
    output: str = ""
    """The newest LoRA file, relative to the run."""
    checkpoint_step: int = 0
    seconds: float = 0.0
    """Time that the steps up to the last checkpoint took."""
    worked_s: float = 0.0
    """Time in which trainers of this run have worked, also for what was lost and made again. What a rented machine costs."""
    seconds_left: float | None = None
    """To the last step, with samples and checkpoints; None while nobody knows."""
    seconds_left_sure: bool = False
    seq: int = 0
    """The last event that is contained in these numbers."""


class StateWriter:
    """Keeps `state.json` up to date: at most each 5 s, and at once when the phase changes."""

    def __init__(self, run: RunDirectory) -> None:
        self._run = run
        self._state = read_state(run)
        self._smoothed = SmoothedLoss()
        self._smoothed.go_on_from(self._state.step, self._state.loss_smoothed)
        self._pace = EtaEstimator(self._state.worked_s)
        self._written: State | None = None
        self._written_at = float("-inf")

    @property
    def state(self) -> State:
        """The numbers as last updated."""
        return self._state

    def update(self, *, now: bool = False, **changes: Any) -> None:
        """Takes in changed fields of `State`; writes if it is time, if the phase is new, or `now`.

        The smoothed loss and the time left follow from the others. A full disk is no error here: the log is the truth.
        """
        before = self._state
        if "step" in changes and "loss" in changes:
            changes["loss_smoothed"] = self._smooth(changes["step"], changes["loss"])
            last = changes.get("last_step", before.last_step) or before.optimizer_steps
            self._pace.step(changes["step"], changes.get("step_s", before.step_s), last - changes["step"])
        left = self._pace.time_left()
        changes["worked_s"] = round(self._pace.worked_s, 3)
        changes["seconds_left"] = round(left.seconds, 3) if left else None
        changes["seconds_left_sure"] = left is not None and left.sure
        self._state = dataclasses.replace(before, **changes)
        due = time.monotonic() - self._written_at >= _WRITE_EVERY_S
        if (now or due or self._state.phase != before.phase) and self._state != self._written:
            self.write()

    def tick(self, event: str, ts: float) -> None:
        """An event was written at `ts`, seconds since 1970; the time since the one before it was work."""
        self._pace.tick(ts)
        if event in ("trainer_started", "run_started"):
            self._pace.restart(ts)
        elif event == "epoch_finished":
            self._pace.end_epoch()

    def _smooth(self, step: int, loss: float | None) -> float | None:
        if step <= 1 or step < self._smoothed.last_step:  # a trainer that was started again goes back to its checkpoint
            self._smoothed.go_on_from(step - 1, self._smoothed.value if step > 1 else None)
        self._smoothed.plan(self._state.optimizer_steps)
        self._smoothed.add(step, loss)
        return self._smoothed.value

    def write(self) -> None:
        """Writes the file now."""
        self._written_at = time.monotonic()
        try:
            durable.write_json(self._run.state, {"v": FORMAT, **_finite(self._state)}, durable=False)
        except (DiskError, UsageError):
            return
        self._written = self._state


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
    state: State
    owner: str = ""
    """The account that it belongs to, where that is another one."""

    @property
    def active(self) -> bool:
        """Whether a process works on it."""
        return self.status in ("starting", "running", "stalled")

    def to_json(self) -> dict[str, Any]:
        """The summary as one flat object, for `--json`."""
        own = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "state"}
        return {**own, "active": self.active, **{k: v for k, v in _finite(self.state).items() if k != "seq"}}


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a run stands, with the reason and what to do about it."""

    status: Status
    reason: str = ""
    advice: str = ""
    exit_code: int | None = None


GONE = "Its folder is gone: it was deleted or moved, or the disk with it is away."
"""The reason of a run that was there when somebody began to look at it."""


def summarise(run: RunDirectory) -> RunSummary:
    """The present summary of a run, without reading more than the end of its log."""
    owner = lock.read_owner(run.lock)
    held = lock.is_held(run.lock)
    job = (owner.job if owner else "train") if held else ""
    events = _end_of_log(run, job)
    quiet_s = max(0.0, time.time() - events[-1].ts) if events else max(0.0, time.time() - (owner.since if owner else 0.0))
    verdict = judge(events, held=held, quiet_s=quiet_s, owner=owner, name=run.name)
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
        state=read_state(run),
        owner=ownership.foreign_owner(run.path),
    )


def how_the_check_ended(run: RunDirectory) -> Verdict:
    """How the images of the check ended, which the summary of a run does not tell once nobody makes them any more."""
    events = _end_of_log(run, "validate")
    return judge(events, held=False, quiet_s=0.0, owner=lock.read_owner(run.lock), name=run.name)


def _round_about(quiet_s: float) -> str:
    """A silence in steps that one need not look at each second: 10 s up to a minute, then minutes, then hours."""
    if quiet_s < 60:
        return f"{quiet_s // 10 * 10:.0f} s"
    return f"{quiet_s // 60:.0f} min" if quiet_s < 7200 else f"{quiet_s // 3600:.0f} h"


def _leaves(events: Sequence[Event]) -> bool:
    """Whether the trainer has agreed to pause or stop: what it writes at the end may take long, and says nothing meanwhile."""
    for event in reversed(events):
        if event.type == "trainer_started":
            return False
        if event.type == "command_acknowledged" and event.get("command") in ("pause", "stop") and event.get("ok") is True:
            return True
    return False


def judge(events: Sequence[Event], *, held: bool, quiet_s: float, owner: lock.Owner | None, name: str) -> Verdict:
    """How a run stands, from the last events of its log, its lock, and the seconds since the last event."""
    last = events[-1] if events else None
    if held:
        told = last is not None and last.type not in _SUPERVISORS_TYPES
        busy = not told or (last is not None and last.get("phase") == "loading") or _leaves(events)
        limit_s = START_TAKES_S if busy else STALLED_AFTER_S
        if quiet_s > limit_s:
            return Verdict("stalled", f"No word from the trainer for {_round_about(quiet_s)}.")
        return Verdict("running" if told else "starting")
    if last is not None and last.type == "run_finished":
        return _as_finished(last)
    if owner is not None and owner.supervisor.host != lock.host_name() and quiet_s < ELSEWHERE_DEAD_S:
        where = f"It runs on {owner.supervisor.host}, whose lock cannot be seen from here."
        return Verdict("running" if quiet_s < ELSEWHERE_STALE_S else "stalled", where)
    if _finished_without_a_word(events):
        return Verdict("done", "The last LoRA file was written; the supervisor was killed before it could say so.", "", 0)
    advice = f"loratui resume {name} goes on from the last checkpoint."
    return Verdict("interrupted", _why_interrupted(last, owner), advice)


def read_state(run: RunDirectory) -> State:
    """The numbers in `state.json`; zeros if it is missing or unusable. Fields of the wrong type are left out."""
    try:
        body = read_json(run.state, follow=False)
    except OSError:
        return State()
    if not isinstance(body, dict):
        return State()
    kept = {f.name: body[f.name] for f in dataclasses.fields(State) if f.name in body and _fits(body[f.name], f.default)}
    return State(**kept)


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
            state=State(),
        )


def _end_of_log(run: RunDirectory, job: str) -> tuple[Event, ...]:
    """The last events of a job; none where the log cannot be read."""
    try:
        return last_events(run.events_of(job), _END_OF_LOG)
    except OSError:
        return ()


def _as_finished(event: Event) -> Verdict:
    endings: tuple[Status, ...] = ("done", "paused", "stopped")
    code = event.get("exit_code")
    return Verdict(
        next((ending for ending in endings if ending == event.get("status")), "failed"),
        _words(event.get("reason")),
        _words(event.get("advice")),
        code if type(code) is int and 0 <= code < 256 else None,
    )


def _words(value: object) -> str:
    return value[:_LONGEST_REASON] if isinstance(value, str) else ""


def _finished_without_a_word(events: Sequence[Event]) -> bool:
    """Whether the last trainer that is seen to start, or any if none is, wrote the final file."""
    for event in reversed(events):
        if event.type == "output_written" and event.get("final"):
            return True
        if event.type in ("trainer_started", "run_started", "trainer_ended"):
            return False
    return False


def _why_interrupted(last: Event | None, owner: lock.Owner | None) -> str:
    if last is None and owner is None:
        return "It was never started."
    if owner is not None and owner.supervisor.host != lock.host_name():
        return f"It ran on another machine, {owner.supervisor.host}, and has said nothing since."
    if owner is not None and owner.supervisor.boot_id != lock.boot_id():
        return "The machine was restarted while it ran."
    return "Its processes are gone without a word: killed, perhaps for lack of memory, or the container was restarted."


def _fits(value: Any, default: Any) -> bool:
    if isinstance(value, bool):
        return False
    if default is None or isinstance(default, float):
        return finite(value) is not None or (default is None and value is None)
    if isinstance(default, int):
        return isinstance(value, int) and abs(value) < _LARGEST_COUNT
    return isinstance(value, type(default))


def _finite(state: State) -> dict[str, Any]:
    """The fields of a state, with None for numbers that are not finite, which JSON does not know."""
    fields = dataclasses.asdict(state)
    return {k: None if isinstance(v, float) and v - v != 0 else v for k, v in fields.items()}
