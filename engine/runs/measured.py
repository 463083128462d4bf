"""What was measured of a run's samples while it trained, and which of them are likely the best, as the log tells it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from loratui.engine.runs.events import Event
from loratui.engine.runs.records import record

COPY_RISKS = ("copy_face", "copy_hash")
"""Measures of copies, the better one first."""
_MOST_MEASURES = 20


@dataclass(frozen=True, slots=True)
class Measure:
    """What one measure says of the samples of a step, as in `validation/measures.json`; None is unknown."""

    id: str
    value: float | None
    spread: float | None
    """Over the seeds."""
    base: float | None
    """The same of the base's samples."""
    low: float | None
    high: float | None
    """What is natural: what the photos have among themselves."""
    copied: float | None
    """Of a copy risk: the share of the samples that are copies of a photo."""
    photo: str
    """Of a copy risk: the nearest photo."""
    means: str
    unknown: str
    """Why the value, or what it is compared with, is unknown."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured of the samples of a step."""

    step: int
    epoch: int
    images: int
    measures: tuple[Measure, ...] = ()

    def get(self, id: str) -> Measure | None:
        """A measure whose value is known."""
        return next((one for one in self.measures if one.id == id and one.value is not None), None)

    def value(self, id: str) -> float | None:
        """The value of a measure; None if it is unknown."""
        found = self.get(id)
        return found.value if found else None

    @property
    def copied(self) -> float | None:
        """The share of samples that copy a photo, by whatever finds most; None where that is unknown."""
        shares = [one.copied for id in COPY_RISKS if (one := self.get(id)) is not None]
        return max((share for share in shares if share is not None), default=None)

    @classmethod
    def of(cls, event: Event) -> Measured:
        """What an event says."""
        return cls(
            event.count("step"),
            event.count("epoch"),
            event.count("images"),
            tuple(record(Measure, Event("", 0, 0.0, table)) for table in _tables(event.get("measures"))[:_MOST_MEASURES]),
        )


@dataclass(frozen=True, slots=True)
class LikelyBest:
    """The samples that are likely the best of those so far."""

    kind: str
    """`plateau`: likeness has not risen since; `turn`: it has fallen since; `copies`: later samples copy photos;
    `held_out`: likeness is unknown, and the loss on held-out images has risen since."""
    step: int
    epoch: int
    seen_step: int
    """The step at which it showed."""
    stops: bool = False
    """Whether the run ends after that epoch, as the recipe says."""


def measured_in(listed: object, most: int) -> tuple[Measured, ...]:
    """The last records of a list of objects."""
    return tuple(Measured.of(Event("", 0, 0.0, table)) for table in _tables(listed)[-most:])


def taken(before: Iterable[Measured], new: Measured, most: int) -> tuple[Measured, ...]:
    """With a record more, by step; of two for one step the later."""
    return tuple(sorted([*(one for one in before if one.step != new.step), new], key=lambda one: one.step)[-most:])


def _tables(listed: object) -> list[Mapping[str, Any]]:
    return [table for table in listed if isinstance(table, dict)] if isinstance(listed, list) else []
