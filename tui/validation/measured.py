"""What was measured for a part of the validation, as lines of the screens and of plain text. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from textual.content import Content

from loratui.engine.untrusted import finite
from loratui.tui.widgets.line import joined, plain

Row = Mapping[str, Any]
"""A measure of a part, as `engine.proof.kept` reads it."""

MOST_LINES = 4
"""On the screen of a part; the page of its measures has them all."""


def sentence(row: Row) -> str:
    """`Sharpness 0.96 of the base's: unchanged`, or why it is unknown."""
    if row["value"] is None:
        return f"{row['title']} unknown: {row['unknown']}"
    said = row["means"] or row["unknown"]
    return f"{row['title']} {row['figure']}" + (f": {said}" if said else "")


def short(rows: Sequence[Row]) -> Content:
    """The first lines, what is known before what is not."""
    ordered = sorted(rows, key=lambda row: row["value"] is None)
    return Content("\n").join([plain(sentence(row), "$muted" if row["value"] is None else "") for row in ordered[:MOST_LINES]])


def page(rows: Sequence[Row]) -> Content:
    """Every measure of a part: its line, its figures, what it means, and its limits."""
    return Content("\n\n").join([_whole(row) for row in rows])


def _whole(row: Row) -> Content:
    lines = [plain(sentence(row), "bold")]
    lines += [plain(figures) for figures in _figures(row)]
    if row["value"] is not None and row["means"] and row["unknown"]:
        lines.append(plain(f"Not known: {row['unknown']}"))
    lines.append(plain(row["about"], "$muted"))
    lines.append(joined(plain("Limits  ", "$accent"), plain(row["limits"], "$muted")))
    return Content("\n").join(lines)


def _figures(row: Row) -> list[str]:
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
