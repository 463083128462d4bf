"""What was measured, as sentences for screens, plain lines and reports. Light: the app reads it too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from loratui.engine.untrusted import finite

Row = Mapping[str, Any]
"""A measure of a part, as `kept` reads it."""

PART_TITLES: Mapping[str, str] = {
    "likeness": "Likeness",
    "generalises": "Generalises, or remembers?",
    "trigger_alone": "Trigger alone",
    "quality": "Quality against the base",
    "strength": "Strength",
    "checkpoints": "Checkpoints",
    "next": "Next step",
}
"""The parts of the validation, as screens and reports call them."""

VERDICTS: Mapping[str, tuple[str, str]] = {
    "good": ("Well trained", "It learnt the subject and still follows the prompt."),
    "undertrained": ("Undertrained", "It learnt too little of the subject."),
    "overtrained": ("Overtrained", "It learnt too much: freedom or quality is lost."),
    "memorised": ("It has memorised photos", "They come back where new images were asked for."),
    "wrong_data": ("Something is wrong with the data", "Images, captions or trigger word do not fit together."),
    "unclear": ("Not clear", "The images do not say enough for a verdict."),
}
"""Each verdict, and what it means."""


def sentence(row: Row) -> str:
    """`Sharpness 0.96 of the base's: unchanged`, or why it is unknown."""
    if row["value"] is None:
        return f"{row['title']} unknown: {row['unknown']}"
    said = row["means"] or row["unknown"]
    return f"{row['title']} {row['figure']}" + (f": {said}" if said else "")


def figures(row: Row) -> list[str]:
    """Value, base, range and spread as far as they are known, and where the images fall."""
    value = finite(row["value"])
    if value is None:
        return []
    parts = [f"{_number(value)} ({row['unit']})"]
    if (base := finite(row.get("base"))) is not None:
        parts.append(f"the base's images {_number(base)}")
    bounds = row.get("range")
    if isinstance(bounds, list) and len(bounds) == 2 and None not in (low_high := [finite(end) for end in bounds]):
        parts.append("the photos among themselves " + "–".join(_number(end) for end in low_high if end is not None))
    spread = finite(row.get("spread"))
    parts.append("one seed" if spread is None else f"± {_number(spread)} over the seeds")
    shares = [f"{share:.0%} {name}" for name in ("below", "within", "above") if (share := finite(row.get(name)))]
    return [", ".join(parts), *([f"Images: {', '.join(shares)} what the photos have among themselves."] if shares else [])]


def _number(value: float) -> str:
    return f"{value:.3g}"
