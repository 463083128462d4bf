"""The tables of other trainers' settings that need no thought: the same here, without effect, or without a match."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, get_origin

from loratui.engine.importing.reading import Reading, is_off
from loratui.presets.schema import KEYS
from loratui.presets.toml_text import parse_toml, read_text


@cache
def table(name: str) -> Mapping[str, Any]:
    """The table of a tool: `take`, `nothing`, `off`, `off_at` and `prefixes`."""
    return parse_toml(read_text(Path(__file__).parent / "tables" / f"{name}.toml"))


def apply(reading: Reading, name: str) -> None:
    """Says what the table says of every value of which nothing was said yet."""
    rows = table(name)
    for key, row in rows.get("take", {}).items():
        ours, default = row if isinstance(row, list) else (row, None)
        _take(reading, key, ours, default)
    for why, keys in rows.get("nothing", {}).items():
        for key in keys:
            reading.nothing(key, why)
    off_at: Mapping[str, Any] = rows.get("off_at", {})
    for what, keys in rows.get("off", {}).items():
        for key in keys:
            value = reading.values.get(key)
            if is_off(value) or value in off_at.get(key, ()):
                reading.nothing(key, "It is off, or has no effect at this value.")
            else:
                reading.changed(key, {}, f"loratui has no {what}; the recipe goes without it.")
    for prefix, why in rows.get("prefixes", {}).items():
        for key in [key for key in reading.values if key.startswith(prefix) and key not in reading.said]:
            reading.nothing(key, why)


def _take(reading: Reading, key: str, ours: str, default: Any) -> None:
    if key in reading.said:
        return
    if not reading.given(key):
        if default is not None:
            reading.assumed(key, default, {ours: default})
        reading.known.add(key)
        return
    kind = KEYS[ours].type
    value: Any
    if kind is bool:
        value = reading.yes(key)
    elif kind is int:
        value = reading.whole(key)
    elif kind is float:
        value = reading.number(key)
    else:
        assert get_origin(kind) is not tuple
        value = reading.text(key)
    reading.taken(key, {ours: value})  # nothing, if it was no such value: that was said before
