"""The 240 fixed colours of every terminal with 256: the number of each, and images drawn in them."""

from __future__ import annotations

from bisect import bisect
from functools import cache, lru_cache

_FIRST = 16
"""Lower numbers are the terminal's own colours, which look different everywhere."""
_LEVELS = (0, 95, 135, 175, 215, 255)

COLOURS: tuple[tuple[int, int, int], ...] = (
    *((r, g, b) for r in _LEVELS for g in _LEVELS for b in _LEVELS),
    *((level, level, level) for level in range(8, 239, 10)),
)
"""The cube and the greys, in the order of their numbers."""

NUMBERS = {colour: number for number, colour in enumerate(COLOURS, _FIRST)}
"""Colour -> its number. Rich, which compares hue and saturation, chooses a grey for some of them."""
_BYTES = tuple(bytes(colour) for colour in COLOURS)

_LIGHTNESS_WEIGHT = 1.5
"""How much more a step of lightness counts than one of colour. A pixel of a thumbnail is half a cell, about 0.2° of the
view: at that size a pattern of light and dark is visible, and one of colours almost mixes."""
_LIGHTNESS_KEPT, _COLOUR_KEPT = 0.4, 0.8
"""How much of a pixel's error its neighbours correct."""
_BOLDNESS = 1 / 3
"""How much of that a pixel itself follows; the rest is for later pixels. With 1 a grey sky gets blue dots."""
_SHARES = (7 / 16, 3 / 16, 5 / 16, 1 / 16)
"""Shares of an error: to the pixel ahead, and in the row below to those behind, below and ahead (Floyd and Steinberg)."""

_GRID = 100
"""Grid points a unit of OKLab; the nearest colour is found for the nearest grid point."""

_Lab = tuple[float, float, float]


def drawn(rgb: bytes, width: int) -> bytes:
    """An image of three bytes a pixel, in colours of the palette. Errors are diffused in OKLab, in alternating directions and
    damped, so surfaces keep their colour without a chequered pattern. About 4 µs a pixel (`benchmarks/dithering.py`)."""
    pixels = [_oklab(*rgb[at : at + 3]) for at in range(0, len(rgb), 3)]
    out = bytearray()
    owed: list[_Lab] = [(0.0, 0.0, 0.0)] * (width + 2)  # one pixel to spare at each end
    for y in range(len(rgb) // (3 * width)):
        chosen, owed = _row_drawn(pixels[y * width : (y + 1) * width], owed, 1 if y % 2 == 0 else -1)
        out += b"".join(map(_BYTES.__getitem__, chosen))
    return bytes(out)


def _row_drawn(pixels: list[_Lab], owed: list[_Lab], step: int) -> tuple[list[int], list[_Lab]]:
    """The colour indices of one row, forwards (`step` 1) or backwards (-1), and the errors that the next row corrects."""
    ahead, behind, below, beyond = _SHARES
    known = _in_oklab()
    width = len(pixels)
    chosen = [0] * width
    light_under, a_under, b_under = [0.0] * (width + 2), [0.0] * (width + 2), [0.0] * (width + 2)
    light_error = a_error = b_error = 0.0
    for x in range(width) if step == 1 else range(width - 1, -1, -1):
        light, a, b = pixels[x]
        from_above = owed[x + 1]
        light_error = light_error * ahead + from_above[0]
        a_error = a_error * ahead + from_above[1]
        b_error = b_error * ahead + from_above[2]
        chosen[x] = at = _nearest(
            round((light + light_error * _BOLDNESS) * _GRID),
            round((a + a_error * _BOLDNESS) * _GRID),
            round((b + b_error * _BOLDNESS) * _GRID),
        )
        got = known[at]
        light_error = (light + light_error - got[0]) * _LIGHTNESS_KEPT
        a_error = (a + a_error - got[1]) * _COLOUR_KEPT
        b_error = (b + b_error - got[2]) * _COLOUR_KEPT
        for to, share in ((x + 1 - step, behind), (x + 1, below), (x + 1 + step, beyond)):
            light_under[to] += light_error * share
            a_under[to] += a_error * share
            b_under[to] += b_error * share
    return chosen, list(zip(light_under, a_under, b_under, strict=True))


@lru_cache(1 << 16)
def _nearest(light: int, a: int, b: int) -> int:
    """The index of the colour nearest to a grid point of OKLab. Tries colours of the same lightness first."""
    ladder = _by_lightness()
    wanted_light, wanted_a, wanted_b = light / _GRID, a / _GRID, b / _GRID
    start = bisect(ladder, (wanted_light,))
    best, least = 0, 100.0
    for part in (range(start, len(ladder)), range(start - 1, -1, -1)):
        for at in part:
            there_light, there_a, there_b, index = ladder[at]
            distance = (_LIGHTNESS_WEIGHT * (there_light - wanted_light)) ** 2
            if distance >= least:
                break
            distance += (there_a - wanted_a) ** 2 + (there_b - wanted_b) ** 2
            if distance < least:
                best, least = index, distance
    return best


@cache
def _in_oklab() -> tuple[_Lab, ...]:
    return tuple(_oklab(*colour) for colour in COLOURS)


@cache
def _by_lightness() -> tuple[tuple[float, float, float, int], ...]:
    return tuple(sorted((*place, index) for index, place in enumerate(_in_oklab())))


@cache
def _linear() -> tuple[float, ...]:
    """Linear light of each sRGB level, 0 to 1."""
    return tuple(v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in (level / 255 for level in range(256)))


def _oklab(red: int, green: int, blue: int) -> _Lab:
    """An sRGB colour in OKLab, where equal distances look about equally large (B. Ottosson, 2020)."""
    light = _linear()
    r, g, b = light[red], light[green], light[blue]
    long = (0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b) ** (1 / 3)
    medium = (0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b) ** (1 / 3)
    short = (0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b) ** (1 / 3)
    return (
        0.2104542553 * long + 0.7936177850 * medium - 0.0040720468 * short,
        1.9779984951 * long - 2.4285922050 * medium + 0.4505937099 * short,
        0.0259040371 * long + 0.7827717662 * medium - 0.8086757660 * short,
    )
