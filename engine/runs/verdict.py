"""How a run stands: one verdict from its lock, its log, its files and its volume, with how sure it is. Every reader uses it."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field, replace
from typing import Literal

from loratui.engine import sealed
from loratui.engine.errors import ExitCode
from loratui.engine.machine import volume
from loratui.engine.runs import ages, checkpoint_files, lock, stalls
from loratui.engine.runs.checkpoint_files import CheckpointsFound
from loratui.engine.runs.damage import damaged
from loratui.engine.runs.directory import RunDirectory, renamed_to
from loratui.engine.runs.lora_hashes import is_still_as_saved
from loratui.engine.runs.outcomes import words_of
from loratui.engine.runs.records import Ending
from loratui.engine.runs.state import RunState

Status = Literal[
    "queued", "starting", "running", "finishing", "paused", "stopped", "done", "failed", "interrupted", "stalled", "waiting"
]
Certainty = Literal["sure", "likely"]

_GOOD_ENDINGS: tuple[Status, ...] = ("done", "paused", "stopped")
_ENDED_BY: dict[str, tuple[Status, ExitCode]] = {"pause": ("paused", ExitCode.PAUSED), "stop": ("stopped", ExitCode.TERMINATED)}

STALLED_AFTER_S = 10.0
"""A trainer writes at least a heartbeat each 5 s; two missing ones are shown."""
START_TAKES_S = 180.0
"""Loading torch from a slow volume may take minutes in which the trainer can say nothing."""
ELSEWHERE_STALE_S, ELSEWHERE_DEAD_S = 30.0, 600.0
"""Where locks do not reach, the age of its last event is all that can be known of a run on another machine."""

GONE = "Its folder is gone: deleted, moved, or on a disk that is not connected."
"""The reason of a run that was there when somebody began to look at it."""
NO_SUPERVISOR = "Its supervisor is gone: the trainer goes on, but nobody restarts it or tells how it ends."
_UNSAID = "Its supervisor was gone before it could say so."
_PROMISES = ("continues from the last checkpoint", "goes on from the last checkpoint")
"""What last words say of checkpoints that may be gone or damaged by now."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a run stands, with the reason and what to do about it."""

    status: Status
    reason: str = ""
    """Why it ended as it did, or what is wrong while it works; "" while it is well."""
    advice: str = ""
    exit_code: int | None = None
    """Of a run that ended; None before."""
    certainty: Certainty = "sure"
    """`likely` where another machine may know better."""
    goes_on: str = ""
    """What a resume does, to be said of the command or key; empty where nothing can be resumed."""
    gone: bool = False
    """Whether the run's folder is no longer there."""
    output_gone: bool = False
    """Whether the file that a finished run wrote is no longer there."""

    @property
    def active(self) -> bool:
        """Whether a process works on it."""
        return self.status in ("starting", "running", "finishing", "stalled", "waiting")

    @property
    def resumable(self) -> bool:
        """Whether a resume does anything."""
        return bool(self.goes_on)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What a verdict rests on."""

    name: str
    state: RunState
    held: bool
    """Whether the lock is held, as far as locks reach."""
    quiet_s: float
    """Seconds since the last event."""
    idle_s: float = 0.0
    """Seconds since the trainer got further."""
    owner: lock.Owner | None = None
    job: str = "train"
    locks_reach: bool = True
    """Whether a lock that another machine holds could be seen."""
    unsupervised: bool = False
    """Whether the supervisor is known to be dead while its trainer holds the lock."""
    stopped_pid: int = 0
    """The trainer's, where somebody has stopped it by a signal."""
    checkpoints: CheckpointsFound = field(default_factory=CheckpointsFound)
    output: Literal["", "gone", "differs"] = ""
    """What is wrong with the file that a finished run says it wrote."""
    damaged: tuple[str, ...] = ()
    """Files of the run that are not used, each with the reason."""
    foreign_log: bool = False
    """Whether the event log is that of another run."""
    volume: str = ""
    """Why the volume takes no writes; empty if it does."""
    gone: bool = False
    renamed: str = ""
    """What the folder is called now, if it was renamed."""
    queued: int = 0
    """Its place in the queue, from 1 on; 0 where it does not wait there."""


