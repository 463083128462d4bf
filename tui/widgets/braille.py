"""The arithmetic of the loss plot: losses as dots of braille characters. No screen, no colour."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from loratui.engine.runs.series import Bin, Series, merged

RAW, SMOOTHED, CURSOR, EPOCH, CHECKPOINT, SAMPLE, UNUSUAL, NEAREST, LIKENESS = range(1, 10)
"""What a character shows; of several in one cell, the later wins."""

_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""Unicode's bit for the dot in row 0 to 3 and column 0 to 1 of a braille character."""

_LEAST_HEIGHT = 0.2
"""The range is at least this share of its upper edge."""

Cell = tuple[str, int]
"""A character, and what it shows: 0, RAW or SMOOTHED."""

BLANK: Cell = (" ", 0)


@dataclass(frozen=True, slots=True)
class YRange:
    """The losses at the lower and upper edge of the plot, or their decimal logarithms."""

    low: float
    high: float


def columns(history: Series, count: int, steps: int) -> list[Bin]:
    """The history in `count` columns over optimizer steps 1 to `steps`, read-only; empty bins where there are no losses."""
    result = []
    width = history.steps_per_bin
    for column in range(count):
        first = column * steps // count
        last = max(first, (column + 1) * steps // count - 1)
        parts = history.bins[first // width : last // width + 1] if first < history.last_step else []
        result.append(parts[0] if len(parts) == 1 else merged(parts))
    return result


def y_range(shown: Sequence[Bin], before: YRange | None) -> YRange | None:
    """A range of round numbers around the bulk of the losses; None without losses.

    The outermost tenth of the single losses on either side may be outside, since they scatter widely, and the outermost
    thirtieth of the smoothed ones. `before` stays while it holds the bulk and is not twice too wide: each new range
    repaints the whole plot.
    """
    single = sorted(b.mean for b in shown if b.mean is not None)
    smoothed = sorted(b.smoothed for b in shown if b.smoothed is not None)
    if not single or not smoothed:
        return before
    margin, thin = len(single) // 10, len(smoothed) // 30
    low = min(single[margin], smoothed[thin])
    high = max(single[-1 - margin], smoothed[-1 - thin])
    if before is not None and before.low <= low and high <= before.high:
        if (high - low) * 2 >= before.high - before.low:
            return before
    elif before is not None and (high - low) * 2 >= before.high - before.low:
        low, high = min(low, before.low), max(high, before.high)
    if high - low < max(abs(high) * _LEAST_HEIGHT, 1e-6):
        # Magnified without limit, the first two losses and a flat line would look dramatic.
        low, high = low - abs(low) * _LEAST_HEIGHT / 2, max(high + abs(high) * _LEAST_HEIGHT / 2, low + 1e-6)
    step = round_step((high - low) / 4)
    # The small allowance keeps an edge that is already round from growing by a step.
    return YRange(math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step)


def logged(shown: Sequence[Bin]) -> list[Bin]:
    """The same columns with the decimal logarithms of their losses; a loss of 0 or less becomes a gap."""
    result = []
    for there in shown:
        mean, smoothed = there.mean, there.smoothed
        if mean is None or mean <= 0 or smoothed is None or smoothed <= 0:
            result.append(Bin())
        else:
            result.append(Bin(total=math.log10(mean), count=1, smoothed=math.log10(smoothed)))
    return result


def log_range(shown: Sequence[Bin], before: YRange | None) -> YRange | None:
    """As `y_range`, of logarithms: its edges are logarithms of 1, 2 or 5 × 10^n, at least one such step apart."""
    single = sorted(b.mean for b in shown if b.mean is not None)
    smoothed = [b.smoothed for b in shown if b.smoothed is not None]
    if not single or not smoothed:
        return before
    margin = len(single) // 20
    low, high = min(single[margin], min(smoothed)), max(single[-1 - margin], max(smoothed))
    if before is not None and before.low <= low and high <= before.high and (high - low) * 3 >= before.high - before.low:
        return before
    edges = _log_edges(low - 0.31, high + 0.31)
    below, above = [e for e in edges if e <= low + 1e-9], [e for e in edges if e >= high - 1e-9]
    bottom, top = below[-1], above[0]
    return YRange(bottom, top if top > bottom else edges[edges.index(bottom) + 1])


def _log_edges(low: float, high: float) -> list[float]:
    """Logarithms of the numbers 1, 2 and 5 × 10^n from a little below `low` to a little above `high`."""
    powers = range(math.floor(low) - 1, math.ceil(high) + 2)
    return [n + math.log10(m) for n in powers for m in (1.0, 2.0, 5.0)]


def round_step(least: float) -> float:
    """The smallest of 1, 2, 5 × 10^n that is at least `least`."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(m * power for m in (1.0, 2.0, 5.0, 10.0) if m * power >= least * (1 - 1e-9))


def draw(shown: Sequence[Bin], rows: int, limits: YRange) -> list[list[Cell]]:
    """Rows of cells, two columns of `shown` to a cell: the mean loss of each column as a dot, the smoothed loss as a line
    with gaps only where there are no losses. Losses outside the range are on its edge."""
    width = (len(shown) + 1) // 2
    bits = [[0] * width for _ in range(rows)]
    kinds = [[0] * width for _ in range(rows)]

    def dots(column: int, top: int, bottom: int, kind: int) -> None:
        for y in range(top, bottom + 1):
            row, cell = y // 4, column // 2
            if kind < kinds[row][cell]:
                continue
            if kind > kinds[row][cell]:
                # A character has one colour, so the line replaces the dots in its cell.
                bits[row][cell], kinds[row][cell] = 0, kind
            bits[row][cell] |= _DOTS[y % 4][column % 2]

    last: int | None = None
    for column, there in enumerate(shown):
        if there.mean is None or there.smoothed is None:
            last = None
            continue
        mean = dot_row(there.mean, rows, limits)
        dots(column, mean, mean, RAW)
        now = dot_row(there.smoothed, rows, limits)
        before = now if last is None else last
        dots(column, min(now, before), max(now, before), SMOOTHED)
        last = now
    return [[(chr(0x2800 | b), k) if b else BLANK for b, k in zip(*row, strict=True)] for row in zip(bits, kinds, strict=True)]


def overlay(cells: list[list[Cell]], points: Sequence[tuple[int, float]], steps: int, limits: YRange, kind: int) -> None:
    """Draws a line through points of optimizer steps and values, with a scale of its own, where the loss has no line."""
    rows, width = len(cells), len(cells[0]) if cells else 0
    bits: dict[tuple[int, int], int] = {}
    placed = [((step - 1) * 2 * width // max(1, steps), dot_row(value, rows, limits)) for step, value in points]
    for (left, start), (right, end) in zip(placed[:1] + placed, placed, strict=False):
        for x in range(left, right + 1):
            y = end if right == left else round(start + (end - start) * (x - left) / (right - left))
            at = (y // 4, min(width - 1, x // 2))
            bits[at] = bits.get(at, 0) | _DOTS[y % 4][x % 2]
    for (row, column), dots in bits.items():
        if cells[row][column][1] != SMOOTHED:
            cells[row][column] = (chr(0x2800 | dots), kind)


def place(step: int, width: int, steps: int) -> int:
    """The cell, of `width`, of optimizer step `step` of `steps`."""
    return min(width - 1, max(0, (max(1, step) - 1) * width // max(1, steps)))


_MARKS = {EPOCH: "╵", CHECKPOINT: "◆", SAMPLE: "▴", UNUSUAL: "!"}
_LEGEND = {UNUSUAL: "see the warnings", SAMPLE: "samples", CHECKPOINT: "checkpoint", EPOCH: "epoch"}


def marks(width: int, steps: int, at: Mapping[int, Iterable[int]]) -> list[Cell]:
    """The line below the plot. `at` has the steps of EPOCH, CHECKPOINT, SAMPLE and UNUSUAL, which wins over all; else the rarest does."""
    line = [BLANK] * width
    places = {kind: {place(step, width, steps) for step in at.get(kind, ())} for kind in _MARKS}
    if len(places[EPOCH]) * 3 > width:
        del places[EPOCH]  # a mark in every third cell marks nothing
    for kind in sorted(places, key=lambda kind: (kind == UNUSUAL, -len(places[kind]))):
        for x in places[kind]:
            line[x] = (_MARKS[kind], kind)
    return line


def legend(line: Iterable[Cell]) -> str:
    """The meaning of the marks in a line."""
    there = {kind for _, kind in line}
    return "  ".join(f"{_MARKS[kind]} {words}" for kind, words in _LEGEND.items() if kind in there)


def spark(values: Sequence[float | None], width: int, low: float, high: float) -> str:
    """`values` as columns of up to four dots in `width` characters, two to a character, the last at the right end."""
    shown = [None] * max(0, 2 * width - len(values)) + list(values)[-2 * width :]
    bits = [0] * width
    for column, value in enumerate(shown):
        if value is None:
            continue
        share = (value - low) / (high - low) if high > low else 0.5
        for y in range(4 - min(4, max(1, round(share * 4))), 4):
            bits[column // 2] |= _DOTS[y][column % 2]
    return "".join(chr(0x2800 | b) if b else " " for b in bits)


def dot_row(value: float, rows: int, limits: YRange) -> int:
    """The row of dots of a loss, from the top."""
    share = (limits.high - value) / (limits.high - limits.low)
    return min(rows * 4 - 1, max(0, round(share * (rows * 4 - 1))))


def ticks(rows: int, limits: YRange) -> dict[int, str]:
    """Row of characters -> its round loss; never in neighbouring rows."""
    step = round_step((limits.high - limits.low) / max(1, rows // 2))
    first, last = math.floor(limits.high / step + 1e-9), math.ceil(limits.low / step - 1e-9)
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    marked: dict[int, str] = {}
    for value in (n * step for n in range(first, last - 1, -1)):
        row = dot_row(value, rows, limits) // 4
        if not {row - 1, row} & marked.keys():
            marked[row] = f"{value:.{decimals}f}" if decimals <= 4 and value < 10_000 else f"{value:.1e}"
    return marked


def log_ticks(rows: int, limits: YRange) -> dict[int, str]:
    """As `ticks`, for limits that are logarithms."""
    marked: dict[int, str] = {}
    for edge in reversed(_log_edges(limits.low, limits.high)):
        row = dot_row(edge, rows, limits) // 4
        inside = limits.low - 1e-9 <= edge <= limits.high + 1e-9
        if inside and not {row - 1, row, row + 1} & marked.keys():
            marked[row] = f"{10**edge:.3g}"
    return marked


def changed_spans(before: Sequence[Cell], after: Sequence[Cell]) -> list[tuple[int, int]]:
    """The differences of two rows as (start, length); those up to three cells apart are one span."""
    spans: list[tuple[int, int]] = []
    for x in range(max(len(before), len(after))):
        if before[x : x + 1] == after[x : x + 1]:
            continue
        if spans and x - sum(spans[-1]) <= 3:
            spans[-1] = (spans[-1][0], x + 1 - spans[-1][0])
        else:
            spans.append((x, 1))
    return spans
