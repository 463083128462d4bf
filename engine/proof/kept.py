"""What was measured, as `validation/measures.json` keeps it. Light: the app reads it too."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from loratui.engine import sealed
from loratui.engine.limits import LIST_FILE_BYTES
from loratui.engine.untrusted import finite

NEARLY_THE_SAME = 0.95
"""Similarity of layouts from which two images are nearly the same."""
FORMAT = 1
"""Of `validation/measures.json`."""
_TEXTS = ("id", "title", "figure", "means", "unknown", "about", "limits", "unit")


def read_parts(path: Path) -> list[dict[str, Any]]:
    """The parts in a `measures.json`, checked as far as screens and commands rely on them; none if it is unusable."""
    try:
        return parts_of(sealed.read(path, path.parent.parent, LIST_FILE_BYTES))
    except OSError:
        return []


def parts_of(table: Mapping[str, Any]) -> list[dict[str, Any]]:
    """As `read_parts`, of a table that was read."""
    try:
        parts = table["parts"] if table["format"] == FORMAT else []
        whole = isinstance(parts, list) and all(_is_part(part) for part in parts)
    except (TypeError, KeyError):
        return []
    return parts if whole else []


def read_judged(path: Path) -> dict[str, Any]:
    """`verdict`, `best` and `advice` of a `measures.json`, as they were written; null and empty where nothing was judged."""
    try:
        table = sealed.read(path, path.parent.parent, LIST_FILE_BYTES)
    except OSError:
        table = {}
    return {"verdict": table.get("verdict"), "best": table.get("best"), "advice": table.get("advice") or []}


def _is_part(part: Any) -> bool:
    rows, images = part["measures"], part["images"]
    return (
        isinstance(part["id"], str)
        and isinstance(rows, list)
        and all(isinstance(row[name], str) for row in rows for name in _TEXTS)
        and all(row["value"] is None or finite(row["value"]) is not None for row in rows)
        and isinstance(images, list)
        and all(isinstance(image["path"], str) for image in images)
    )
