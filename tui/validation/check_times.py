"""How long images take, measured from when they were written, and from that how long a check will take. Pure."""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from loratui.engine.runs.events import Event

LONGEST_S = 3600.0
"""A gap beyond that is a pause or a clock that was set, and no image."""


class ImageTimes:
    """Takes in the events of a log and holds the seconds that its last images took."""

    def __init__(self) -> None:
        self._seconds: deque[float] = deque(maxlen=20)
        self._before: float | None = None

    def take(self, events: Iterable[Event]) -> None:
        """Takes in events in order."""
        for event in events:
            match event.type:
                case "phase_changed" if event.get("phase") == "sampling":
                    self._before = event.ts
                case "image_written":
                    # One that was there already is told again without what it is like, and took no time.
                    if event.get("nearest"):
                        self._add(event.ts)
                    self._before = event.ts
                case "sample_written":
                    self._add(event.ts)
                    self._before = event.ts
                case "phase_changed" | "trainer_started" | "run_finished":
                    self._before = None

    def _add(self, ts: float) -> None:
        if self._before is not None and 0 < ts - self._before < LONGEST_S:
            self._seconds.append(ts - self._before)

    @property
    def image_s(self) -> float | None:
        """Seconds an image, the median of the last; None before one was measured."""
        return statistics.median(self._seconds) if self._seconds else None
