"""The file and strength to use: the one whose images are most like, varied, obedient and unhurt, of those that were made or can be foreseen."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from loratui.engine.proof.verdict.axes import Measured, Point

CLEARLY = 0.03
"""By so much another must be better than the file at its usual strength, which is what people expect."""
FORESEEN = 0.05
"""By so much one that was not made must be better than all that were."""
STRONG = 1.1
"""Strength beyond which the variety falls no further."""
WEAKER = 0.8
"""Times the usual strength: what the guides recommend for a LoRA that is too strong."""
SLACK = {"followed": 0.3}
"""What a figure may lack before it counts: that of prompts has a wide spread."""
_LEAST = 0.02
_CURVES = ("likeness", "variety", "followed", "sharpness", "saturation", "copy_hash", "copy_layout")


@dataclass(frozen=True)
class Candidate:
    """A file at a strength, and what its images are worth, each 0 to 1; missing is unknown."""

    file: str
    step: int | None
    strength: float
    worth: Mapping[str, float]
    made: bool = True
    """Whether its images were made; else its worth is foreseen."""

    def score(self, others: Mapping[str, float]) -> float:
        """The product; what is unknown counts as in `others`."""
        return math.prod({**others, **self.worth}.values())


def best(found: Measured, file: str, strength: float, *, chosen: str = "") -> dict[str, Any] | None:
    """`{file, step, strength, reason}`; None if nothing was made. `chosen`: the file that the person chose."""
    made = candidates(found)
    every = [*made, *_foreseen(made, file, strength)]
    every = [one for one in every if one.file == chosen] or every
    if not every:
        return None
    usual = next((one for one in every if (one.file, one.strength) == (file, strength)), None)
    others = usual.worth if usual else {}

    def first(some: Sequence[Candidate]) -> Candidate:
        return max(some, key=lambda one: (one.score(others), -abs(one.strength - strength), one.step or 0))

    top, seen = first(every), first([one for one in every if one.made])
    if top.score(others) < seen.score(others) * (1 + FORESEEN):
        top = seen
    if usual and top.score(others) < usual.score(others) * (1 + CLEARLY):
        top = usual
    reason = "You chose this file." if chosen == top.file else _reason(top, usual, others)
    return {"file": top.file, "step": top.step, "strength": top.strength, "reason": reason}


def candidates(found: Measured) -> list[Candidate]:
    """All points of the curves, the strengths of the file first."""
    made: dict[tuple[str, float], Candidate] = {}
    for part in ("strength", "checkpoints"):
        places: dict[tuple[str, float], dict[str, Point]] = {}
        for id in _CURVES:
            for point in found.curve(part, id):
                if point.strength:
                    places.setdefault((point.file, point.strength), {})[id] = point
        for key, points in places.items():
            place = next(iter(points.values()))
            made.setdefault(key, Candidate(place.file, place.step, place.strength, dict(_worth(found, points))))
    return _smoothed(list(made.values()))


def _worth(found: Measured, points: Mapping[str, Point]) -> Iterator[tuple[str, float]]:
    if (like := points.get("likeness")) and like.value is not None and found.way is not None:
        yield "likeness", min(1.0, max(_LEAST, like.value / found.way[1]))
    for id in ("variety", "followed"):
        if (point := points.get(id)) and point.ratio is not None:
            yield id, min(1.0, max(_LEAST, point.ratio + SLACK.get(id, 0.0)))
    hurt = [abs(math.log2(point.ratio)) for id in ("sharpness", "saturation") if (point := points.get(id)) and point.ratio]
    if hurt:
        yield "unhurt", 1 / (1 + max(0.0, max(hurt) - 0.3))
    copies = [share for id in ("copy_hash", "copy_layout") if isinstance(share := _copies(points.get(id)), float)]
    if copies:
        yield "own", max(_LEAST, 1 - max(copies))


def _copies(point: Point | None) -> Any:
    return point.shares.get("copies") if point else None


def _smoothed(every: Sequence[Candidate]) -> list[Candidate]:
    """With the variety of each file as it falls with its strength: a few seeds say little of one strength, and more of them all."""
    rates: dict[str, list[float]] = {}
    for one in every:
        if "variety" in one.worth and one.strength <= STRONG:
            rates.setdefault(one.file, []).append(-math.log(one.worth["variety"]) / one.strength)
    means = {file: sum(found) / len(found) for file, found in rates.items()}
    return [
        replace(one, worth={**one.worth, "variety": _varied(means[one.file], one.strength)}) if one.file in means else one
        for one in every
    ]


def _varied(rate: float, strength: float) -> float:
    return math.exp(-rate * min(strength, STRONG))


def _foreseen(every: Sequence[Candidate], file: str, usual: float) -> Iterator[Candidate]:
    """`file` a little weaker, and the files of epochs at other strengths: each figure changes with the strength as that of `file` does."""
    own = {one.strength: one for one in every if one.file == file}
    if (weaker := _between(own, round(WEAKER * usual, 2))) is not None:
        own[weaker.strength] = weaker
        yield weaker
    at_usual = own.pop(usual, None)
    if at_usual is None:
        return
    for one in every:
        if one.file == file or one.strength != usual:
            continue
        for strength, other in own.items():
            worth = {
                id: min(1.0, value * other.worth[id] / at_usual.worth[id])
                for id, value in one.worth.items()
                if id in other.worth and id in at_usual.worth
            }
            if "variety" in one.worth:
                worth["variety"] = _varied(-math.log(one.worth["variety"]) / min(usual, STRONG), strength)
            yield Candidate(one.file, one.step, strength, worth, made=False)


def _between(own: Mapping[float, Candidate], strength: float) -> Candidate | None:
    """A file at a strength between two that were made; None if this one was, or if there are no such two."""
    below, above = (max((s for s in own if s < strength), default=None), min((s for s in own if s > strength), default=None))
    if strength in own or below is None or above is None:
        return None
    low, high, share = own[below], own[above], (strength - below) / (above - below)
    worth = {id: low.worth[id] ** (1 - share) * high.worth[id] ** share for id in low.worth if id in high.worth}
    return Candidate(high.file, high.step, strength, worth, made=False)


def _reason(top: Candidate, usual: Candidate | None, others: Mapping[str, float]) -> str:
    if usual is None:
        return "Its images are the best of those that were made."
    if top is usual:
        return "No other file or strength is clearly better."
    gains = {id: value / max(others.get(id, 1.0), _LEAST) for id, value in top.worth.items()}
    most = max(gains, key=gains.__getitem__) if gains else ""
    words = {
        "likeness": "more like",
        "variety": "more varied",
        "followed": "more obedient",
        "unhurt": "cleaner",
        "own": "less copied",
    }
    better = f"{words.get(most, 'better')} than those of the last file at strength {usual.strength:g}."
    return f"Its images are {better}" if top.made else f"Its images, which are not made yet, should be {better}"
