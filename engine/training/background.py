"""Work beside the training, one job after the other: what is written while the next steps are made."""

from __future__ import annotations

import traceback
from collections import deque
from collections.abc import Callable
from concurrent import futures
from concurrent.futures import Future, ThreadPoolExecutor

from loratui.engine import disk_errors

_LOOK_S = 0.2
"""How often a person's wish to end is looked for while a job may wait for the disk."""


class Background:
    """A thread that carries out jobs in their order. The error of a job reaches whoever looks next; each is raised once."""

    def __init__(self, name: str) -> None:
        self._thread = ThreadPoolExecutor(1, name)
        self._jobs: deque[Future[None]] = deque()

    def start(self, job: Callable[[], None]) -> None:
        """Has a job done after those that were started before."""
        self._jobs.append(self._thread.submit(job))

    @property
    def is_busy(self) -> bool:
        """Whether a job is not done."""
        return any(not job.done() for job in self._jobs)

    def look(self) -> None:
        """Raises the error of a job that has failed."""
        while self._jobs and self._jobs[0].done():
            self._jobs.popleft().result()

    def wait(self) -> None:
        """Waits for all jobs. Raises the error of the first that failed, when all are done."""
        failed: BaseException | None = None
        while self._jobs:
            while not futures.wait([self._jobs[0]], _LOOK_S).done:
                disk_errors.look()
            error = self._jobs.popleft().exception()
            failed = failed or error
        if failed is not None:
            raise failed

    def end(self) -> None:
        """As `wait`, where an error is on its way already: others are only shown in the log."""
        try:
            self.wait()
        except Exception:
            traceback.print_exc()
