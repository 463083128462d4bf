"""The file and strength to use: of all that were made, the one whose images are most like, varied, obedient and unhurt."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from loratui.engine.proof.verdict.axes import Measured, Point

CLEARLY = 0.03
"""By so much another must be better than the file at its usual strength, which is what people expect."""


@dataclass(frozen=True)
class Candidate:
    """A file at a strength, and what its images are worth, each 0 to 1; missing is unknown."""

    file: str
    step: int | None
    strength: float
    worth: Mapping[str, float]

    def score(self, others: Mapping[str, float]) -> float:
        """The product; what is unknown counts as in `others`."""
        return math.prod({**others, **self.worth}.values())


def candidates(found: Measured) -> list[Candidate]:
    """All points of the curves, the strengths of the file first."""
    made: dict[tuple[str, float], Candidate] = {}
    for part in ("strength", "checkpoints"):
        places: dict[tuple[str, float], dict[str, Point]] = {}
        for id in ("likeness", "variety", "followed", "sharpness", "saturation", "copy_hash", "copy_layout", "mirrored"):
            for point in found.curve(part, id):
                if point.strength:
                    places.setdefault((point.file, point.strength), {})[id] = point
        for key, points in places.items():
            any_point = next(iter(points.values()))
            made.setdefault(key, Candidate(any_point.file, any_point.step, any_point.strength, dict(_worth(found, points))))
    return list(made.values())


def _worth(found: Measured, points: Mapping[str, Point]) -> Iterator[tuple[str, float]]:
    if (like := points.get("likeness")) and like.value is not None and (along := found.along(like.value)) is not None:
        yield "likeness", min(1.0, max(0.02, along))
    for id in ("variety", "followed"):
        if (point := points.get(id)) and point.ratio is not None:
            yield id, min(1.0, max(0.02, point.ratio))
    hurt = [abs(math.log2(point.ratio)) for id in ("sharpness", "saturation") if (point := points.get(id)) and point.ratio]
    if hurt:
        yield "unhurt", 1 / (1 + max(0.0, max(hurt) - 0.3))
    copies = [
        share
        for id in ("copy_hash", "copy_layout")
        if (p := points.get(id)) and isinstance(share := p.shares.get("copies"), float)
    ]
    if copies:
        yield "own", 1 - max(copies)


def best(found: Measured, file: str, strength: float, *, chosen: str = "") -> dict[str, Any] | None:
    """`{file, step, strength, reason}`; None if nothing was made. `chosen`: the file that the person chose."""
    every = [one for one in candidates(found) if not chosen or one.file == chosen] or candidates(found)
    if not every:
        return None
    usual = next((one for one in every if (one.file, one.strength) == (file, strength)), None)
    others = usual.worth if usual else {}
    top = max(every, key=lambda one: (one.score(others), -abs(one.strength - strength), one.step or 0))
    if usual and top.score(others) < usual.score(others) * (1 + CLEARLY):
        top = usual
    return {"file": top.file, "step": top.step, "strength": top.strength, "reason": _reason(top, usual, others, bool(chosen))}


def _reason(top: Candidate, usual: Candidate | None, others: Mapping[str, float], chosen: bool) -> str:
    if chosen:
        return "You chose this file."
    if usual is None:
        return "Its images are the best of those that were made."
    if top is usual:
        return "No other file or strength is clearly better."
    gains = {id: top.worth[id] / max(others.get(id, 1.0), 0.02) for id in top.worth}
    most = max(gains, key=gains.__getitem__) if gains else ""
    words = {
        "likeness": "more like",
        "variety": "more varied",
        "followed": "more obedient",
        "unhurt": "cleaner",
        "own": "less copied",
    }
    return f"Its images are {words.get(most, 'better')} than those of the last file at strength {usual.strength:g}."
