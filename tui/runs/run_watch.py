"""Watches all runs while the app is open, and finds the news."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from loratui.engine.runs.directory import RunDirectory
from loratui.engine.words import GIB
from loratui.tui.messages import RunsListed
from loratui.tui.runs import watch
from loratui.tui.terminal import clean

if TYPE_CHECKING:
    from textual.worker import Worker

    from loratui.engine.runs.summary import RunSummary

_LOOK_EVERY_S, _LOOK_ELSEWHERE_EVERY_S = 2.0, 5.0
"""How often it looks while the list of runs is shown, and while it is not."""
_WAKE_S = 0.5
"""How often a waiting thread asks whether it was cancelled."""


class RunWatch:
    """The runs as last seen."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self.runs: tuple[RunSummary, ...] = ()
        self.list_is_shown = False
        self._again = threading.Event()
        self._disk_low = False

    def look_again(self) -> None:
        """Looks at the runs now."""
        self._again.set()

    def follow(self, worker: Worker[None], post: Callable[[RunsListed], object]) -> None:
        """Looks until the worker is cancelled. To be called in a thread."""
        while not worker.is_cancelled:
            self._again.clear()
            post(self._look())
            waited = 0.0
            while not (worker.is_cancelled or self._again.wait(_WAKE_S) or waited >= self._every_s):
                waited += _WAKE_S

    def take(self, listed: RunsListed) -> list[watch.Notice]:
        """Keeps what was seen, and returns the news."""
        from loratui.engine.runs.summary import how_validation_ended

        found: list[watch.Notice] = []
        if not listed.problem:
            before = {run.name: run for run in self.runs}
            found = watch.notices(before, listed.runs, lambda run: how_validation_ended(RunDirectory(Path(run.path))))
            self.runs = listed.runs
        low, self._disk_low = watch.disk_notice(listed.free_bytes, self._disk_low, _next_bytes(listed.runs))
        return [*found, *([low] if low else [])]

    def farewell(self) -> Iterator[str]:
        """What to print about the runs when the app ends."""
        active = [run.name for run in self.runs if run.active]
        if active:
            more = f" ({len(active) - 1} more running)" if len(active) > 1 else ""
            yield f"Training continues. Come back with: loratui attach {clean(active[0])}{more}"

    def _look(self) -> RunsListed:
        from loratui.engine.runs.summary import summarise_all

        try:
            return RunsListed(tuple(summarise_all(self._home)), free_bytes=_free_bytes(self._home / "runs"))
        except OSError as error:
            return RunsListed((), str(error))

    @property
    def _every_s(self) -> float:
        return _LOOK_EVERY_S if self.list_is_shown else _LOOK_ELSEWHERE_EVERY_S


def _next_bytes(runs: Iterable[RunSummary]) -> int:
    """What the active runs write next, as far as they have told."""
    machines = [run.state.machine for run in runs if run.active]
    return int(sum(machine.disk_needed_gib or 0.0 for machine in machines if machine is not None) * GIB)


def _free_bytes(home: Path) -> int | None:
    from loratui.engine.machine.hardware import disk_free_gib

    free = disk_free_gib(home)
    return None if free is None else int(free * GIB)
