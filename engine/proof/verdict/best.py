"""The file and strength to use: the one whose images are most like, varied and unhurt, of those that were made or can be foreseen."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from loratui.engine.proof.verdict.axes import Measured, Point
from loratui.engine.untrusted import finite

CLEARLY = 0.03
"""By so much another must be better than the file at its usual strength, which is what people expect."""
FORESEEN = 0.03
"""By so much one that was not made must be better than all that were."""
FITTED = ("likeness", "variety", "unhurt")
"""What counts. Copies are too uncertain in single images."""
LOST = ((0.0, 0.0), (0.5, 0.55), (0.8, 0.7), (1.0, 1.0), (1.25, 1.28), (1.5, 1.35))
"""(share of the usual strength, share of the variety's logarithm that is lost there at it), by the runs of `benchmarks/verdicts.py`."""
OF_ALL_PROMPTS = 0.6
"""Weight of the variety over all prompts, against that of the curve of strengths, which has fewer images."""
MORE_PROMPTS = 1.2
"""Times as much variety is lost over many prompts as over those of a validation, by the same runs."""
BY_STEPS = 0.5
"""Power of the share of the steps with which a file loses variety."""
MEASURED = 0.3
"""Weight of what was measured of a file itself, against that power: it has one prompt."""
FORESEEN_STRENGTHS = (0.8,)
"""Times the usual strength, between two that were made: 0.8 is what the guides recommend for a LoRA that is too strong."""
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
    every = _fitted(found, made, file, strength)
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
    return list(made.values())


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


def _fitted(found: Measured, made: Sequence[Candidate], file: str, usual: float) -> list[Candidate]:
    """`file` at its strengths and at those between, and the earlier files of epochs at the same strengths.

    A few images say little of one file. So likeness only rises from file to file, and the variety falls with strength and steps as it
    did in the runs that were looked at whole (`docs/verdicts.md`). What else an earlier file is worth changes with the strength as
    it does for `file`.
    """
    own = {one.strength: one for one in made if one.file == file}
    if usual not in own:
        return list(made)
    for share in FORESEEN_STRENGTHS:
        if (between := _between(own, round(share * usual, 2))) is not None:
            own[between.strength] = between
    last, rate = own[usual], _rate(found, own[usual])
    files = sorted(
        (one for one in made if one.file != file and one.strength == usual and one.step), key=lambda one: one.step or 0
    )
    steps = last.step or max((one.step or 1 for one in files), default=1)
    likeness = _rising([one.worth.get("likeness", 0.0) for one in files])
    fitted = [_with_variety(one, one.worth, rate, usual) for one in own.values()]
    for one, like, falls in zip(files, likeness, _rates(files, steps, rate), strict=True):
        if one.step == last.step:
            continue
        for strength, other in own.items():
            worth = dict(other.worth)
            if "likeness" in worth:
                worth["likeness"] = min(1.0, like * worth["likeness"] / last.worth["likeness"])
            fitted.append(
                _with_variety(Candidate(one.file, one.step, strength, {}, made=strength == usual), worth, falls, usual)
            )
    return fitted


def _with_variety(one: Candidate, worth: Mapping[str, float], rate: float | None, usual: float) -> Candidate:
    """With what counts, and the variety that is left at its strength."""
    counts = {id: value for id, value in worth.items() if id in FITTED}
    if rate is not None:
        counts["variety"] = max(_LEAST, math.exp(-rate * _along(LOST, one.strength / usual)))
    return replace(one, worth=counts)


def _rate(found: Measured, last: Candidate) -> float | None:
    """The logarithm of the variety that the last file loses at its usual strength; None if it is not known."""
    over_all = finite(found.row("generalises", "variety").get("ratio"))
    known = [
        (weight, _lost(value))
        for weight, value in ((OF_ALL_PROMPTS, over_all), (1 - OF_ALL_PROMPTS, last.worth.get("variety")))
        if value is not None
    ]
    return MORE_PROMPTS * sum(weight * lost for weight, lost in known) / sum(weight for weight, _ in known) if known else None


def _lost(variety: float) -> float:
    return -math.log(min(1 - _LEAST, max(_LEAST, variety)))


def _rates(files: Sequence[Candidate], steps: int, last: float | None) -> list[float | None]:
    """The same of each earlier file: by its steps, and in part by what was measured of the files."""
    if last is None:
        return [None] * len(files)
    points = [(float(one.step or 1), _lost(one.worth["variety"])) for one in files if "variety" in one.worth]
    found: list[float | None] = []
    for one in files:
        at = float(one.step or 1)
        share = min(1.0, at / steps) ** BY_STEPS
        if points:
            share = (1 - MEASURED) * share + MEASURED * _along(points, at) / points[-1][1]
        found.append(last * share)
    return found


def _along(points: Sequence[tuple[float, float]], at: float) -> float:
    """The value at a place, on straight lines between points in order; beyond them that of the nearest."""
    place = bisect_left(points, at, key=lambda point: point[0])
    if place in (0, len(points)):
        return points[min(place, len(points) - 1)][1]
    (before, low), (after, high) = points[place - 1], points[place]
    return low + (high - low) * (at - before) / (after - before)


def _rising(values: Sequence[float]) -> list[float]:
    """The nearest values that never fall: neighbours that do are averaged."""
    blocks: list[tuple[float, int]] = []
    for value in values:
        blocks.append((value, 1))
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            (b, m), (a, n) = blocks.pop(), blocks.pop()
            blocks.append(((a * n + b * m) / (n + m), n + m))
    return [value for value, count in blocks for _ in range(count)]


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
