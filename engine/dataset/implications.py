"""Which tags imply which others: the table that comes with the program, and a person's own file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from loratui.presets.toml_text import parse_toml, read_text

Implications = Mapping[str, tuple[str, ...]]
"""Tag -> the tags that it implies, all in lower case with spaces."""

FILE = "tag-implications.toml"
"""A person's own, in loratui's home: `"corgi" = ["dog"]`; with an empty list a tag implies nothing."""
_MOST_STEPS = 8
"""From tag to tag: a german shepherd is a dog, a dog is an animal."""


def _read(path: Path) -> dict[str, tuple[str, ...]]:
    table: dict[str, tuple[str, ...]] = {}
    for tag, implied in parse_toml(read_text(path)).items():
        if not isinstance(implied, list) or not all(isinstance(other, str) for other in implied):
            raise ValueError(f'"{tag}" has no list of tags, such as ["dog"]')
        table[same_tag(tag)] = tuple(map(same_tag, implied))
    return table


def same_tag(tag: str) -> str:
    """What tags that mean the same have in common: in lower case, with spaces instead of underscores."""
    return " ".join(tag.lower().replace("_", " ").split())


def _whole(table: Mapping[str, tuple[str, ...]]) -> Implications:
    """The table with what is implied by what is implied."""
    found: dict[str, tuple[str, ...]] = {}
    for tag, implied in table.items():
        every = dict.fromkeys(implied)
        for _ in range(_MOST_STEPS):
            every |= dict.fromkeys(further for other in list(every) for further in table.get(other, ()))
        every.pop(tag, None)
        found[tag] = tuple(every)
    return found


_OURS = _read(Path(__file__).with_name("tag_implications.toml"))
SHIPPED = _whole(_OURS)


def implications(home: Path) -> tuple[Implications, str]:
    """The table with the person's own lines, and what is wrong with their file; empty where it can be used or is not there."""
    path = home / FILE
    try:
        return _whole({**_OURS, **_read(path)}), ""
    except FileNotFoundError:
        return SHIPPED, ""
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        return SHIPPED, f"{path} is not used: {why}."
