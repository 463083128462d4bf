"""What follows from the table of keys: the keys of a screen, Textual's bindings, and other keys that a person wants."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Protocol

from textual.binding import Binding

from loratui.tui.bindings import KEYS, Key, written


class HasKeys(Protocol):
    """A screen with keys of the table."""

    @property
    def keys_here(self) -> tuple[Key, ...]:
        """Its keys, with the person's own."""

    def holds(self, key: Key) -> bool:
        """Whether a key does something here and now."""


def keys_of(context: str, table: Iterable[Key] = KEYS) -> tuple[Key, ...]:
    """The keys that work on a screen, in the order in which they are shown."""
    return tuple(key for key in table if context in key.contexts)


def action_name(key: Key) -> str:
    """The action without its target and its parameters, as `check_action` is asked for it."""
    return key.action.rpartition(".")[2].partition("(")[0]


def bindings_for(context: str) -> list[Binding]:
    """Textual's bindings for a screen."""
    return [
        Binding(
            key.keys,
            key.action,
            key.label,
            show=bool(key.label),
            key_display=key.shown,
            priority=key.first,
            tooltip=key.help,
            id=key.id,
        )
        for key in keys_of(context)
    ]


def bindings_anywhere() -> list[Binding]:
    """Textual's bindings for the app itself, which come before those of whatever has the focus."""
    return [Binding(key.keys, key.action, show=False, priority=True, id=key.id) for key in KEYS if key.anywhere]


def remapped(wanted: Mapping[str, str], table: tuple[Key, ...] = KEYS) -> tuple[tuple[Key, ...], dict[str, str]]:
    """The table with other keys for some ids, and id -> what is wrong for each that could not be taken.

    `wanted` maps an id to Textual's names of keys, separated by commas. A key that another action of the same screen
    has keeps its old one; ids that are unknown are the caller's to refuse.
    """
    new = tuple(_with_keys(key, wanted[key.id]) if key.id in wanted else key for key in table)
    typed = {key.id: name for key in new if key.anywhere for name in key.keys.split(",") if len(written(name)) == 1}
    problems = {id: f"{written(name)} is typed in fields, where {id} works too" for id, name in typed.items()}
    new = tuple(old if key.id in typed else key for key, old in zip(new, table, strict=True))
    while clash := _first_clash(new, wanted.keys() - problems.keys()):
        ours, other, name = clash
        problems[ours.id] = f"{written(name)} is the key of {other.id} ({other.help}) on the same screen"
        back = next(key for key in table if key.id == ours.id)
        new = tuple(back if key.id == ours.id else key for key in new)
    return new, problems


def _with_keys(key: Key, names: str) -> Key:
    return dataclasses.replace(key, keys=names, sign="")


def _first_clash(table: tuple[Key, ...], ids: Iterable[str]) -> tuple[Key, Key, str] | None:
    """A key whose id is in `ids`, the key of the same screen that it takes, and the name of what both want."""
    for ours in (key for key in table if key.id in set(ids)):
        for other in table:
            both = set(ours.keys.split(",")) & set(other.keys.split(","))
            if other.id != ours.id and both and set(ours.contexts) & set(other.contexts):
                return ours, other, min(both)
    return None
