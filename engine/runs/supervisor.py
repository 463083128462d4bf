"""The supervisor of a run: holds its lock, starts the trainer, restarts it when it was killed, writes the last word.

It is started by `launcher.launch` as `python -m loratui.engine.runs.supervisor RUN --job JOB` and uses the standard
library alone, so that it is there at once and survives what kills a trainer.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

from loratui.engine import children, durable
from loratui.engine.errors import ExitCode, LoratuiError
from loratui.engine.jobs import JOBS, SUPERVISED
from loratui.engine.machine import cgroup
from loratui.engine.runs import ages, checkpoint_files, contents, control, fence, lock, trainer_process, watchdog
from loratui.engine.runs.directory import RunDirectory
from loratui.engine.runs.last_words import LastWords
from loratui.engine.runs.logs import log_tail, print_whatever_the_disk_does, where_it_was
from loratui.engine.runs.outcomes import (
    LONGER_EACH_TIME,
    MOST_AN_HOUR,
    Finish,
    Outcome,
    Request,
    decide,
    describe,
    finish_by_request,
    words_of,
)
from loratui.engine.runs.state import RunState
from loratui.engine.runs.state_file import read_state
from loratui.engine.runs.when_finished import start as when_finished

_RESTART_AFTER_S = 1.0
"""The first pause: it makes a trainer that dies at once cheap, without costing a real restart anything."""


_OFTEN_MEMORY = "If this repeats, the likely cause is a lack of memory: stop, and use a smaller batch."


def trainer_command(run: RunDirectory, job: str) -> list[str]:
    """How the trainer of a job is started."""
    return children.command(JOBS[job].module, str(run.path), "--job", job)


def supervise(
    run: RunDirectory,
    job: str,
    held: lock.RunLock,
    *,
    command: Sequence[str] | None = None,
    restart_after_s: float = _RESTART_AFTER_S,
    look_every_s: float = watchdog.TICK_S,
    started: Callable[[], None] = lambda: None,
) -> int:
    """Carries the run to its end and returns its exit code. The lock must be held; `started` is called once all is set.

    `command` replaces the trainer.
    """
    return _Supervisor(run, job, held, command or (), restart_after_s, look_every_s).carry_out(started)


def act(run: RunDirectory, held: lock.RunLock, which: str, *, started: Callable[[], None]) -> int:
    """Carries out what was chosen for the end of a run that has ended, and is not done."""
    supervisor = _Supervisor(run, "train", held, [], 0.0, watchdog.TICK_S)
    supervisor.prepare()
    started()
    supervisor.carry_out_actions(which)
    return 0


class _Supervisor:
    def __init__(
        self,
        run: RunDirectory,
        job: str,
        held: lock.RunLock,
        command: Sequence[str],
        restart_after_s: float,
        look_every_s: float,
    ) -> None:
        self._run = run
        self._job = job
        self._held = held
        self._given_command = list(command)
        self._moved_from = ""
        """The run's name before its folder was renamed under the last trainer."""
        self._restart_after_s, self._look_every_s = restart_after_s, look_every_s
        before = read_state(run, job)
        self._restarts = before.restarts if before.clock == ages.clock_name() else 0
        """In a row without progress, also those of earlier starts since this machine was booted: who resumes such a run again changes
        nothing about it."""
        self._worked = run.last_checkpoint_step() > 0
        """Whether this run has made steps."""
        self._restarted_at: deque[float] = deque(maxlen=MOST_AN_HOUR)
        self._words = words_of(job, run.name)
        self._stop_asked = False
        self._last_words = LastWords(lambda: self._run.events_of(self._job))
        self._child = 0
        """Pid of a trainer that is not yet reaped, so that a signal can never hit another process; 0 without one."""

    def carry_out(self, started: Callable[[], None]) -> int:
        self.prepare()
        started()
        self._tell_of_a_take_over()
        try:
            finish = self._run_trainers()
        except OSError as error:  # no process, no file more
            reason, advice = (
                f"The trainer could not be started: {error.strerror}.",
                "Raise the limits (ulimit -u, ulimit -n), then: ",
            )
            finish = Finish("failed", ExitCode.CRASHED, reason, advice + self._words.again)
        self._last_words.record(
            "run_finished",
            status=finish.status,
            exit_code=finish.exit_code,
            reason=finish.reason,
            advice=finish.advice,
            step=read_state(self._run).step,
            by_signal=self._stop_asked and read_state(self._run, self._job).leaving != "stop",
        )
        if self._job == "train":
            self.carry_out_actions("left")
        self._stop_asked = self._stop_asked and not self._last_words.unsaid
        self._last_words.say_the_rest(lambda: self._stop_asked or not self._run.path.is_dir())
        return finish.exit_code

    def prepare(self) -> None:
        """Before the first child: the folders, no commands from before, and what signals do."""
        for folder in contents.FOLDERS:  # a person may have deleted some
            durable.make_directory(self._run.path / folder)
        control.clear(self._run)
        for number in children.ENDING:
            signal.signal(number, self._on_stop)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        children.let_through()  # `launch` held them back

    def carry_out_actions(self, which: str) -> None:
        """Has a child carry out what was chosen for the end of the run, and waits for it; the run's own end stays as it is."""
        try:
            if actions := when_finished.start(self._run, self._held, which):
                self._child = actions.pid
                if hasattr(os, "waitid"):  # as for a trainer: its pid is kept until it is reaped
                    os.waitid(os.P_PID, self._child, os.WEXITED | os.WNOWAIT)
                self._take()
        except Exception as error:  # whatever goes wrong, the run has ended as it has
            print(f"What was chosen for the end of the run was not begun: {error}", file=sys.stderr, flush=True)

    def _run_trainers(self) -> Finish:
        attempt = 0
        while True:
            attempt += 1
            self._sweep()
            mark = self._progress_mark()
            outcome = self._one_trainer(attempt)
            if self._moved_from:
                message = f"The run's folder was renamed from {self._moved_from} to {self._run.name}. The run goes on there."
                self._last_words.record("warning", code="run_moved", message=message, remedy="")
                self._moved_from = ""
                if outcome.exit_code != ExitCode.DONE and not outcome.asked:
                    continue
            progressed = self._progress_mark() > mark
            now = time.monotonic()
            lately = sum(1 for at in self._restarted_at if now - at < 3600)
            decision = decide(outcome, self._restarts, progressed, self._words, lately)
            if isinstance(decision, Finish):
                return decision
            self._restarted_at.append(now)
            pause_s = self._restart_after_s
            if not outcome.next_plan:  # of which there are few, and the trainer has said it
                self._restarts = 1 if progressed else self._restarts + 1
                pause_s *= LONGER_EACH_TIME ** (self._restarts - 1)
                self._announce(outcome)
            self._wait_before_restart(pause_s)
            if self._stop_asked:
                return finish_by_request(outcome, "stop", self._words)

    def _sweep(self) -> None:
        """Deletes what a trainer that was killed left half written."""
        run = self._run
        sample_folders = [path for path in run.samples.glob("step-*") if path.is_dir()]
        for folder in (run.path, run.checkpoints, run.samples, *sample_folders, run.output, run.validation, run.cache):
            durable.sweep_leftovers(folder)

    def _one_trainer(self, attempt: int) -> Outcome:
        log_start = _size(self._run.trainer_log)
        kills_before = cgroup.oom_kills()
        try:
            self._start(attempt)
        except OSError as error:  # no more processes, open files or memory
            if self._child:
                raise
            remedy = f"Raise the limits of processes and open files (ulimit -u, ulimit -n), then: {self._words.again}"
            return Outcome(
                exit_code=int(ExitCode.CRASHED),
                asked="stop" if self._stop_asked else "",
                message=f"The trainer could not be started: {error.strerror}.",
                remedy=remedy,
            )
        stalled = self._watch()
        if stalled:
            stalled = f"{stalled} {where_it_was(self._run.trainer_log, log_start)}".rstrip()
        status = self._take()
        self._keep_the_right()
        kills_after = cgroup.oom_kills()
        tail = log_tail(self._run.trainer_log, log_start)
        said = read_state(self._run, self._job)
        self._worked = self._worked or said.step > 0
        code = os.waitstatus_to_exitcode(status)
        outcome = Outcome(
            exit_code=code if code >= 0 else None,
            signal=-code if code < 0 else None,
            asked=self._asked(said),
            killed_as_asked=code == -signal.SIGKILL and any(c.args.get("kill") is True for c in control.pending(self._run)),
            oom_killed=kills_before is not None and kills_after is not None and kills_after > kills_before,
            message=said.error.message if said.error else "",
            remedy=said.error.remedy if said.error else "",
            last_line=tail[-1] if tail else "",
            fault=said.error.code if said.error else "",
            worked=self._worked,
            stalled=stalled,
            waited=said.waiting.reason if said.waiting else "",
            next_plan=said.next_plan,
            early=said.epoch if said.ends_early else 0,
        )
        self._last_words.record(
            "trainer_ended",
            attempt=attempt,
            exit_code=outcome.exit_code,
            signal=outcome.signal,
            reason=describe(outcome),
            stalled=bool(stalled),
            log_tail=tail,
        )
        return outcome

    def _keep_the_right(self) -> None:
        """Follows the folder, if it was renamed. Raises `LostError` if another process has the run now, or the folder is gone."""
        right = self._held.fence
        try:
            if right is not None:
                right.check()
        except fence.FolderLostError as error:
            if right is None or error.moved_to is None:
                raise
            self._moved_from = self._run.name
            self._run = RunDirectory(error.moved_to)
            self._words = words_of(self._job, self._run.name)
            right.follow(error.moved_to)
            right.check()

    def _tell_of_a_take_over(self) -> None:
        before, said = self._held.before, read_state(self._run, self._job)
        if before is None or before.supervisor.host == lock.host_name() or said.ending is not None or not said.seq:
            return
        message = f"This run was taken over from {before.supervisor.host}, where it had no last word."
        remedy = "If a trainer still lives there, it stops before it writes again."
        self._last_words.record("warning", code="taken_over", message=message, remedy=remedy)

    def _start(self, attempt: int) -> None:
        """Starts the trainer, but lets it begin only when `trainer_started` is in the log: one writer at a time."""
        command = self._given_command or trainer_command(self._run, self._job)

        def forked(pid: int) -> None:
            self._child = pid

        gate = trainer_process.fork(self._run, self._held, command, forked)
        try:
            with contextlib.suppress(OSError):
                self._held.note_trainer(lock.identify(self._child))
            clock = ages.clock_name()
            self._last_words.record("trainer_started", attempt=attempt, pid=self._child, restarts=self._restarts, clock=clock)
            if not self._stop_asked:
                os.write(gate, trainer_process.GO)
        finally:
            os.close(gate)

    def _watch(self) -> str:
        """Waits for the end of the trainer; why it was ended, where it had stalled.

        Until it is reaped the dead trainer keeps its pid, so a signal that comes now cannot hit a stranger.
        """
        if not hasattr(os, "waitid"):
            return ""
        return watchdog.Watchdog(self._run, self._job, self._child, self._look_every_s).wait()

    def _take(self) -> int:
        child, self._child = self._child, 0
        return os.waitpid(child, 0)[1]

    def _on_stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stop_asked = True
        if self._child:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._child, signal.SIGTERM)

    def _asked(self, said: RunState) -> Request:
        """`stop` or `pause` if one was requested, acknowledged or not, while this trainer lived."""
        if self._stop_asked:
            return "stop"
        requests = [said.leaving, *(command.command for command in control.pending(self._run))]
        return "stop" if "stop" in requests else "pause" if "pause" in requests else ""

    def _announce(self, outcome: Outcome) -> None:
        step = checkpoint_files.look(self._run, sums=True).step
        where = f"from the checkpoint of step {step}" if step and self._job == "train" else "from the beginning"
        self._last_words.record(
            "warning",
            code="trainer_restarted",
            message=f"{describe(outcome)} It restarts {where}.",
            remedy="" if outcome.exit_code is not None or outcome.stalled or outcome.waited else _OFTEN_MEMORY,
        )

    def _wait_before_restart(self, pause_s: float) -> None:
        end = time.monotonic() + pause_s
        while not self._stop_asked and time.monotonic() < end:
            time.sleep(0.02)

    def _progress_mark(self) -> int:
        """Grows with what a restart will not have to do again."""
        if self._job == "validate":
            return sum(1 for path in self._run.validation.glob("*.png"))
        return self._run.last_checkpoint_step()


