"""Numbers and counts as people read them, alike in every message, line and screen."""

from __future__ import annotations

import math
import string
from collections.abc import Callable, Mapping, Sequence
from typing import Any

LARGEST = 10**15
"""Numbers from here on are written as a power of ten."""
GIB = 1 << 30
"""Memory is told in these, files in powers of ten, as drivers and download pages do."""


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


def size(count_bytes: float) -> str:
    """Bytes of a file or a disk: `812 B`, `3.4 MB`; `–` for what is no such number."""
    if not abs(count_bytes) < LARGEST * 1000:
        return "–"
    amount = float(count_bytes)
    for unit in ("B", "kB", "MB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} GB"


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


def short(value: float) -> str:
    """A rate or alpha as people write it: `1e-4`, `2.5e-5`, `0.05`, `16`."""
    if value == 0 or abs(value) >= 0.01:
        return f"{value:.3g}"
    mantissa, _, exponent = f"{value:.2e}".partition("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"


def typed(value: object) -> str:
    """A setting as people type it: `true`, `0.999`, `1e-4`, `cosine`."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}" if value == 0 or abs(value) >= 0.01 else short(value)
    return str(value)


def listed(names: Sequence[str], most: int = 5) -> str:
    """The first names, and an ellipsis where there are more."""
    return ", ".join(names[:most]) + (" …" if len(names) > most else "")


def joined(names: Sequence[str], last: str) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return f" {last} ".join((", ".join(names[:-1]), names[-1])) if len(names) > 1 else "".join(names)


def each(names: Sequence[str], noun: str) -> str:
    """The one name, or `3 files (a, b, c): each`; a verb follows."""
    return names[0] if len(names) == 1 else f"{count(len(names), noun)} ({listed(names)}): each"


# How a value is put into a template: `{files:are image}` is `3 images are`. The word behind is the noun, or how many are listed.
_PUT: Mapping[str, Callable[[Any, str], str]] = {
    "number": lambda value, _: number(_length(value)),
    "count": lambda value, noun: count(_length(value), noun),
    "are": lambda value, noun: are(_length(value), noun),
    "has": lambda value, _: "has" if _length(value) == 1 else "have",
    "each": each,
    "list": lambda value, most: listed(value, int(most or 5)),
    "or": lambda value, _: joined(value, "or"),
    "and": lambda value, _: joined(value, "and"),
    "times": lambda value, _: times(value),
    "rate": lambda value, _: short(value),
}


class _Filler(string.Formatter):
    def get_field(self, field_name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Any, str]:
        del args
        return kwargs[field_name], field_name  # a dot in it belongs to a setting's name

    def format_field(self, value: Any, format_spec: str) -> str:
        how, _, more = format_spec.partition(" ")
        if how in _PUT:
            return _PUT[how](value, more)
        if isinstance(value, Mapping):
            return " and ".join(f"{key}={typed(one)}" for key, one in value.items())
        return format(value, format_spec) if format_spec else typed(value)


def filled(template: str, values: Mapping[str, Any]) -> str:
    """A template with its places filled: `{files:are image}`, `{rate:rate}`, `{settings}`, or any format of Python's."""
    return _Filler().vformat(template, (), values)


def _length(value: Any) -> int:
    return value if isinstance(value, int) else len(value)


def both_ends(words: str, most: int = 240, end: int = 60) -> str:
    """A long text without its middle, where most of it would push everything else off the screen."""
    return words if len(words) <= most else f"{words[: most - end]} … {words[-end:]}"
