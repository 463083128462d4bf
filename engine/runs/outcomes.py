"""What follows from the way a trainer ended: start it again, or say the last word on the run."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import Literal

from loratui.engine.errors import ExitCode

MOST_RESTARTS = 3
"""Restarts in a row without a new checkpoint; then the fault is not bad luck."""
MOST_AN_HOUR = 12
"""Restarts within an hour, of every kind and however far each gets: a machine costs money while it loads the same base again."""
LONGER_EACH_TIME = 5
"""The pause before a restart is so many times that before the last: what is gone for a moment comes back, and what is broken costs little."""

Ending = Literal["done", "paused", "stopped", "failed"]
Request = Literal["", "stop", "pause"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How one trainer ended. Exactly one of `exit_code` and `signal` is set."""

    exit_code: int | None = None
    signal: int | None = None
    asked: Request = ""
    """What a person, or a SIGTERM to the supervisor, had asked for by then."""
    killed_as_asked: bool = False
    """Whether a person had it killed: `loratui stop --kill`."""
    oom_killed: bool = False
    """Whether the kernel counted a kill for lack of memory meanwhile."""
    message: str = ""
    """The trainer's own words on its error, if it could write them."""
    remedy: str = ""
    last_line: str = ""
    """The last thing that it printed."""
    fault: str = ""
    """Which class of `machine.gpu_faults` the error is of."""
    worked: bool = False
    """Whether this run has made steps, so what it needs was there."""
    stalled: str = ""
    """Why the supervisor ended it: it had got no further for too long."""
    waited: str = ""
    """Why it waited for its disk, if it did."""
    next_plan: str = ""
    """The memory plan with which the run goes on, where it ran out of GPU memory and another plan is left."""
    early: int = 0
    """The epoch after which it ended, as its recipe says, since the samples got no better; 0 if it made all steps."""


@dataclass(frozen=True, slots=True)
class Restart:
    """Go on from the last checkpoint."""


@dataclass(frozen=True, slots=True)
class Finish:
    """The last word: `run_finished` and the exit code of the whole run."""

    status: Ending
    exit_code: int
    reason: str
    advice: str


@dataclass(frozen=True, slots=True)
class Words:
    """What the last word on a job says that depends on the job."""

    again: str
    """The command that goes on with it."""
    done: str
    next: str
    """What to do after a good end."""


def words_of(job: str, name: str) -> Words:
    """The words for a job, `train` or `validate`, of the run called `name`."""
    if job == "validate":
        return Words(f"loratui validate {name}", "All images are made.", "")
    return Words(f"loratui resume {name}", "All steps are done.", f"loratui validate {name} makes the validation images.")


_FINAL: dict[int, tuple[Ending, str, str]] = {
    ExitCode.DONE: ("done", "Done.", ""),
    ExitCode.PAUSED: ("paused", "Paused as asked.", "{again} goes on."),
    ExitCode.TERMINATED: ("stopped", "Stopped as asked.", "{again} goes on."),
    ExitCode.USAGE: ("failed", "The settings or paths cannot be used.", "Correct them and start a new run."),
    ExitCode.DATASET: ("failed", "The images cannot be trained on.", "Correct the folder and start a new run."),
    ExitCode.DISK: ("failed", "The disk is full or cannot be written.", "Free some space, then: {again}"),
    ExitCode.NOT_FINITE: (
        "failed",
        "The numbers were no longer finite.",
        "The last good file is kept. Start a new run with a lower learning rate.",
    ),
    ExitCode.GPU_LOST: (
        "failed",
        "The GPU no longer answers.",
        "Restart the machine or move the run to another, then: {again}",
    ),
    ExitCode.OUT_OF_MEMORY: (
        "failed",
        "There was not enough memory.",
        "Start a new run with a smaller batch or resolution, or free memory and: {again}",
    ),
}

_CRASHES = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE)
_CRASH_ADVICE = "log/trainer.log has the details. {again} continues from the last checkpoint."


