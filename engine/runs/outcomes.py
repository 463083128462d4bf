"""What follows from the way a trainer ended: start it again, or say the last word on the run."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import Literal

from loratui.engine.errors import ExitCode

MOST_RESTARTS = 3
"""Restarts in a row without a new checkpoint; then the fault is not bad luck."""

Ending = Literal["done", "paused", "stopped", "failed"]
Request = Literal["", "stop", "pause"]


def resumable(status: str) -> bool:
    """Whether a run of this status goes on from its last checkpoint when it is resumed: one that is over, and not done."""
    return status in ("paused", "stopped", "failed", "interrupted")


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
    next_plan: str = ""
    """The memory plan with which the run goes on, where it ran out of GPU memory and another plan is left."""


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

_CRASH_ADVICE = "log/trainer.log has the details. {again} continues from the last checkpoint."


def decide(outcome: Outcome, attempts: int, progressed: bool, words: Words) -> Restart | Finish:
    """Restarts a killed trainer, unless the kill was requested or restarts do not help, and one that ran out of GPU memory with
    another memory plan left. Every other exit code is final.

    `attempts` counts the restarts since the last new checkpoint, `progressed` says whether this trainer made one.
    The exit code of a killed run is never that of the kill (137).
    """
    if outcome.next_plan and outcome.exit_code == ExitCode.OUT_OF_MEMORY:
        return finish_by_request(outcome, outcome.asked, words) if outcome.asked else Restart()
    if outcome.exit_code is not None:
        return _finish_by_code(outcome, words)
    if outcome.asked or outcome.signal in (signal.SIGTERM, signal.SIGINT):
        return finish_by_request(outcome, outcome.asked, words)
    if progressed or attempts < MOST_RESTARTS:
        return Restart()
    reason = f"{describe(outcome)} {MOST_RESTARTS} restarts got no further."
    if outcome.oom_killed:
        advice = _FINAL[ExitCode.OUT_OF_MEMORY][2].format(again=words.again)
        return Finish("failed", ExitCode.OUT_OF_MEMORY, reason, advice)
    return Finish("failed", ExitCode.CRASHED, reason, _CRASH_ADVICE.format(again=words.again))


def describe(outcome: Outcome) -> str:
    """How the trainer ended, in words."""
    if outcome.signal is not None:
        if outcome.killed_as_asked:
            return f"The trainer was killed (signal {outcome.signal}), as stop --kill asks for where it does not answer."
        if outcome.oom_killed:
            return f"The trainer was killed (signal {outcome.signal}) because memory ran out."
        if outcome.signal == signal.SIGKILL:
            return "The trainer was killed (signal 9), perhaps because memory ran out."
        return f"The trainer was ended by signal {outcome.signal} ({_signal_name(outcome.signal)})."
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
        return Finish("done", ExitCode.DONE, words.done, words.next)
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
