"""Carries out what was chosen for the end of a run, in order, and writes what becomes of it into the run's log.

Nothing of it changes how the run ended. For one ending nothing is done twice: what was begun and not ended, because the machine went
down, is only repeated where that does no harm, or when a person asks.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from typing import Literal

from loratui.engine.errors import DiskError, UsageError
from loratui.engine.machine.addresses import blotted
from loratui.engine.machine.pods import STILL_COSTS, erases, this_pod
from loratui.engine.runs import fence
from loratui.engine.runs.control import Inbox
from loratui.engine.runs.directory import RunDirectory
from loratui.engine.runs.event_log import EventLog
from loratui.engine.runs.events import Event
from loratui.engine.runs.queue import entries
from loratui.engine.runs.queue.rules import waits_for_others
from loratui.engine.runs.records import Action
from loratui.engine.runs.state import RunState
from loratui.engine.runs.state_file import StateWriter
from loratui.engine.runs.when_finished import choice, command, copying, notify, pod
from loratui.engine.runs.when_finished.ended import Ended
from loratui.engine.runs.when_finished.outputs import outputs_of
from loratui.engine.runs.when_finished.result import Result, stopped
from loratui.engine.runs.when_finished.stopping import Stopping
from loratui.engine.words import count

Which = Literal["left", "now", "again"]
"""`left`: what was never begun, and copies that were; `now`: all that is not done; `again`: all of it."""

_REPEATABLE = ("copy",)
"""Actions that complete what an earlier try began."""


def left(run: RunDirectory, state: RunState, which: Which = "left") -> tuple[str, ...]:
    """The actions that are to be carried out for the last ending of a run; none while it trains."""
    if state.ending is None:
        return ()
    wanted = choice.wanted(choice.chosen_or_none(run), state.ending.status)
    return tuple(name for name in wanted if _is_due(state.action(name), which))


def _is_due(before: Action | None, which: Which) -> bool:
    if before is None or which == "again":
        return True
    if which == "now":
        return before.state != "done"
    if before.action == "pod":
        return before.state == "skipped"
    return before.action in _REPEATABLE and before.state in ("begun", "interrupted")


class Actions:
    """The actions of one ending. This process holds the lock of the run, by inheritance, and is the only writer of its log."""

    def __init__(self, run: RunDirectory, log: EventLog, stopping: Stopping) -> None:
        self._run, self._log, self._stopping = run, log, stopping
        self._state = StateWriter(run, log)

    def carry_out(self, which: Which) -> None:
        """One after another; a failure of one does not keep the others from being done, but the pod stops only after a good copy."""
        state = self._state.state
        names = left(self._run, state, which)
        if not names or state.ending is None:
            return
        self._ended = Ended(self._run, state.ending, state, outputs_of(self._run, state))
        chosen = choice.read(self._run)
        ways: Mapping[str, Callable[[], Result]] = {
            "copy": lambda: copying.carry_out(chosen.copy_to, self._ended, self._stopping),
            "command": lambda: command.carry_out(chosen.command, self._ended, self._stopping),
            "notify": lambda: notify.carry_out(choice.channels(chosen), self._message(), self._told(), self._stopping),
            "pod": self._stop_the_pod,
        }
        for name in names:
            if name not in choice.wanted(choice.read(self._run), state.ending.status):
                continue  # it was taken back meanwhile
            chosen = choice.read(self._run)
            if name != "pod":
                self._tell(name, "begun")
            result = stopped(self._stopping) if self._stopping.why else ways[name]()
            self._tell(name, result.state, result.message, result.attempts)
        self._state.write()

    def _stop_the_pod(self) -> Result:
        try:
            here = this_pod()
        except UsageError as error:
            return Result("failed", str(error), 0)
        if here is None:
            return Result("failed", "This machine is no pod of RunPod or Vast.ai.", 0)
        if problem := self._ended.outputs.problem:
            return Result("failed", f"The pod goes on running, since its LoRA files are not as they were saved. {problem}", 0)
        copy = self._state.state.action("copy")
        copied = copy is not None and copy.state == "done"
        if choice.read(self._run).copy_to and not copied and self._ended.outputs.hashes:
            return Result("failed", "The pod goes on running, since the copy of the LoRA files is not verified.", 0)
        if erases(here, self._run.path) and not copied:
            return Result("failed", "The pod goes on running: its stop would erase the run, which is on the container disk.", 0)
        if waits := self._queue_waits():
            return waits
        wait_s = choice.read(self._run).countdown_s
        self._tell(
            "pod", "waiting", f"{here.title} stops in {wait_s} s. {STILL_COSTS[here.provider]}.", until=time.time() + wait_s
        )
        if self._stopping.wait(wait_s):
            return stopped(self._stopping)
        if choice.read(self._run).pod != "stop":
            return Result("cancelled", "It was taken back.", 0)
        if waits := self._queue_waits():
            return waits
        self._tell("pod", "begun")
        return pod.carry_out(here, self._stopping, self._run.when_finished_log)

    def _queue_waits(self) -> Result | None:
        """The result where the queue of the home is still to start something: its process stops the pod after the last run."""
        waiting = waits_for_others(entries.of_run(self._run), self._run.name)
        words = (
            f"The pod goes on running for the queue, which has {count(waiting, 'more start')} to make. It stops after the last."
        )
        return Result("skipped", words, 0) if waiting else None

    def _message(self) -> str:
        lines = [self._ended.sentence]
        if self._ended.output:
            lines.append(f"LoRA file: {self._ended.output}")
        lines += [f"{one.action}: {one.message}" for one in self._state.state.actions if one.action != "notify" and one.message]
        chosen = choice.read(self._run)
        if "pod" in choice.wanted(chosen, self._ended.ending.status):
            lines.append(
                f"The pod stops in {chosen.countdown_s} s. To keep it: loratui when-finished {self._run.name} --cancel"
            )
        return "\n".join(lines)

    def _told(self) -> dict[str, object]:
        done = [one for one in self._state.state.actions if one.action != "notify"]
        actions = [{"action": one.action, "state": one.state, "message": one.message} for one in done]
        return {**self._ended.told(), "actions": actions}

    def _tell(self, name: str, state: str, message: str = "", attempts: int = 0, until: float | None = None) -> None:
        fields = {"action": name, "state": state, "message": blotted(message), "attempts": attempts, "until": until}
        try:
            self._log.append("action", durable=True, **fields)
        except DiskError as error:  # a full disk must not keep a pod running
            print(f"{fields} was not logged: {error}", file=sys.stderr, flush=True)
            self._state.state.apply(Event("action", self._state.state.seq + 1, time.time(), fields))
        self._state.write()


def carry_out(run: RunDirectory, which: Which) -> None:
    """Carries out what is due for the last ending of a run. Raises `DiskError` where its log cannot be opened, and `LostError` once
    another process has the run."""
    fence.join(run.path)  # who takes the run over ends this, so that no pod is stopped under a new trainer
    with EventLog.open(run.events) as log:
        stopping = Stopping(Inbox(run, log))
        stopping.install()
        Actions(run, log, stopping).carry_out(which)
