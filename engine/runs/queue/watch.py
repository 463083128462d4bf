"""The process that starts the runs of a queue one after another: `python -m loratui.engine.runs.queue.watch HOME`.

It holds a lock and no run: a run that it has started has a supervisor of its own, so killing this process costs nothing, and the next
one goes on from the file. It ends when nothing is left to start.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from loratui.engine.errors import DiskError, LoratuiError, UsageError
from loratui.engine.runs import lock
from loratui.engine.runs.clock import zone
from loratui.engine.runs.directory import RunDirectory, list_runs, open_run
from loratui.engine.runs.launcher import launch
from loratui.engine.runs.logs import print_whatever_the_disk_does
from loratui.engine.runs.queue import entries, gpu, rules
from loratui.engine.runs.queue.caches import share_cache, share_measured
from loratui.engine.runs.queue.entries import Entry, Queue
from loratui.engine.runs.queue.look import look
from loratui.engine.runs.state_file import read_state

LOOK_EVERY_S = 1.0


class Watcher:
    """The life of this process. Its lock is held."""

    def __init__(self, home: Path, held: lock.RunLock, look_every_s: float = LOOK_EVERY_S) -> None:
        self._home, self._held, self._look_every_s = home, held, look_every_s
        self._told = ""
        self._end = threading.Event()

    def stop(self, *_: object) -> None:
        """Ends this process and no run. Takes the arguments of a signal's handler."""
        self._end.set()

    def watch(self) -> None:
        """Until nothing is left to start, or somebody ends it. Raises `LoratuiError`."""
        while not self._end.is_set():
            queue = self._settle()
            over = not queue.entries or bool(queue.on_hold)
            # A pod that an earlier run would have stopped must not stop under one that is still at work.
            if over and not (queue.pods and self._at_work()):
                if self._leave():
                    return
                continue
            if words := self._at_work() or ("" if over else gpu.taken(self._run(queue.entries[0].run))):
                self._say(words)
                self._end.wait(self._look_every_s)
                continue
            if not over:
                self._start(queue.entries[0])

    def _settle(self) -> Queue:
        """Takes away what has ended: of what was started, and what comes next."""

        def change(queue: Queue) -> Queue:
            for entry in [one for at, one in enumerate(queue.entries) if one.starts or at == 0]:
                found = rules.settle(entry, look(self._home, entry))
                if found.words:
                    self._say(found.words)
                if found.entry is None and self._left_its_pod(entry):
                    queue = replace(queue, pods=tuple(dict.fromkeys((*queue.pods, entry.run))))
                queue = rules.without(queue, [entry]) if found.entry is None else rules.put(queue, found.entry)
                queue = replace(queue, on_hold=found.holds or queue.on_hold)
            return queue

        return entries.change(self._home, change)

    def _left_its_pod(self, entry: Entry) -> bool:
        action = read_state(self._run(entry.run)).action("pod") if entry.job == "train" else None
        return action is not None and action.state == "skipped"

    def _leave(self) -> bool:
        """Gives the lock back if there is still nothing to start: whoever adds a run while this one holds it relies on that."""
        with entries.editing(self._home):
            queue = entries.read(self._home)
            if queue.entries and not queue.on_hold:
                return False
            self._held.release()
        self._say(f"The queue is on hold: {queue.on_hold}" if queue.on_hold else "The queue is empty.")
        if queue.pods:
            entries.change(self._home, lambda now: replace(now, pods=()))
            self._stop_the_pod(queue.pods[-1])
        return True

    def _stop_the_pod(self, run: str) -> None:
        try:
            launch(open_run(self._home, run), actions="left")
        except LoratuiError as error:
            self._say(f"The pod is not stopped: {error}")
        else:
            self._say(f"What was chosen for the end of {run} is carried out now.")

    def _at_work(self) -> str:
        """Which run somebody works on, in words; empty where nobody does."""
        busy = (run.name for run in list_runs(self._home) if lock.is_held(run.lock))
        return next((f"{name} is at work." for name in busy), "")

    def _start(self, entry: Entry) -> None:
        run = self._run(entry.run)

        def begin(queue: Queue) -> Queue:
            now = queue.entry(entry.run, entry.job)
            return queue if queue.on_hold or now != entry else rules.put(queue, rules.begun(entry, look(self._home, entry)))

        if entries.change(self._home, begin).entry(entry.run, entry.job) in (None, entry):
            return  # it was removed, or the queue held, at this moment
        try:
            opened = open_run(self._home, entry.run)
            if entry.cache_from:
                share = share_cache if entry.job == "train" else share_measured
                share(self._run(entry.cache_from), opened)
            launch(opened, entry.job)
        except DiskError as error:
            self._hold(entry, str(error))
        except UsageError as error:
            if not lock.is_held(run.lock):  # else somebody was faster
                self._drop(entry, str(error))
        except LoratuiError as error:
            self._say(f"{entry.run} could not be started: {error}")
            self._end.wait(self._look_every_s)
        else:
            self._say(f"{entry.run} is started ({entry.job}).")

    def _hold(self, entry: Entry, why: str) -> None:
        self._say(f"{entry.run} could not be started: {why}")
        entries.change(self._home, lambda queue: replace(rules.put(queue, entry), on_hold=why))

    def _drop(self, entry: Entry, why: str) -> None:
        self._say(f"{entry.run} leaves the queue: {why}")
        entries.change(self._home, lambda queue: rules.without(queue, [entry]))

    def _run(self, name: str) -> RunDirectory:
        return RunDirectory(self._home / "runs" / name)

    def _say(self, words: str) -> None:
        """A line of the log, once."""
        if words != self._told:
            self._told = words
            now = time.time()
            print(f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(now))} {zone(now)}  {words}", flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """The process. It ends with 0 where another one is at this already."""
    parser = argparse.ArgumentParser(prog="queue")
    parser.add_argument("home", type=Path)
    home: Path = parser.parse_args(argv).home
    os.umask(0o077)
    print_whatever_the_disk_does()
    try:
        held = lock.acquire(entries.watch_lock(home), job="queue")
    except UsageError:
        return 0
    except LoratuiError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return int(error.exit_code)
    watcher = Watcher(home, held)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, watcher.stop)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        watcher.watch()
    except LoratuiError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return int(error.exit_code)
    finally:
        held.release()
    return 0


if __name__ == "__main__":
    sys.exit(main())
