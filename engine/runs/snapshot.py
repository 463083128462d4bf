"""Objects as JSON and back: what `state.json` holds of the reducer."""

from __future__ import annotations

import dataclasses
import math
from collections import deque
from collections.abc import Mapping
from typing import Any

from loratui.engine.untrusted import finite

LARGEST = 1e15
"""Times and sums beyond that are no times and no sums."""


def dumped(value: Any) -> Any:
    """A dataclass with all that is in it as JSON knows it; None for numbers that are not finite."""
    if dataclasses.is_dataclass(value):
        return {f.name: dumped(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {key: dumped(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple, deque)):
        return [dumped(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def filled(target: Any, table: Mapping[str, Any]) -> None:
    """Puts into the fields of a new dataclass what `table` holds of their kind: truth values, numbers, texts, queues of
    numbers, and dataclasses of these. The kind of a field is that of its value in `target`; None stands for a number."""
    for f in dataclasses.fields(target):
        now, given = getattr(target, f.name), table.get(f.name)
        if dataclasses.is_dataclass(now):
            if isinstance(given, dict):
                filled(now, given)
        elif isinstance(now, deque):
            numbers = [finite(number) for number in given] if isinstance(given, list) else []
            now.extend(number for number in numbers if number is not None and abs(number) < LARGEST)
        elif given is not None and _fits(given, now):
            setattr(target, f.name, given)


def _fits(value: Any, now: Any) -> bool:
    if isinstance(now, bool) or isinstance(value, bool):
        return isinstance(now, bool) and isinstance(value, bool)
    if now is None or isinstance(now, float):
        number = finite(value)
        return number is not None and abs(number) < LARGEST
    return isinstance(value, type(now)) and (not isinstance(value, int) or abs(value) < 1 << 53)