def gather(
    run: RunDirectory, state: RunState, job: str, *, held: bool, owner: lock.Owner | None, closely: bool, queued: int = 0
) -> Evidence:
    """What there is to know of a run. `closely` reads checkpoints and the finished file in full, where nobody works on them."""
    gone = not held and not run.path.is_dir()
    ended = not held and not gone and job == "train"
    # What a run that is resumed said before counts for nothing.
    held_s = ages.of_process(owner.supervisor) if held and owner else math.inf
    on_this_boot = owner is None or (owner.supervisor.boot_id == lock.boot_id() and lock.supported(run.lock))
    return Evidence(
        name=run.name,
        state=state,
        held=held,
        quiet_s=min(held_s, state.quiet_s()) if state.last_ts else max(0.0, time.time() - (owner.since if owner else 0.0)),
        idle_s=min(held_s, state.idle_s()),
        owner=owner,
        job=job,
        locks_reach=on_this_boot or _is_own(owner) or volume.is_local(run.path),
        unsupervised=held and _is_own(owner) and owner is not None and not owner.supervisor.alive,
        stopped_pid=owner.trainer.pid if held and owner is not None and owner.trainer.stopped else 0,
        checkpoints=checkpoint_files.look(run, sums=closely) if ended else CheckpointsFound(sure=False),
        output=_output_problem(run, state, closely=closely) if ended else "",
        damaged=tuple(damaged(run)) if ended and closely else (),
        foreign_log=is_foreign(run, state),
        volume=volume.trouble(run.path) if ended else "",
        gone=gone,
        renamed=renamed_to(run) if gone else "",
        queued=queued if ended else 0,
    )


def is_foreign(run: RunDirectory, state: RunState) -> bool:
    """Whether the log that adds up to this state is another run's."""
    own = sealed.id_of(run.path) if state.run_id else ""
    return bool(own) and state.run_id != own


def judge(found: Evidence) -> Verdict:
    """How a run stands by what is known of it."""
    verdict = _judged(found)
    if not found.damaged:
        return verdict
    return replace(verdict, reason=f"{verdict.reason} Not used: {', '.join(found.damaged)}.".strip())


def _judged(found: Evidence) -> Verdict:
    if found.foreign_log and not found.held:
        reason = "events.jsonl is the log of another run; its figures are not this run's."
        return Verdict("failed", reason, "Put this run's log back, or move that one away, then resume.")
    if found.gone:
        moved = f"Its folder was renamed: it is {found.renamed} now." if found.renamed else GONE
        return Verdict("interrupted", moved, f"loratui attach {found.renamed}" if found.renamed else "", gone=True)
    if found.held:
        return _alive(found)
    if found.queued:
        first = "It is the next in the queue." if found.queued == 1 else f"It is number {found.queued} in the queue."
        goes_on = _goes_on(found)
        advice = f"To start it now: {words_of(found.job, found.name).again}" if goes_on else "loratui queue lists what waits."
        return Verdict("queued", first, advice, goes_on=goes_on)
    if found.state.ending is not None:
        return _by_the_last_word(found)
    ended = found.state.error is not None or found.state.final
    if not found.locks_reach and not ended and found.quiet_s < ELSEWHERE_DEAD_S:
        return _elsewhere(found)
    return _without_a_last_word(found)


