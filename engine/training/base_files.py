"""The files of a run's base by their sums: a run goes on only with the base that it began with, unless the person accepts another."""

from __future__ import annotations

import concurrent.futures
import threading
from collections.abc import Mapping

from loratui.engine.families import fingerprints
from loratui.engine.planning.bases import find_base
from loratui.engine.runs.differences import BASE_KEY, Difference, base_difference, sums_of
from loratui.engine.training.setup import Job

_PATIENCE_S = 1.0


class BaseSums:
    """The sums of a base's files, made in a thread of their own: a large base takes seconds the first time."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._found: concurrent.futures.Future[dict[str, str]] = concurrent.futures.Future()
        # A daemon: a process that must end does not wait for it.
        threading.Thread(target=self._find, name="sums of the base", daemon=True).start()

    def _find(self) -> None:
        try:
            base = find_base(self._job.settings.base)
            self._found.set_result(sums_of(base, fingerprints.shared(self._job.run.fingerprints)))
        except Exception as error:  # for the thread that asks
            self._found.set_exception(error)

    def known(self) -> dict[str, dict[str, str]]:
        """What a checkpoint keeps of them: nothing while they are being made, since a checkpoint does not wait."""
        done, _ = concurrent.futures.wait([self._found], _PATIENCE_S)
        return {BASE_KEY: self._found.result()} if done and self._found.exception() is None else {}

    def changed_since(self, stored: Mapping[str, str]) -> list[Difference]:
        """The files that differ from those of a checkpoint."""
        return base_difference(stored, self._found.result())
