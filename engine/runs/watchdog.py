"""Waits for the end of a trainer, and ends one that has got no further for too long, with what it was at in its log.

It reads the log in a thread of its own: where the volume itself hangs, that thread hangs with it, no time counts against the trainer,
and the supervisor still answers.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading
import time
from pathlib import Path

from loratui.engine import durable
from loratui.engine.errors import DiskError
from loratui.engine.machine import processes
from loratui.engine.runs import bounds, lock, stalls
from loratui.engine.runs.directory import RunDirectory
from loratui.engine.runs.state import RunState
from loratui.engine.runs.state_file import open_state
from loratui.engine.runs.tail import Tail

STACK_SIGNALS = (signal.SIGUSR1, signal.SIGUSR2)
"""On each the trainer writes the Python stacks of all its threads to its log. The second reaches another thread where the first waits
for one that hangs in the kernel."""
TICK_S = 2.0
GRACE_S = 20.0
"""From SIGTERM to SIGKILL: a trainer that answers after all saves a checkpoint."""
_STACKS_WITHIN_S = 2.0


class Watchdog:
    """Watches one trainer of a run."""

    def __init__(self, run: RunDirectory, job: str, pid: int, tick_s: float = TICK_S) -> None:
        """`pid`: of a child of this process that nobody reaps meanwhile."""
        self._run, self._pid, self._tick_s = run, pid, tick_s
        self._reader = _Reader(run, job, tick_s)
        self._gone = _UntilGone(pid)

    def wait(self) -> str:
        """Returns when the trainer has ended; it is not reaped yet. The words say why it was ended here, "" if it ended by itself."""
        self._reader.start()
        try:
            return self._watch()
        finally:
            self._gone.close()
            self._reader.end()

    def _watch(self) -> str:
        idle_s, looked_at, before = 0.0, time.monotonic(), -1
        while not self._ends_within(self._tick_s):
            # Where this process was stopped or the machine slept, the trainer could not work either.
            now = time.monotonic()
            passed, looked_at = min(now - looked_at, 2 * self._tick_s), now
            if not self._reader.answers or lock.process_state(self._pid) == "T":
                continue
            work = self._reader.work
            idle_s, before = (idle_s + passed if work == before else 0.0), work
            if words := self._reader.too_long(idle_s):
                self._end(words)
                return words
        return ""

    def _ends_within(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while not os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOWAIT | os.WNOHANG):
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            self._gone.wait(left)
        return True

    def _end(self, words: str) -> None:
        print(f"{words} The trainer is ended.", flush=True)
        family = [lock.identify(pid) for pid in (self._pid, *processes.descendants(self._pid))]
        with contextlib.suppress(OSError, DiskError):  # a full disk: what is known of the hang is worth less than the run
            self._write_what_it_is_at(words, [process.pid for process in family])
        family[0].send_signal(signal.SIGTERM)
        if not self._ends_within(GRACE_S):
            for process in family:
                process.send_signal(signal.SIGKILL)
        while not self._ends_within(60.0):
            print("The trainer waits in the kernel and cannot be ended yet.", flush=True)

    def _write_what_it_is_at(self, words: str, pids: list[int]) -> None:
        """Writes what the kernel says of the threads, then has the processes write their Python stacks."""
        log = self._run.trainer_log
        lines = [f"loratui: {words} What its threads are at:"]
        for pid in pids:
            lines += processes.threads(pid)
        fd = durable.open_to_write(log, os.O_WRONLY | os.O_APPEND)
        try:
            durable.write_all(fd, "".join(f"{line}\n" for line in lines).encode("utf-8", "replace"))
        finally:
            os.close(fd)
        for number in STACK_SIGNALS:
            size = log.stat().st_size
            for pid in pids:
                if processes.handles(pid, number):  # where they are not loratui's, the signal would end them
                    lock.identify(pid).send_signal(number)
            if self._grows(log, size):
                return

    def _grows(self, log: Path, size: int) -> bool:
        """Whether the log grows; returns once it does so no more."""
        deadline, before = time.monotonic() + _STACKS_WITHIN_S, size
        while time.monotonic() < deadline and not self._ends_within(0.2):
            now = log.stat().st_size
            if now == before > size:
                break
            before = now
        return before > size


class _Reader:
    """Reads a run's log as it grows."""

    def __init__(self, run: RunDirectory, job: str, tick_s: float) -> None:
        self._run, self._job, self._tick_s = run, job, tick_s
        self._mutex = threading.Lock()
        self._over = threading.Event()
        self._state: RunState | None = None
        self._tail: Tail | None = None
        self._read_at = time.monotonic()
        self._thread = threading.Thread(target=self._follow, name="watchdog", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        """Ends the thread, unless it hangs on the disk."""
        self._over.set()
        self._thread.join(2 * self._tick_s)

    @property
    def answers(self) -> bool:
        """Whether the disk answers."""
        return time.monotonic() - self._read_at < 3 * self._tick_s + 1.0

    @property
    def work(self) -> int:
        """A number that changes as the trainer gets further."""
        with self._mutex:
            return self._state.work_seq if self._state else 0

    def too_long(self, idle_s: float) -> str:
        """Why a trainer that has got no further for so long must be ended; "" while it need not be."""
        with self._mutex:
            if self._state is None or not (words := stalls.words(self._state, idle_s)):
                return ""
            stalled_s = idle_s - stalls.usual_s(self._state)
        bound_s = bounds.read(self._run).end_stalled_after_s
        return words if 0 < bound_s <= stalled_s else ""

    def _follow(self) -> None:
        while not self._over.wait(self._tick_s):
            with contextlib.suppress(OSError):  # the folder was moved, or its disk was taken away
                self._run.events_of(self._job).stat()
                self._look()
                self._read_at = time.monotonic()

    def _look(self) -> None:
        if self._state is None or self._tail is None:
            state, self._tail = open_state(self._run, self._job)
        else:
            state = self._state
        batches = list(self._tail.drain())
        with self._mutex:
            self._state = state
            for batch in batches:
                state.apply_batch(batch)


class _UntilGone:
    """Waits for the end of a child without taking it."""

    def __init__(self, pid: int) -> None:
        self._handle = os.pidfd_open(pid) if hasattr(os, "pidfd_open") else -1

    def wait(self, seconds: float) -> None:
        if self._handle < 0:
            time.sleep(min(seconds, 0.1))
        else:
            select.select([self._handle], [], [], seconds)

    def close(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)