def _alive(found: Evidence) -> Verdict:
    state = found.state
    if state.ending is not None and state.actions and found.owner is not None and state.last_ts >= found.owner.since:
        return _finishing(state, state.ending)
    if state.waiting is not None and not found.unsupervised:
        return Verdict("waiting", state.waiting.reason, state.waiting.advice)
    # What a trainer writes when it pauses or stops may take long, and it says nothing meanwhile.
    busy = not state.told or state.phase == "loading" or bool(state.leaving)
    reason = ""
    if found.quiet_s > (START_TAKES_S if busy else STALLED_AFTER_S):
        reason = f"No word from the trainer for {stalls.round_about(found.quiet_s)}."
        if found.stopped_pid:
            reason += f" Somebody has stopped it by a signal. To let it go on: kill -CONT {found.stopped_pid}"
    elif state.told:
        reason = stalls.words(state, found.idle_s)
    status: Status = "stalled" if reason else "running" if state.told else "starting"
    if not found.unsupervised:
        return Verdict(status, reason)
    again = words_of(found.job, found.name).again
    advice = f"For another supervisor: loratui stop {found.name}, then: {again}"
    return Verdict(status, f"{NO_SUPERVISOR} {reason}".strip(), advice)


def _finishing(state: RunState, ending: Ending) -> Verdict:
    """A run that has ended, and whose actions for that are carried out."""
    here = next((action for action in state.actions if action.goes_on), None)
    said = (here.message or f"{here.action} is not done yet.") if here else ""
    return Verdict("finishing", ending.reason, said, ending.exit_code)


def _elsewhere(found: Evidence) -> Verdict:
    """A run whose last holder is on another machine, whose lock cannot be seen from here."""
    assert found.owner is not None
    goes_on = f"takes it over and {_goes_on(found)}"
    silent = found.quiet_s >= ELSEWHERE_STALE_S
    heard = f", and was last heard of {stalls.round_about(found.quiet_s)} ago" if silent else ""
    reason = f"It runs on {found.owner.supervisor.host}, whose lock cannot be seen from here{heard}."
    advice = f"{words_of(found.job, found.name).again} {goes_on}; a trainer that still runs there stops."
    return Verdict("stalled" if silent else "running", reason, advice, certainty="likely", goes_on=goes_on)


def _by_the_last_word(found: Evidence) -> Verdict:
    last = found.state.ending
    assert last is not None
    status: Status = next((ending for ending in _GOOD_ENDINGS if ending == last.status), "failed")
    code = last.exit_code if last.exit_code in range(256) else None  # what a process can have
    if status == "done":
        return _done(found, Verdict(status, last.reason, last.advice, code))
    return Verdict(status, last.reason, _kept(last.advice, found), code, goes_on=_goes_on(found))


def _done(found: Evidence, verdict: Verdict) -> Verdict:
    """A run that is done, if what it made is there."""
    file = found.state.output
    if found.output == "differs":
        reason = f"All steps are done, but {file} is not as it was saved: it is damaged, or another program changed it."
        step = found.checkpoints.step
        return replace(verdict, reason=reason, advice="" if step is None else f"loratui export {found.name} --step {step}")
    if not found.output:
        return verdict
    goes_on = _goes_on(found, again=" and writes it again")
    return Verdict(
        "interrupted",
        f"All steps are done, but {file} is not there.",
        _advice(found, goes_on),
        goes_on=goes_on,
        output_gone=True,
    )


def _without_a_last_word(found: Evidence) -> Verdict:
    state, goes_on = found.state, _goes_on(found)
    if state.error is not None:
        code = state.error.exit_code if state.error.exit_code in range(1, 256) else ExitCode.CRASHED
        advice = _kept(state.error.remedy, found)
        return Verdict("failed", f"{state.error.message} {_UNSAID}", advice, int(code), goes_on=goes_on)
    if state.final:
        return _done(found, Verdict("done", f"The last LoRA file was written. {_UNSAID}", "", int(ExitCode.DONE)))
    if state.leaving in _ENDED_BY and state.checkpoint_step == state.step:
        status, code = _ENDED_BY[state.leaving]
        return Verdict(status, f"It {status} as asked. {_UNSAID}", _advice(found, goes_on), int(code), goes_on=goes_on)
    elsewhere = not found.locks_reach
    reason = _why_interrupted(found)
    return Verdict("interrupted", reason, _advice(found, goes_on), None, "likely" if elsewhere else "sure", goes_on)


