"""The rules of the verdict, which are data: what each axis says for and against each kind, from which figure on."""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from loratui.engine.proof.verdict.axes import AXES, Reading
from loratui.presets.toml_text import parse_toml, read_text

MOST_SURE = 0.97
"""No verdict is surer: of 105 runs that the rules were not fitted to, all were called right, which shows no more than 97 % (3 in n)."""
TOLD_FROM = 0.25
"""Degree from which a sign is told as a reason."""
KINDS = ("good", "undertrained", "overtrained", "memorised", "wrong_data")


@dataclass(frozen=True)
class Rule:
    """A sign: an axis between two figures. Beyond `full` it counts in full, before `none` not at all, between them in part."""

    id: str
    axis: str
    none: float
    full: float
    points: Mapping[str, float]
    """Kind -> how much the sign says for it, in natural logarithms of odds."""
    says: str = ""
    """The sentence, with `{value}`. Empty: it is no reason that is told."""

    def degree(self, reading: Reading) -> float:
        """How far the sign is there, 0 to 1: the mean over the figure and one spread to each side."""
        values = (reading.value - reading.spread, reading.value, reading.value + reading.spread)
        return statistics.fmean(min(1.0, max(0.0, (value - self.none) / (self.full - self.none))) for value in values)


@dataclass(frozen=True)
class Rules:
    """All of them."""

    signs: tuple[Rule, ...]
    start: Mapping[str, float]
    """Points of each kind before anything is known."""
    temperature: float
    """By which the points are divided before they become odds: above 1, confidence is smaller."""
    least: float
    """Confidence below which the verdict is `unclear`."""


@dataclass(frozen=True)
class Weighed:
    """What the rules say of some axes."""

    kind: str
    """Before `unclear` is considered."""
    chances: Mapping[str, float]
    degrees: Mapping[str, float] = field(default_factory=dict)
    """Rule -> how far its sign is there."""

    @property
    def confidence(self) -> float:
        """In its kind, 0 to 1."""
        return min(MOST_SURE, self.chances[self.kind])


@functools.cache
def rules() -> Rules:
    """The rules that come with loratui."""
    return rules_from(read_text(Path(__file__).with_name("rules.toml")))


def rules_from(text: str) -> Rules:
    """The rules in a TOML text. Asserts what a test would otherwise have to: each axis and each kind is there."""
    table = parse_toml(text)
    signs = tuple(Rule(id, **row) for id, row in table["signs"].items())
    for sign in signs:
        assert sign.axis in AXES, sign
        assert sign.none != sign.full, sign
        assert set(sign.points) <= set(KINDS), sign
    return Rules(signs, table["start"], float(table["temperature"]), float(table["least"]))


def weigh(axes: Mapping[str, Reading], by: Rules) -> Weighed:
    """The chances of each kind."""
    degrees = {sign.id: sign.degree(axes[sign.axis]) for sign in by.signs if sign.axis in axes}
    points = {kind: by.start.get(kind, 0.0) for kind in KINDS}
    for sign in by.signs:
        for kind, most in sign.points.items():
            points[kind] += most * degrees.get(sign.id, 0.0)
    highest = max(points.values())
    odds = {kind: math.exp((value - highest) / by.temperature) for kind, value in points.items()}
    total = sum(odds.values())
    chances = {kind: value / total for kind, value in odds.items()}
    return Weighed(max(chances, key=chances.__getitem__), chances, degrees)


def reasons(weighed: Weighed, axes: Mapping[str, Reading], by: Rules, most: int = 4) -> list[str]:
    """The sentences of the signs that speak for the verdict, the strongest first."""
    spoken = [
        (sign.points.get(weighed.kind, 0.0) * weighed.degrees.get(sign.id, 0.0), sign)
        for sign in by.signs
        if sign.says and weighed.degrees.get(sign.id, 0.0) >= TOLD_FROM
    ]
    told = sorted((pair for pair in spoken if pair[0] > 0), key=lambda pair: -pair[0])
    return [sign.says.format(value=axes[sign.axis].value) for _, sign in told[:most]]
