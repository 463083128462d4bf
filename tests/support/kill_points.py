"""The moments of a process at which it can be killed: operations on the files of its run, and what else it counts."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from os_seam import CREATE, LINK, MKDIR, RENAME, Operation


@dataclass(frozen=True)
class Point:
    """One moment of a process: before, half-way through or after the n-th operation at a place."""

    place: str
    number: int = 1
    moment: str = "after"
    of: str = "trainer"

    def __str__(self) -> str:
        return f"{self.of}: {self.moment} {self.place} ({self.number})"


class Watch:
    """Counts the operations of this process by place, and kills it at the first of some points that it reaches, or does what `act` does."""

    def __init__(
        self, points: Iterable[Point] = (), reached: Path | None = None, act: Callable[[], object] | None = None
    ) -> None:
        self._act = act or die
        self.counts: dict[str, int] = {}
        self.halves: set[str] = set()
        """Places at which something is written."""
        self._points = {(point.place, point.number, point.moment): point for point in points}
        self._reached = reached

    def __call__(self, operation: Operation, carry_out: Callable[[], Any]) -> Any:
        place = operation.place
        self._count(place)
        self._die_at(place, "before")
        if operation.half is not None:
            self.halves.add(place)
            self._die_at(place, "half", operation.half)
        try:
            result = carry_out()
        except OSError:  # it was not one, such as the deleting of what is not there
            self.counts[place] -= 1
            raise
        self._die_at(place, "after")
        return result

    def computed(self, what: str) -> None:
        """A part of a step was computed."""
        self._count(f"compute {what}")
        self._die_at(f"compute {what}", "after")

    def _count(self, place: str) -> None:
        self.counts[place] = self.counts.get(place, 0) + 1

    def _die_at(self, place: str, moment: str, do: Callable[[], object] = bool) -> None:
        point = self._points.get((place, self.counts[place], moment))
        if point is not None:
            assert self._reached is not None
            do()
            note(self._reached, str(point))
            self._act()

    def points(self, of: str) -> Iterator[Point]:
        """The first three operations at each place, each at every moment that differs from the next one's."""
        for place, count in sorted(self.counts.items()):
            kind = place.split(" ")[0]
            moments = ["half", "after"] if place in self.halves else ["after"]
            if kind in (CREATE, MKDIR, RENAME, LINK):
                moments.append("before")
            for number in (1, 2, 3):
                if number <= count:
                    yield from (Point(place, number, moment, of) for moment in moments)


def note(path: Path, line: str) -> None:
    """Adds a line to a file at once."""
    with path.open("a") as file:
        file.write(f"{line}\n")


def die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("a killed process goes on")