def main(argv: Sequence[str] | None = None) -> int:
    """The process: takes the lock, tells the launcher through `--ready-fd` whether it has it, and supervises."""
    parser = argparse.ArgumentParser(prog="supervisor")
    parser.add_argument("run", type=Path)
    parser.add_argument("--job", choices=SUPERVISED, default="train")
    parser.add_argument("--ready-fd", type=int)
    parser.add_argument(
        "--actions", default="", help="train nothing, and carry out what was chosen for the end: left, now, again"
    )
    args = parser.parse_args(argv)
    os.umask(0o077)
    print_whatever_the_disk_does()
    run = RunDirectory(args.run)
    tell = _Teller(args.ready_fd)
    try:
        held = lock.acquire(run.lock, job=args.job)
        contents.require_sound(run.path)  # from here on nobody else works in it
        if args.actions:
            return act(run, held, args.actions, started=lambda: tell("ok"))
        code = supervise(run, args.job, held, started=lambda: tell("ok"))
    except LoratuiError as error:
        tell(f"{int(error.exit_code)} {error}")
        print(f"error: {error}", file=sys.stderr, flush=True)
        return int(error.exit_code)
    from loratui.engine.runs.queue.start import go_on_after  # not at the start of a supervisor, which must be quick

    go_on_after(run, args.job)
    return code


class _Teller:
    """Sends one message to the launcher, which may be gone by then."""

    def __init__(self, fd: int | None) -> None:
        self._fd = fd

    def __call__(self, message: str) -> None:
        if self._fd is not None:
            with contextlib.suppress(OSError):
                os.write(self._fd, message.encode("utf-8", "surrogateescape"))
            os.close(self._fd)
            self._fd = None


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


if __name__ == "__main__":
    sys.exit(main())
