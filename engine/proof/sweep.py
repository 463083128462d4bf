"""The runs of a sweep compared by the same measures at equal strength, and the one to keep."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from loratui.engine.planning.recipe import read_recipe
from loratui.engine.proof.judgement import Judgement, Measures, read_measures
from loratui.engine.proof.notes import MOST_STARS, read_checklist
from loratui.engine.proof.verdict.axes import Measured
from loratui.engine.proof.verdict.best import Candidate, candidates
from loratui.engine.runs.summary import RunSummary, summarise
from loratui.engine.runs.sweeps import Member, Sweep
from loratui.engine.untrusted import finite
from loratui.engine.words import count, joined, listed
from loratui.presets.schema import SchemaError

MEASURES = ("likeness", "learnt", "variety", "copy_hash", "copy_layout", "copy_face", "sharpness", "saturation")
"""Shown of each run where they are known, in this order."""
_WORDS = {"likeness": "likeness", "variety": "variety", "unhurt": "quality", "own": "no copies"}
"""What a candidate is worth, in words."""
_BAD = ("memorised", "wrong_data")
"""Verdicts of runs that are not picked, whatever their images are like."""
_FIGURES = ("value", "spread", "base", "ratio", "copies", "share_above")
_NEAR, _WIDEST = 0.05, 0.2
"""Share of the best score within which a run is as good, at least and at most."""


@dataclass(frozen=True)
class Row:
    """A run of the sweep."""

    member: Member
    summary: RunSummary | None
    """None for a run that is not on this machine."""
    parts: tuple[Mapping[str, Any], ...] = ()
    """What was measured; empty until it is validated."""
    judgement: Judgement | None = None
    """Of its own validation, with what the person noted there."""
    stars: int = 0
    """What the person gave its last file; 0: not rated."""

    @property
    def kind(self) -> str:
        """Of the verdict; empty without one."""
        return self.judgement.kind if self.judgement else ""

    @property
    def status(self) -> str:
        """Of the run; `elsewhere` for one that is not on this machine."""
        if self.summary is None:
            return "elsewhere"
        return "validating" if self.summary.job == "validate" else self.summary.status

    @property
    def strengths(self) -> list[float]:
        """At which its last file was measured."""
        return sorted({one.strength for one in self._points()})

    def at(self, strength: float) -> Candidate | None:
        """What its last file is worth at a strength."""
        return next((one for one in self._points() if one.strength == strength), None)

    def _points(self) -> list[Candidate]:
        """Those of the last file: the curve of strengths has no other."""
        strength = [part for part in self.parts if part["id"] in ("strength", "likeness")]
        return candidates(Measured(strength)) if strength else []

    def measures(self, strength: float) -> dict[str, dict[str, Any]]:
        """The figures of each measure at a strength."""
        found = {}
        for part in self.parts:
            for row in part["measures"] if part["id"] == "strength" else ():
                curve = row.get("curve")
                point = next((p for p in curve if p.get("strength") == strength), None) if isinstance(curve, list) else None
                if row["id"] in MEASURES and isinstance(point, dict):
                    found[row["id"]] = {name: finite(point.get(name)) for name in _FIGURES if name in point}
        return {id: found[id] for id in MEASURES if id in found}


@dataclass(frozen=True)
class Pick:
    """The run to keep."""

    run: str
    """Its name; empty where none can be picked."""
    reasons: tuple[str, ...]
    as_good: tuple[str, ...] = ()
    """Others that are not clearly worse."""


@dataclass(frozen=True)
class Comparison:
    """A sweep at one strength."""

    sweep: Sweep
    rows: tuple[Row, ...]
    strength: float | None
    """None where no run was measured, or no strength is common to all."""
    strengths: tuple[float, ...]
    """Those at which every measured run has images."""
    pick: Pick


def compare(sweep: Sweep, strength: float | None = None) -> Comparison:
    """All runs at one strength: the given one, else the usual one of the runs, if all were measured there."""
    rows = tuple(_row(member) for member in sweep.members)
    measured = [set(row.strengths) for row in rows if row.parts]
    common = sorted(set.intersection(*measured)) if measured else []
    at = strength if strength in common else _nearest(common, 1.0 if strength is None else strength)
    return Comparison(sweep, rows, at, tuple(common), pick(rows, at))


def pick(rows: Sequence[Row], strength: float | None) -> Pick:
    """The run with the best images at this strength; of those that are as good, the one that was made with the least effort.

    The person's stars come first, then the runs' own verdicts: without likeness, figures alone would speak for the run that learnt least.
    """
    measured = [row for row in rows if row.parts]
    if not measured or strength is None:
        return Pick("", ("The runs have no strength in common." if measured else "No run was measured yet.",))
    left, reasons = _first_choice(measured)
    if len(measured) < len(rows):
        reasons.append(f"{count(len(rows) - len(measured), 'run')} not measured yet.")
    if not left:
        return Pick("", (*reasons, "No run is left to pick: change the dataset first."))
    shared, worth = _worth(left, strength)
    if not shared or not ("likeness" in shared or left[0].stars or left[0].kind == "good"):
        return Pick("", (*reasons, "Likeness is not known of all runs, and none is judged good: look at their images."))
    best = max(left, key=lambda row: worth[row.member.run])
    least = worth[best.member.run] * (1 - max(_NEAR, _spread(best, strength)))
    near = [row for row in left if worth[row.member.run] >= least]
    chosen = min(near, key=lambda row: (_effort(row), -worth[row.member.run]))
    why = _why(chosen, near, worth, f"at strength {strength:g}, by {joined([_WORDS[id] for id in shared], 'and')}")
    return Pick(chosen.member.run, (why, *reasons), tuple(row.member.run for row in near if row is not chosen))


def _first_choice(measured: Sequence[Row]) -> tuple[list[Row], list[str]]:
    """The runs that may be picked, and why the others may not."""
    left = [row for row in measured if row.kind not in _BAD or row.stars]
    reasons = [f"Left out: {row.member.run} ({row.kind.replace('_', ' ')})." for row in measured if row not in left]
    if stars := max((row.stars for row in left), default=0):
        left = [row for row in left if row.stars == stars]
        return left, [f"You gave {stars} of {MOST_STARS} stars to {_names(left)}.", *reasons]
    if good := [row for row in left if row.kind == "good"]:
        return good, ([f"Judged good: {_names(good)}."] if len(good) < len(left) else []) + reasons
    return left, reasons


def _names(rows: Sequence[Row]) -> str:
    return listed([row.member.run for row in rows], 3)


def _worth(rows: Sequence[Row], strength: float) -> tuple[list[str], dict[str, float]]:
    """What is known of all runs, and the product of it for each: what only some have says nothing between them."""
    points = {row.member.run: row.at(strength) for row in rows}
    shared = set.intersection(*(set(point.worth) if point else set() for point in points.values()))
    worth = {run: math.prod(point.worth[id] for id in shared) if point else 0.0 for run, point in points.items()}
    return [id for id in _WORDS if id in shared], worth


def _spread(row: Row, strength: float) -> float:
    """How far the seeds are apart in the likeness, as a share of it, at most `_WIDEST`: within that, runs differ by chance."""
    like = row.measures(strength).get("likeness", {})
    value, spread = like.get("value"), like.get("spread")
    return min(_WIDEST, spread / value) if value and value > 0 and spread else 0.0


def _why(chosen: Row, near: Sequence[Row], worth: Mapping[str, float], by: str) -> str:
    name, others = chosen.member.run, [row for row in near if row is not chosen]
    if others:
        return f"{name} is as good as {_names(others)} {by}; its file is the smallest, or it took the fewest steps."
    rest = [value for run, value in worth.items() if run != name]
    lead = f": {worth[name] / max(rest) - 1:.0%} above the next" if rest and max(rest) > 0 else ""
    return f"{name} has the best images {by}{lead}."


def _effort(row: Row) -> tuple[int, int]:
    """Size of its LoRA file, then its steps."""
    state = row.summary.state if row.summary else None
    path = row.summary.file(state.output) if row.summary and state else None
    size = path.stat().st_size if path is not None and path.is_file() else 0
    return size, state.step if state else 0


def _row(member: Member) -> Row:
    run = member.directory
    if run is None or not run.path.is_dir():
        return Row(member, None)
    summary, notes = summarise(run), read_checklist(run.validation / "checklist.json")
    try:
        found = read_measures(run, read_recipe(run.effective).settings)
    except SchemaError:
        found = Measures()
    return Row(member, summary, tuple(found.parts), found.judge(notes), notes.mark(summary.state.output).rating)


def _nearest(strengths: Sequence[float], wanted: float) -> float | None:
    return min(strengths, key=lambda one: (abs(one - wanted), one), default=None)
