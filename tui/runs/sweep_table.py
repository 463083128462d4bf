"""A sweep as a table of text: a row for each run, for plain lines and the screen. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from loratui.engine.planning.sweep import value_in_words
from loratui.tui import text

if TYPE_CHECKING:
    from loratui.engine.proof.sweep import Comparison, Row

_TITLES = {
    "likeness": "likeness",
    "learnt": "learnt",
    "variety": "variety",
    "copies": "copies",
    "sharpness": "sharp",
    "saturation": "colour",
}
"""Measure -> its column."""
PICKED = "▸"
_LEAST_NAME, _TITLE = 12, 8


def table(found: Comparison) -> list[tuple[str, ...]]:
    """Titles, then each run: the settings that differ, its verdict, else its status, and its figures at the same strength."""
    measured = [row.measures(found.strength) if found.strength is not None else {} for row in found.rows]
    known = [id for id in _TITLES if any(_figure(of, id) != "–" for of in measured)]
    keys = [key.rpartition(".")[2] for key in found.sweep.keys]
    rows = [("", "run", *keys, "verdict", *(_TITLES[id] for id in known))]
    for row, of in zip(found.rows, measured, strict=True):
        sign = PICKED if row.member.run == found.pick.run else ""
        values = [value_in_words(row.member.values[key]) for key in found.sweep.keys]
        rows.append((sign, row.member.run, *values, _stands(row), *(_figure(of, id) for id in known)))
    return rows


def _figure(measures: dict[str, dict[str, Any]], id: str) -> str:
    """A measure in a few letters: shares of copies, ratios to the base, else the value with its spread."""
    if id == "copies":
        shares = [
            share
            for name, of in measures.items()
            if name.startswith("copy_") and (share := of.get("copies", of.get("share_above"))) is not None
        ]
        return f"{max(shares):.0%}" if shares else "–"
    of = measures.get(id, {})
    value, ratio, spread = of.get("value"), of.get("ratio"), of.get("spread")
    if value is None:
        return "–"
    if ratio is not None:
        return f"{ratio:.2f}"
    return f"{value:.2f}" if spread is None else f"{value:.2f} ±{spread:.2f}"


def _stands(row: Row) -> str:
    """The verdict of its validation; before that, its status."""
    judged = row.kind and not (row.summary is not None and row.summary.active)
    return row.kind.replace("_", " ")[:16] if judged else row.status


def fitted(rows: Sequence[tuple[str, ...]], width: int) -> list[str]:
    """The table as lines of `width` cells: titles that are longer than their values, and the names of the runs, give way first, and then
    the last columns."""
    widths = [max(min(len(rows[0][at]), _TITLE), *(len(row[at]) for row in rows[1:])) for at in range(len(rows[0]))]
    over = sum(widths) + 2 * (len(widths) - 1) - width
    widths[1] = max(_LEAST_NAME, widths[1] - max(0, over))
    return [text.columns((row[0], text.cut_middle(row[1], widths[1]), *row[2:]), widths)[: max(1, width)] for row in rows]
