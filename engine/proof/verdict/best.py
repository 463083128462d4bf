"""The file and strength to use: the one whose images are most like, varied and unhurt, of those that were made or can be foreseen."""

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
FITTED = ("likeness", "variety", "unhurt")
"""What counts. Copies are too uncertain in single images."""
LEAST_RATE = 0.5
"""Share of the last file's rate at which the variety of an earlier one falls at least."""
WEAKER = 0.8
"""Times the usual strength: what the guides recommend for a LoRA that is too strong."""
_LEAST = 0.02
_CURVES = ("likeness", "variety", "sharpness", "saturation", "copy_hash", "copy_layout")


@dataclass(frozen=True)
class Candidate:
    """A file at a strength, and what its images are worth, each 0 to 1; missing is unknown."""

    file: str
    step: int | None
    strength: float
    worth: Mapping[str, float]
    made: bool = True
    """Whether its images were made; else its worth is foreseen."""

    def score(self) -> float:
        """The product."""
        return math.prod(self.worth.values())


def best(found: Measured, file: str, strength: float, *, chosen: str = "") -> dict[str, Any] | None:
    """`{file, step, strength, reason}`; None if nothing was made. `chosen`: the file that the person chose."""
    made = candidates(found)
    if not made:
        return None
    every = _fitted(made, file, strength)
    if chosen in {one.file for one in made}:
        every = [one for one in every if one.file == chosen] or [one for one in made if one.file == chosen]
    usual = next((one for one in every if (one.file, one.strength) == (file, strength)), every[0])
    top = usual
    # Without likeness, variety alone would speak for the file that learnt least.
    if all("likeness" in one.worth for one in every):
        top, seen = _first(every, strength), _first([one for one in every if one.made] or every, strength)
        top = seen if top.score() < seen.score() * (1 + FORESEEN) else top
        top = usual if top.score() < usual.score() * (1 + CLEARLY) else top
    reason = "You chose this file." if chosen == top.file else _reason(top, usual)
    return {"file": top.file, "step": top.step, "strength": top.strength, "reason": reason}


def _first(some: Sequence[Candidate], usual: float) -> Candidate:
    return max(some, key=lambda one: (one.score(), -abs(one.strength - usual), one.step or 0))


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
    if (point := points.get("variety")) and point.ratio is not None:
        yield "variety", min(1.0, max(_LEAST, point.ratio))
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


def _fitted(made: Sequence[Candidate], file: str, usual: float) -> list[Candidate]:
    """`file` at its strengths and a little weaker, and the earlier files of epochs at the same strengths.

    A few images say little of one file: likeness only rises from file to file, and what the strength takes of the variety grows with the
    logarithm of the steps. Each figure of an earlier file changes with the strength as that of `file` does.
    """
    own = {one.strength: one for one in made if one.file == file}
    if usual not in own:
        return list(made)
    if (weaker := _between(own, round(WEAKER * usual, 2))) is not None:
        own[weaker.strength] = weaker
    last = own[usual]
    files = sorted(
        (one for one in made if one.file != file and one.strength == usual and one.step), key=lambda one: one.step or 0
    )
    likeness = _rising([one.worth.get("likeness", 0.0) for one in files])
    rate = _rate(last)
    rates = _rates(
        [(one.step or 1, _rate(one)) for one in files], last.step or max((one.step or 1 for one in files), default=1), rate
    )
    found = [replace(one, worth=_part(one.worth)) for one in own.values()]
    for one, like, falls in zip(files, likeness, rates, strict=True):
        if one.step == last.step:
            continue
        for strength, other in own.items():
            worth = dict(_part(other.worth))
            if "likeness" in worth:
                worth["likeness"] = min(1.0, like * worth["likeness"] / last.worth["likeness"])
            if falls is not None:
                worth["variety"] = _varied(falls, strength)
            found.append(Candidate(one.file, one.step, strength, worth, made=strength == usual))
    return found


def _part(worth: Mapping[str, float]) -> dict[str, float]:
    return {id: value for id, value in worth.items() if id in FITTED}


def _rate(one: Candidate) -> float | None:
    """How fast the variety falls with the strength."""
    return -math.log(one.worth["variety"]) / min(one.strength, STRONG) if "variety" in one.worth else None


def _rising(values: Sequence[float]) -> list[float]:
    """The nearest values that never fall: neighbours that do are averaged."""
    blocks: list[tuple[float, int]] = []
    for value in values:
        blocks.append((value, 1))
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            (b, m), (a, n) = blocks.pop(), blocks.pop()
            blocks.append(((a * n + b * m) / (n + m), n + m))
    return [value for value, count in blocks for _ in range(count)]


def _rates(of_files: Sequence[tuple[int, float | None]], last_step: int, last: float | None) -> list[float | None]:
    """The rate of each file, by a line through the known ones over the logarithm of the steps; that of the last counts twice, since it
    has more images, and none is below a share of it."""
    if last is None:
        return [None] * len(of_files)
    points = [(math.log(step), rate, 1.0) for step, rate in of_files if rate is not None] + [(math.log(last_step), last, 2.0)]
    weight = sum(w for _, _, w in points)
    middle, mean = sum(x * w for x, _, w in points) / weight, sum(y * w for _, y, w in points) / weight
    wide = sum(w * (x - middle) ** 2 for x, _, w in points)
    slope = max(0.0, sum(w * (x - middle) * (y - mean) for x, y, w in points) / wide) if wide > 0 else 0.0
    return [max(LEAST_RATE * last, mean + slope * (math.log(step) - middle)) for step, _ in of_files]


def _between(own: Mapping[float, Candidate], strength: float) -> Candidate | None:
    """A file at a strength between two that were made; None if this one was, or if there are no such two."""
    below, above = (max((s for s in own if s < strength), default=None), min((s for s in own if s > strength), default=None))
    if strength in own or below is None or above is None:
        return None
    low, high, share = own[below], own[above], (strength - below) / (above - below)
    worth = {id: low.worth[id] ** (1 - share) * high.worth[id] ** share for id in low.worth if id in high.worth}
    return Candidate(high.file, high.step, strength, worth, made=False)


def _reason(top: Candidate, usual: Candidate) -> str:
    if top is usual:
        known = "likeness" in usual.worth
        return (
            "No other file or strength is clearly better." if known else "Likeness is not known, so nothing speaks for another."
        )
    gains = {id: value / max(usual.worth.get(id, 1.0), _LEAST) for id, value in top.worth.items()}
    most = max(gains, key=gains.__getitem__)
    words = {"likeness": "more like", "variety": "more varied", "unhurt": "cleaner"}
    better = f"{words[most]} than those of the last file at strength {usual.strength:g}."
    return f"Its images are {better}" if top.made else f"Its images, which are not made yet, should be {better}"
