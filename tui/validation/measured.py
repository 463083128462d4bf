"""What was measured for a part of the validation, as lines of the screens and of plain text. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content

from loratui.engine.proof.told import Row, figures, sentence
from loratui.tui.widgets.line import joined, plain

MOST_LINES = 4
"""On the screen of a part; the page of its measures has them all."""


def short(rows: Sequence[Row]) -> Content:
    """The first lines, what is known before what is not."""
    ordered = sorted(rows, key=lambda row: row["value"] is None)
    return Content("\n").join([plain(sentence(row), "$muted" if row["value"] is None else "") for row in ordered[:MOST_LINES]])


def page(rows: Sequence[Row]) -> Content:
    """Every measure of a part: its line, its figures, what it means, and its limits."""
    return Content("\n\n").join([_whole(row) for row in rows])


def _whole(row: Row) -> Content:
    lines = [plain(sentence(row), "bold")]
    lines += [plain(figures) for figures in figures(row)]
    if row["value"] is not None and row["means"] and row["unknown"]:
        lines.append(plain(f"Not known: {row['unknown']}"))
    lines.append(plain(row["about"], "$muted"))
    lines.append(joined(plain("Limits  ", "$accent"), plain(row["limits"], "$muted")))
    return Content("\n").join(lines)
