"""Resolutions as other trainers write them."""

from __future__ import annotations

import math
import re
from typing import Any

from loratui.engine.importing.reading import Reading, as_number


def sides(value: Any) -> list[float]:
    """The numbers of `1024`, `"1024,768"`, `"512x768"` or `[1024, 768]`; empty where there are none."""
    if isinstance(value, str):
        if not re.fullmatch(r"[\s\d.,xX×()\[\]]{1,64}", value):
            return []
        value = [part for part in re.split(r"[^\d.]+", value) if part]
    numbers = [as_number(part) for part in (value if isinstance(value, list) else [value])]
    return [n for n in numbers if n is not None and n > 0] if None not in numbers else []


def resolution(reading: Reading, key: str, default: int) -> None:
    """Says which side the square of a training image's area has."""
    if not reading.given(key):
        reading.assumed(key, default, {"dataset.resolution": default})
        return
    found = sides(reading.values[key])
    if len(found) not in (1, 2):
        reading.not_understood(key, "This is no size in pixels.")
        return
    side = round(math.sqrt(found[0] * found[-1]))
    if len(found) == 2 and found[0] != found[1]:
        step = max(64, round(side / 64) * 64)
        why = f"loratui counts the area of a square: {step}² is near {found[0]:g} × {found[1]:g}."
        reading.changed(key, {"dataset.resolution": step}, why)
    else:
        reading.taken(key, {"dataset.resolution": side})
