"""The axes of a verdict: single figures from the measured parts, each with its spread over the seeds; None where one is unknown."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from loratui.engine.runs.held_out import HeldOut
from loratui.engine.untrusted import finite

HALF = 0.6
"""Share of the usual strength up to which one is about half of it."""
LATE = 0.7
"""Share of the steps after which a gain is a late one."""
_COPIES = {"copy_layout": "copies", "copy_hash": "copies", "copy_face": "share_above"}
"""Measure -> its share of copies."""
_LEAST_COMPARED = 8
"""Comparisons of captions from which on their share says anything: a photo repeated has only a few."""
_LEAST_WAY = 0.03
"""Similarity that the photos' own must be above the base's: else the base is as like, and likeness says nothing."""


class Reading(NamedTuple):
    """A figure and how far the seeds are apart in it."""

    value: float
    spread: float = 0.0


@dataclass(frozen=True)
class Point:
    """A file at a strength, on a curve."""

    file: str
    step: int | None
    strength: float
    value: float | None
    spread: float | None
    base: float | None
    ratio: float | None
    shares: Mapping[str, Any]


@dataclass(frozen=True)
class Measured:
    """The parts of a `measures.json`, and what else is known."""

    parts: Sequence[Mapping[str, Any]]
    held_out: Sequence[HeldOut] = ()
    usual: float = 1.0
    """Strength at which the file is meant to be used."""
    shown: float | None = None
    """How often each image was shown, as a share of what the preset gives."""

    def row(self, part: str, id: str) -> Mapping[str, Any]:
        """A measure of a part; empty if it is not there or unknown."""
        for one in self.parts:
            for row in one["measures"] if one["id"] == part else ():
                if row["id"] == id and finite(row.get("value")) is not None:
                    known: Mapping[str, Any] = row
                    return known
        return {}

    def curve(self, part: str, id: str) -> list[Point]:
        """Its points, the known ones."""
        points = self.row(part, id).get("curve")
        return [point for row in points if (point := _point(row)).value is not None] if isinstance(points, list) else []

    @property
    def way(self) -> tuple[float, float] | None:
        """From the base's likeness to the lowest that is natural among the photos."""
        row = self.row("likeness", "likeness")
        low, base = _first(row.get("range")), finite(row.get("base"))
        if low is None:
            return None
        start = max(0.0, base or 0.0)
        return (start, low) if low - start >= _LEAST_WAY else None

    def along(self, likeness: float) -> float | None:
        """Where a likeness lies on this way: 0 as the base, 1 as the photos are to each other."""
        return None if self.way is None else (likeness - self.way[0]) / (self.way[1] - self.way[0])


def _likeness(found: Measured) -> Reading | None:
    row = found.row("likeness", "likeness")
    at = found.along(row["value"]) if row else None
    if at is None or found.way is None:
        return None
    return Reading(at, (finite(row.get("spread")) or 0.0) / (found.way[1] - found.way[0]))


def _stronger(found: Measured) -> Reading | None:
    """How much likeness a higher strength adds."""
    points = [point for point in found.curve("strength", "likeness") if point.strength]
    usual = finite(found.row("strength", "likeness").get("value"))
    if found.way is None or usual is None or not points:
        return None
    most = max(point.value or 0.0 for point in points)
    return Reading((most - usual) / (found.way[1] - found.way[0]))


def _half(found: Measured) -> Reading | None:
    """Where the likeness lies at about half of the usual strength."""
    usual = found.usual
    points = [point for point in found.curve("strength", "likeness") if 0 < point.strength <= HALF * usual]
    if not points:
        return None
    point = max(points, key=lambda one: one.strength)
    at = found.along(point.value or 0.0)
    return None if at is None or found.way is None else Reading(at, (point.spread or 0.0) / (found.way[1] - found.way[0]))


def _late(found: Measured) -> Reading | None:
    """How much likeness the last part of the training added."""
    points = [point for point in found.curve("checkpoints", "likeness") if point.step]
    if found.way is None or len(points) < 3:
        return None
    last = points[-1]
    before = [p.value for p in points if p.step and last.step and p.step <= LATE * last.step and p.value is not None]
    if not before or last.value is None:
        return None
    return Reading((last.value - before[-1]) / (found.way[1] - found.way[0]))


def _copied(part: str) -> Callable[[Measured], Reading | None]:
    """The share of images that are nearly a photo, beyond what the base's are."""

    def worst(found: Measured) -> Reading | None:
        read = (finite(found.row(part, id).get(name)) for id, name in _COPIES.items())
        shares = [share for share in read if share is not None]
        return Reading(max(shares)) if shares else None

    return worst


