"""Curves of a report as points within a drawing of fixed size; the page's template makes SVG of them. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from loratui.engine.runs.held_out import IN_WORDS, HeldOut, lowest
from loratui.engine.runs.measured import Measured
from loratui.engine.runs.series import Series, merged
from loratui.engine.untrusted import finite

WIDTH, HEIGHT = 640, 220
LEFT, RIGHT, TOP, BOTTOM = 56, 12, 10, 28
MOST_POINTS = 320
"""Of a curve; neighbours merge beyond that."""
_TICKS = 4

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Line:
    """One curve of a chart."""

    name: str
    points: tuple[Point, ...]
    kind: str = "main"
    """`main`, `faint` or `base`: how it is drawn."""


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark on an axis: where it is in the drawing, and its words."""

    at: float
    words: str


@dataclass(frozen=True)
class Chart:
    """Curves over one axis, as figures."""

    title: str
    along: str
    """What the x axis is."""
    lines: tuple[Line, ...]
    band: tuple[float, float] | None = None
    """A range that is natural."""
    places: Mapping[float, str] = field(default_factory=dict)
    """Words of places on the x axis; empty: figures."""
    note: str = ""

    @property
    def drawn(self) -> Drawn:
        """The same within the drawing."""
        return _drawn(self)


@dataclass(frozen=True, slots=True)
class Drawn:
    """A chart within the drawing: units of the SVG."""

    lines: tuple[tuple[Line, str, tuple[Point, ...]], ...]
    """Each line with its polyline, and its points where they are few enough to be marked."""
    across: tuple[Tick, ...]
    up: tuple[Tick, ...]
    band: tuple[float, float] | None
    """Top and height."""


def loss_chart(losses: Series) -> Chart | None:
    """The loss of the steps and as it is shown, smoothed; None before the first step."""
    group = max(1, -(-len(losses.bins) // MOST_POINTS))
    raw, smoothed = [], []
    for at in range(0, len(losses.bins), group):
        part = merged(losses.bins[at : at + group])
        step = (at + min(group, len(losses.bins) - at)) * losses.steps_per_bin
        if part.mean is not None:
            raw.append((float(step), part.mean))
        if part.smoothed is not None:
            smoothed.append((float(step), part.smoothed))
    if not smoothed:
        return None
    highest = max(value for _, value in smoothed) * 1.8
    within = tuple((step, min(value, highest)) for step, value in raw)
    return Chart("Loss", "optimizer step", (Line("mean of the steps", within, "faint"), Line("smoothed", tuple(smoothed))))


def held_out_chart(measured: Sequence[HeldOut]) -> Chart | None:
    """The loss on images that are not trained on, with the LoRA and without; None with fewer than two epochs."""
    known = [one for one in measured if one.loss is not None and one.what in IN_WORDS]
    if len(known) < 2:
        return None
    lora = tuple((float(one.step), one.loss) for one in known if one.loss is not None)
    base = tuple((float(one.step), one.base_loss) for one in known if one.base_loss is not None)
    lines = (Line("with the LoRA", lora), *((Line("the base", base, "base"),) if base else ()))
    best = lowest(known)
    note = f"Lowest after epoch {best.epoch}" if best is not None and best.epoch else ""
    return Chart(f"Loss on {IN_WORDS[known[-1].what]}", "optimizer step", lines, note=note)


def sample_charts(measured: Sequence[Measured], titles: Mapping[str, str]) -> list[Chart]:
    """What was measured of the samples while the run trained, a chart for each of `titles` (id of a measure -> its title) that is known twice."""
    charts = []
    for id, title in titles.items():
        known = [(one.step, found) for one in sorted(measured, key=lambda one: one.step) if (found := one.get(id)) is not None]
        lora = tuple((float(step), found.value) for step, found in known if found.value is not None)
        if len(lora) < 2:
            continue
        base = tuple((float(step), found.base) for step, found in known if found.base is not None)
        last = known[-1][1]
        band = (last.low, last.high) if last.low is not None and last.high is not None else None
        lines = (Line("LoRA", lora), *((Line("base", base, "base"),) if base else ()))
        charts.append(Chart(f"{title}, of the samples", "optimizer step", lines, band))
    return charts


def measure_chart(row: Mapping[str, Any], along: str) -> Chart | None:
    """A measure over the strengths or the files of the epochs; None with fewer than two figures."""
    points, base = [], []
    for point in tables(row.get("curve")):
        place = finite(point.get("strength") if along == "strengths" else point.get("step"))
        value = finite(point.get("value"))
        if place is None or value is None:
            continue
        points.append((place, value))
        if (of_base := finite(point.get("base"))) is not None:
            base.append((place, of_base))
    if len(points) < 2:
        return None
    lines = [Line("LoRA", tuple(sorted(points)))]
    if base:
        lines.append(Line("base", tuple(sorted(base)), "base"))
    bounds = row.get("range")
    band = None
    if isinstance(bounds, list) and len(bounds) == 2:
        low, high = finite(bounds[0]), finite(bounds[1])
        band = (low, high) if low is not None and high is not None else None
    places = {place: f"{place:g}" for place, _ in points} if len(points) <= 10 else {}
    axis = "strength" if along == "strengths" else "optimizer step of the file"
    return Chart(str(row["title"]), axis, tuple(lines), band, places)


def tables(value: Any) -> list[Mapping[str, Any]]:
    """The objects in a list that comes from a file."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _drawn(chart: Chart) -> Drawn:
    every = [point for line in chart.lines for point in line.points]
    low_x, high_x = min(x for x, _ in every), max(x for x, _ in every)
    heights = [y for _, y in every] + list(chart.band or ())
    up = _ticks(min(heights), max(heights))
    low_y, high_y = min(min(heights), up[0]), max(max(heights), up[-1])

    def across(x: float) -> float:
        return round(LEFT + (WIDTH - LEFT - RIGHT) * (x - low_x) / ((high_x - low_x) or 1), 1)

    def down(y: float) -> float:
        return round(HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (y - low_y) / ((high_y - low_y) or 1), 1)

    lines = []
    for line in chart.lines:
        placed = tuple((across(x), down(y)) for x, y in line.points)
        lines.append((line, " ".join(f"{x},{y}" for x, y in placed), placed if len(placed) <= 30 else ()))
    places = chart.places or {tick: f"{tick:g}" for tick in _ticks(low_x, high_x) if low_x <= tick <= high_x}
    band = None
    if chart.band is not None:
        top = down(max(chart.band))
        band = (top, max(1.0, round(down(min(chart.band)) - top, 1)))
    return Drawn(
        tuple(lines),
        tuple(Tick(across(x), words) for x, words in places.items()),
        tuple(Tick(down(y), f"{y:.4g}") for y in up),
        band,
    )


def _ticks(low: float, high: float) -> list[float]:
    """Round figures that span a range."""
    span = (high - low) or abs(high) or 1.0
    rough = span / _TICKS
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * size for factor in (1, 2, 2.5, 5, 10) if factor * size >= rough)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(at * step, 12) for at in range(first, max(last, first + 1) + 1)]
