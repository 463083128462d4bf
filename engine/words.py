"""Numbers and counts as people read them, alike in every message, line and screen."""

from __future__ import annotations

import math

LARGEST = 10**15
"""Numbers from here on are written as a power of ten."""


def number(value: int) -> str:
    """A whole number in groups of three: 1 800."""
    return f"{value:,}".replace(",", " ") if -LARGEST < value < LARGEST else power(value)


def count(value: int, noun: str) -> str:
    """`1 image`, `1 800 images`."""
    return f"{number(value)} {noun}{'' if value == 1 else 's'}"


def are(value: int, noun: str) -> str:
    """`1 image is`, `18 images are`."""
    return f"{count(value, noun)} {'is' if value == 1 else 'are'}"


def times(value: float) -> str:
    """`once`, `0.4 times`, `156 times`, `5 400 times`."""
    amount = mean(value)
    return "once" if amount == "1" else " ".join((amount, "times"))


def mean(value: float) -> str:
    """A mean of whole numbers in three digits, or in full from a thousand on: 0.4, 66.7, 5 400."""
    return number(round(value)) if value >= 999.5 else f"{value:.3g}"


def power(value: float) -> str:
    """A number as one digit or two and a power of ten; `–` for what is no finite number."""
    try:
        known = float(value)
    except OverflowError:
        return "–"
    if not math.isfinite(known):
        return "–"
    mantissa, _, exponent = f"{known:.1e}".partition("e")
    return f"{mantissa.removesuffix('.0')}e{int(exponent)}"
