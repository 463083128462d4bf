"""Losses of photos at fixed noise, as the job of a validation measured them with the base and its LoRA; no torch here."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

LEVELS = (0.125, 0.375, 0.625, 0.875)
"""Where each loss is measured, 0 to 1, where 1 is pure noise."""
Row = tuple[float, ...]
"""A loss for each level."""


class Pair(NamedTuple):
    """Two losses of the same photo, at the same noise."""

    own: Row
    other: Row


@dataclass(frozen=True)
class Losses:
    """What was measured; empty where the base was never loaded for it."""

    photos: Mapping[str, Pair] = field(default_factory=dict)
    """By photo: the base's loss, and that on the mirrored photo."""
    of_file: Mapping[str, Mapping[str, Pair]] = field(default_factory=dict)
    """The same with each LoRA file at `strength`."""
    strength: float = 1.0
    flipped: bool = False
    """Whether mirrored photos were trained on too."""
    captions: Mapping[str, Sequence[Pair]] = field(default_factory=dict)
    """By photo: the base's loss with its caption, and with that of another photo."""


def parse_row(value: Any) -> Row:
    """A row as it was kept. Raises `ValueError` and `TypeError` for anything else."""
    found = tuple(float(one) for one in value)
    if len(found) != len(LEVELS) or not all(0 <= one < 1e6 for one in found):
        raise ValueError("these are no losses")
    return found


def drop(before: Row, after: Row) -> float:
    """The share by which a loss is smaller, the mean over the levels: each counts alike, however large its loss is."""
    return statistics.fmean(1 - new / old for old, new in zip(before, after, strict=True) if old > 0)
