"""docs/dataset.md lists the captioners as their table has them."""

from __future__ import annotations

from pathlib import Path

from loratui.engine.captioning.captioners import CAPTIONERS
from loratui.engine.captioning.memory import needs
from loratui.engine.words import size

PAGE = Path(__file__).parents[3] / "docs" / "dataset.md"


def test_the_page_has_size_licence_and_memory_of_each_captioner() -> None:
    rows = {line.split("`")[1]: line for line in PAGE.read_text().splitlines() if line.startswith("| `")}
    for row in CAPTIONERS.values():
        if row.repo:
            cells = [cell.strip() for cell in rows[row.id].strip("|").split("|")]
            assert cells[2] == size(row.bytes)
            assert cells[3] == row.licence + (f": {row.terms}" if row.terms else "")
            assert cells[4] == (
                "–" if row.writes == "tags" else needs(row).removeprefix("GPU memory: ").removesuffix(" or the CPU")
            )