def decide(outcome: Outcome, attempts: int, progressed: bool, words: Words, lately: int = 0) -> Restart | Finish:
    """Restarts a trainer that was killed, was ended because it stalled, or lost what it had worked with (the GPU, main memory), unless
    its end was requested or restarts do not help; and one that ran out of GPU memory with another memory plan left. Every other exit
    code is final.

    `attempts` counts the restarts since the last new checkpoint, `progressed` says whether this trainer made one, and `lately` counts all
    restarts of the last hour. The exit code of a killed run is never that of the kill (137).
    """
    another_plan = bool(outcome.next_plan) and outcome.exit_code == ExitCode.OUT_OF_MEMORY
    if not (another_plan or _may_come_back(outcome)):
        return _finish_by_code(outcome, words)
    if outcome.asked or (outcome.signal in (signal.SIGTERM, signal.SIGINT) and not outcome.stalled):
        return finish_by_request(outcome, outcome.asked, words)
    if lately < MOST_AN_HOUR and (another_plan or progressed or attempts < MOST_RESTARTS):
        return Restart()
    much = (
        f"{MOST_RESTARTS} restarts got no further." if lately < MOST_AN_HOUR else f"That was restart {lately} within an hour."
    )
    code = ExitCode.OUT_OF_MEMORY if outcome.oom_killed else outcome.exit_code
    known = _FINAL.get(code) if code is not None and not outcome.stalled else None
    advice = outcome.remedy or (known[2] if known else _CRASH_ADVICE).format(again=words.again)
    return Finish("failed", int(code if code and known else ExitCode.CRASHED), f"{describe(outcome)} {much}", advice)


def _may_come_back(outcome: Outcome) -> bool:
    """Whether what ended a trainer may be gone when it starts again."""
    if outcome.signal is not None or outcome.stalled:
        return True
    lost = outcome.exit_code == ExitCode.GPU_LOST or (
        outcome.exit_code == ExitCode.OUT_OF_MEMORY and outcome.fault == "main_memory"
    )
    return lost and outcome.worked


def describe(outcome: Outcome) -> str:
    """How the trainer ended, in words."""
    if outcome.stalled and not outcome.killed_as_asked:
        return f"{outcome.stalled} The trainer was ended."
    if outcome.signal is not None:
        if outcome.killed_as_asked:
            return f"The trainer was killed (signal {outcome.signal}), as stop --kill asks for where it does not answer."
        if outcome.oom_killed:
            return f"The trainer was killed (signal {outcome.signal}) because memory ran out."
        if outcome.signal == signal.SIGKILL and outcome.waited:
            return f"The trainer was killed (signal 9) while it waited for its disk: {outcome.waited}"
        if outcome.signal == signal.SIGKILL:
            return "The trainer was killed (signal 9), perhaps because memory ran out."
        how = "crashed in native code:" if outcome.signal in _CRASHES else "was ended by"
        return f"The trainer {how} signal {outcome.signal} ({_signal_name(outcome.signal)})."
    if outcome.message:
        return outcome.message
    known = _FINAL.get(outcome.exit_code or 0)
    if known is not None:
        return known[1]
    said = f": {outcome.last_line}" if outcome.last_line else "."
    return f"The trainer ended with exit code {outcome.exit_code}{said}"


def _finish_by_code(outcome: Outcome, words: Words) -> Finish:
    code = outcome.exit_code or 0
    if code == ExitCode.DONE:
        early = f"The run ended after epoch {outcome.early}, as its recipe says: its samples got no better."
        return Finish("done", ExitCode.DONE, early if outcome.early else words.done, words.next)
    status, _, advice = _FINAL.get(code, ("failed", "", _CRASH_ADVICE))
    final = code if code in _FINAL else ExitCode.CRASHED
    own_words = outcome.remedy if status == "failed" else ""
    return Finish(status, int(final), describe(outcome), own_words or advice.format(again=words.again))


def finish_by_request(outcome: Outcome, request: Request, words: Words) -> Finish:
    """The end of a run that a person asked to end, but whose trainer was killed before it could end by itself."""
    advice = f"{words.again} continues from the last checkpoint."
    reason = describe(outcome)
    if request and not outcome.killed_as_asked:
        reason += f" It had been asked to {request}."
    if request == "pause":
        return Finish("paused", ExitCode.PAUSED, reason, advice)
    return Finish("stopped", ExitCode.TERMINATED, reason, advice)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unknown"
