"""Measures each part of the validation: which images belong to it, and what is said of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from loratui.engine.proof.embedded import FOLLOWED
from loratui.engine.proof.never_shown import NEVER_SHOWN, asked_for
from loratui.engine.proof.protocol import Measure, References, Shot, Value, measured, rounded
from loratui.engine.proof.registry import PARTS, Part

SHARES = ("share_above", "copies", "below", "within", "above", "none", "several", "levels")
"""What a point of a curve has beside its value, where the measure has it."""
MOST_SHOWN = 4
"""Points of a curve that its line shows."""


@dataclass(frozen=True)
class Subject:
    """What is measured of a run."""

    file: str
    """The LoRA file in question, relative to the run."""
    strength: float
    """At which it is meant to be used."""
    step_of: Mapping[str, int]
    """The optimizer step of each file, as far as known."""


def likely_strength(there: Sequence[float], wanted: float) -> float | None:
    """The strength nearest to the usual one; None if only the base has images."""
    return min((s for s in there if s), key=lambda strength: (abs(strength - wanted), strength), default=None)


def measure_parts(shots: Sequence[Shot], references: References, subject: Subject) -> list[dict[str, Any]]:
    """The seven parts as `--json` has them."""
    never = [shot for shot in shots if shot.never]
    # What the photos never show is asked for beyond the recipe, and would change what the other measures compare.
    shots = [shot for shot in shots if not shot.never]
    usual = replace(references, base={key: shot for key, shot in references.base.items() if not shot.never})
    of_file = [shot for shot in shots if shot.file == subject.file and shot.strength and shot.grid == "strengths"]
    strength = likely_strength([shot.strength for shot in of_file], subject.strength)
    likely = [shot for shot in of_file if shot.strength == strength]
    images = {
        "likeness": likely,
        "generalises": [shot for shot in likely if not shot.alone],
        "trigger_alone": [shot for shot in likely if shot.alone],
        "quality": likely,
        "strength": of_file,
        "checkpoints": [shot for shot in shots if shot.grid == "checkpoints" and shot.strength],
    }
    parts = []
    for part in PARTS:
        chosen = images.get(part.id, [])
        values = {one.id: rounded(_value(part, one, chosen, usual, subject, strength)) for one in part.measures}
        if NEVER_SHOWN.id in values:
            asked = [shot for shot in never if shot.file == subject.file and shot.strength]
            values[NEVER_SHOWN.id] = rounded(_never_shown(asked, references))
            chosen = [*chosen, *asked]
        rows = [_row(one, values[one.id]) for one in part.measures]
        parts.append({"id": part.id, "status": _status(rows), "measures": rows, "images": _images(chosen, values)})
    return parts


def _value(
    part: Part, measure: Measure, images: Sequence[Shot], references: References, subject: Subject, strength: float | None
) -> Value:
    if not part.curve:
        return measured(measure, images, references)
    return _curve(part.curve, measure, images, references, subject, strength)


def _never_shown(images: Sequence[Shot], references: References) -> Value:
    """By what reads the images, else by how well they fit their prompts, where there is a model for it."""
    value = measured(NEVER_SHOWN, images, references)
    if value.value is not None or not images:
        return value
    found = measured(FOLLOWED, images, references)
    if found.value is None:
        return value
    means = f"{found.means or found.unknown} ({asked_for(references)})"
    return replace(found, means=means, more={**found.more, **value.more, "unit": FOLLOWED.unit})


def _curve(
    along: str, measure: Measure, images: Sequence[Shot], references: References, subject: Subject, strength: float | None
) -> Value:
    """The value at the usual strength, or of the last file, with that of every other beside it."""
    groups: dict[tuple[str, float], list[Shot]] = {}
    for shot in images:
        groups.setdefault((shot.file, shot.strength), []).append(shot)
    if not groups:
        return measured(measure, images, references)
    order = sorted(groups, key=lambda key: (subject.step_of.get(key[0], 1 << 62), key[0], key[1]))
    found = {key: measured(measure, groups[key], references) for key in order}
    main = found[(subject.file, strength or 0.0)] if along == "strengths" and strength else found[order[-1]]
    points = [
        {
            "file": file,
            "step": subject.step_of.get(file),
            "strength": of_strength,
            "value": value.value,
            "spread": value.spread,
            "base": value.base,
            "ratio": value.more.get("ratio"),
            "images": len(groups[file, of_strength]),
            "unknown": value.unknown,
            **{name: value.more[name] for name in SHARES if name in value.more},
        }
        for (file, of_strength), value in found.items()
    ]
    known = [point for point in points if point["value"] is not None]
    if not known:
        return main

    def words(point: Mapping[str, Any]) -> str:
        shown = point["value"] if point["ratio"] is None else point["ratio"]
        place = f"{point['strength']:g}" if along == "strengths" else _place(point)
        return f"{shown:.2f} at {place}"

    shown = ", ".join(map(words, _some(known)))
    of_base = " of the base's" if all(point["ratio"] is not None for point in known) else ""
    return Value(
        main.value,
        main.spread,
        main.base,
        main.range,
        figure=f"{shown}{of_base}",
        means=main.means,
        unknown=main.unknown,
        images={path: value for one in found.values() for path, value in one.images.items()},
        more={"ratio": main.more.get("ratio"), "curve": [_short(point) for point in points]},
    )


def _place(point: Mapping[str, Any]) -> str:
    return str(point["step"]) if point["step"] is not None else str(point["file"]).rpartition("/")[2]


def _some(points: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The first, the last, and some between."""
    if len(points) <= MOST_SHOWN:
        return list(points)
    last = len(points) - 1
    return [points[round(at * last / (MOST_SHOWN - 1))] for at in range(MOST_SHOWN)]


def _short(point: Mapping[str, Any]) -> dict[str, Any]:
    return {name: round(value, 4) if isinstance(value, float) else value for name, value in point.items()}


def _row(measure: Measure, value: Value) -> dict[str, Any]:
    return {
        "id": measure.id,
        "title": measure.title,
        "value": value.value,
        "spread": value.spread,
        "base": value.base,
        "range": None if value.range is None else list(value.range),
        "unit": measure.unit,
        "figure": value.figure,
        "means": value.means,
        "unknown": value.unknown,
        "about": measure.about,
        "limits": measure.limits,
        **value.more,
    }


def _status(values: Sequence[Mapping[str, Any]]) -> str:
    """`measured`, `partly` or `unknown`; `none` where there is nothing to measure."""
    known = sum(value["value"] is not None for value in values)
    if not values:
        return "none"
    return "measured" if known == len(values) else "partly" if known else "unknown"


def _images(shots: Sequence[Shot], values: Mapping[str, Value]) -> list[dict[str, Any]]:
    return [
        {
            "path": shot.path,
            "prompt": shot.prompt,
            "seed": shot.seed,
            "file": shot.file,
            "strength": shot.strength,
            "values": {id: value.images[shot.path] for id, value in values.items() if shot.path in value.images},
        }
        for shot in shots
    ]