def _goes_on(found: Evidence, again: str = "") -> str:
    """What a resume does, as what follows its command or key; empty where none can be resumed."""
    if found.job != "train":
        return "makes the missing images"
    there, told = found.checkpoints, found.state.checkpoint_step
    if there.all_damaged:
        return ""
    if there.step is None:
        if not found.state.seq and found.owner is None:
            return "starts it"
        return "starts it again: its checkpoints are gone" if told else "starts it again: it has no checkpoint"
    if not there.sure:
        return "resumes it"
    missing = ""
    if there.damaged:
        missing = f": the checkpoint of step {there.damaged[0]} is damaged"
    elif there.step < told:
        missing = f": the checkpoint of step {told} is gone"
    return f"continues from step {there.step}{again}{missing}"


def _advice(found: Evidence, goes_on: str) -> str:
    if not goes_on:
        return "Every checkpoint is damaged; the LoRA files in output/ are untouched. Start a new run: loratui train RUN/recipe.toml"
    words = f"{words_of(found.job, found.name).again} {goes_on}."
    return f"Free some space, then: {words}" if found.volume else words


def _kept(advice: str, found: Evidence) -> str:
    """An earlier advice, without a promise of checkpoints that are not there, or that nobody has looked at closely."""
    goes_on = _goes_on(found)
    if not goes_on and found.job == "train":
        return _advice(found, goes_on)
    for promise in _PROMISES:
        advice = advice.replace(promise, goes_on)
    lost = found.checkpoints.damaged or (found.checkpoints.step or 0) < found.state.checkpoint_step
    if lost:
        advice = advice.replace(f"{found.name} goes on", f"{found.name} {goes_on}")
    if lost and found.job == "train" and goes_on not in advice:
        return f"{advice} {_advice(found, goes_on)}".strip()
    return advice


def _why_interrupted(found: Evidence) -> str:
    state, owner = found.state, found.owner
    if not state.seq and (found.checkpoints.step or found.checkpoints.damaged):
        return "Its event log is empty or damaged, so nothing is known of what it did before its checkpoint."
    if not state.seq and owner is None:
        return "It was never started."
    if state.trainer_end is not None and state.trainer_end.reason:
        return f"{state.trainer_end.reason} Its supervisor ended too."
    if owner is not None and owner.supervisor.boot_id != lock.boot_id():
        here = owner.supervisor.host == lock.host_name()
        return "The machine was restarted while it ran." if here else f"{_ran_on(owner)}, and has been silent since."
    if owner is not None and owner.supervisor.host != lock.host_name():
        return f"{_ran_on(owner)}, which has ended."
    if state.waiting is not None:
        return f"Its processes ended while it waited for its disk: {state.waiting.reason}"
    if found.volume:
        return f"Its processes ended without a message. {found.volume}"
    return "Its processes ended without a message: killed, perhaps for lack of memory, or the container was restarted."


def _ran_on(owner: lock.Owner) -> str:
    """A container or a machine: from its name alone one cannot tell."""
    return f"It ran in another container or on another machine, {owner.supervisor.host}"


def _is_own(owner: lock.Owner | None) -> bool:
    """Whether the holder's processes can be looked at from here."""
    return owner is not None and owner.supervisor.host == lock.host_name() and owner.supervisor.boot_id == lock.boot_id()


def _output_problem(run: RunDirectory, state: RunState, *, closely: bool) -> Literal["", "gone", "differs"]:
    finished = state.final or (state.ending is not None and state.ending.status == "done")
    path = run.file(state.output) if finished else None
    if path is None:
        return ""
    if not path.is_file():
        return "gone"
    return "differs" if closely and not is_still_as_saved(path) else ""