def _value(part: str, id: str, field: str = "value") -> Callable[[Measured], Reading | None]:
    """A figure as it is."""

    def read(found: Measured) -> Reading | None:
        row = found.row(part, id)
        value, spread = finite(row.get(field)), finite(row.get("spread"))
        if value is None:
            return None
        base = finite(row.get("base")) if field == "ratio" else 1.0
        return Reading(value, spread / base if spread and base else 0.0)

    return read


def _off(id: str) -> Callable[[Measured], Reading | None]:
    """By how much a figure is larger or smaller than the base's, as a power of two."""

    def read(found: Measured) -> Reading | None:
        row = found.row("quality", id)
        ratio, spread = finite(row.get("ratio")), finite(row.get("ratio_spread"))
        if ratio is None or ratio <= 0:
            return None
        return Reading(abs(math.log2(ratio)), (spread or 0.0) / ratio / math.log(2))

    return read


def _clipped(found: Measured) -> Reading | None:
    row = found.row("quality", "clipped")
    value, base = finite(row.get("value")), finite(row.get("base"))
    return None if value is None or base is None else Reading(value - base, finite(row.get("spread")) or 0.0)


def _gains(found: Measured) -> list[float]:
    """What the LoRA took off the base's loss of held-out images, as a share of it, by epoch."""
    return [-one.change for one in found.held_out if one.change is not None]


def _held_out(found: Measured) -> Reading | None:
    """How much of what held-out images had gained was lost again by the end."""
    gains = _gains(found)
    if len(gains) < 3:
        return None
    return Reading((max(gains) - gains[-1]) / max(max(gains), 0.01))


def _lost_later(id: str) -> Callable[[Measured], Reading | None]:
    """How much smaller a figure is in the last file than in the best of the earlier ones."""

    def read(found: Measured) -> Reading | None:
        points = found.curve("checkpoints", id)
        values = [point.value if point.ratio is None else point.ratio for point in points]
        known = [value for value in values if value is not None]
        return Reading(max(known) - known[-1]) if len(known) > 2 else None

    return read


def _captions_fit(found: Measured) -> Reading | None:
    row = found.row("generalises", "captions_fit")
    compared = finite(row.get("compared"))
    return None if not row or (compared is not None and compared < _LEAST_COMPARED) else Reading(row["value"])


def _shown(found: Measured) -> Reading | None:
    return None if found.shown is None else Reading(found.shown)


AXES: Mapping[str, Callable[[Measured], Reading | None]] = {
    "likeness": _likeness,
    "half": _half,
    "stronger": _stronger,
    "late": _late,
    "change": _value("likeness", "change", "ratio"),
    "learnt": _value("generalises", "learnt"),
    "mirrored": _value("generalises", "mirrored"),
    "mirrored_lost": _lost_later("mirrored"),
    "variety": _value("generalises", "variety", "ratio"),
    "variety_alone": _value("trigger_alone", "variety", "ratio"),
    "copied": _copied("generalises"),
    "copied_alone": _copied("trigger_alone"),
    "above": _value("likeness", "likeness", "above"),
    "sharpness": _off("sharpness"),
    "saturation": _off("saturation"),
    "clipped": _clipped,
    "trigger_said": _value("likeness", "trigger_said"),
    "people": _value("likeness", "people"),
    "captions_fit": _captions_fit,
    "distinct": _value("generalises", "distinct"),
    "photos_left": _value("generalises", "distinct", "distinct"),
    "held_out_lost": _held_out,
    "shown": _shown,
}
"""Axis -> how it is read. `rules.toml` says what each means."""


def read_axes(found: Measured) -> dict[str, Reading]:
    """The axes that are known."""
    return dict(_known(found))


def _known(found: Measured) -> Iterator[tuple[str, Reading]]:
    for name, read in AXES.items():
        reading = read(found)
        if reading is not None and math.isfinite(reading.value):
            yield name, reading


def _first(value: Any) -> float | None:
    return finite(value[0]) if isinstance(value, (list, tuple)) and len(value) == 2 else None


def _point(row: Any) -> Point:
    step = row.get("step")
    numbers = {name: finite(row.get(name)) for name in ("value", "spread", "base", "ratio")}
    strength = finite(row.get("strength"))
    return Point(str(row.get("file")), step if isinstance(step, int) else None, strength or 0.0, **numbers, shares=row)
