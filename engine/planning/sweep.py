"""The runs of a sweep: every combination of some settings' values over one recipe."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from loratui.engine.errors import UsageError
from loratui.engine.planning.recipe import Recipe
from loratui.engine.words import count
from loratui.presets import schema
from loratui.presets.schema import SchemaError

MOST_RUNS = 64
"""More would be a typing error, or days of a GPU."""
_SAME_IN_ALL = ("validation", "when_finished", "samples")
"""Sections that must not differ: the runs are compared by the same images."""
_SAME_KEYS = ("dataset.path", "schedule.continue_run", "schedule.continue_step", "output.planned_from", "output.name")


@dataclass(frozen=True, slots=True)
class Over:
    """A setting and the values that it takes."""

    key: str
    values: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Variant:
    """One run of a sweep."""

    values: Mapping[str, Any]
    """The value of each setting of the sweep."""
    recipe: Recipe

    @property
    def words(self) -> str:
        """`rank 16, learning_rate 1e-4`."""
        return values_in_words(self.values)


def values_in_words(values: Mapping[str, Any]) -> str:
    """The values of a run's settings in a few words, without their sections."""
    return ", ".join(f"{key.rpartition('.')[2]} {value_in_words(value)}" for key, value in values.items())


def value_in_words(value: Any) -> str:
    """A value of a setting, as people type it."""
    from loratui.engine.words import typed

    return ",".join(map(typed, value)) if isinstance(value, (tuple, list)) else typed(value)


def parse_over(text: str, origin: str = "") -> Over:
    """`rank=8,16,32` as a key and checked values; `|` separates values that have commas themselves. `origin` stands before what is
    wrong, such as `--over `. Raises `SchemaError`, `UsageError`."""
    key, equals, listed = text.partition("=")
    if not equals:
        raise SchemaError(f"{origin}{text}: expected KEY=VALUE,VALUE, such as rank=8,16,32")
    full = schema.resolve_key(key.strip(), origin)
    if full in _SAME_KEYS or full.partition(".")[0] in _SAME_IN_ALL:
        raise UsageError(f"{origin}{full}: the runs of a sweep are compared by the same images, so this is the same in all.")
    values = [schema.parse_value(full, part, origin)[1] for part in listed.split("|" if "|" in listed else ",")]
    distinct = tuple(dict.fromkeys(values))
    if len(distinct) < 2:
        raise UsageError(f"{origin}{text}: this is one value.", f"Give two or more, such as {origin}rank=8,16")
    return Over(full, distinct)


def variants(recipe: Recipe, overs: Sequence[Over]) -> tuple[Variant, ...]:
    """A run for each combination, the last setting changing fastest. Raises `UsageError` and `SchemaError`."""
    if not overs:
        raise UsageError("A sweep needs a setting with several values.", "For example rank=8,16,32")
    keys = [over.key for over in overs]
    if twice := next((key for key in keys if keys.count(key) > 1), None):
        raise UsageError(f"{twice} was given twice.", f"List all its values in one: {twice}=…")
    number = 1
    for over in overs:
        number *= len(over.values)
    if number > MOST_RUNS:
        raise UsageError(f"This sweep would be {count(number, 'run')}; loratui makes up to {MOST_RUNS}.", "Give fewer values.")
    combined = (dict(zip(keys, values, strict=True)) for values in itertools.product(*(over.values for over in overs)))
    return tuple(Variant(values, recipe.with_changes(values)) for values in combined)
