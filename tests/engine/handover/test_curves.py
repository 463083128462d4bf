"""Curves of a report: they lie within the drawing, in order, with round figures beside them."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loratui.engine.handover import curves
from loratui.engine.handover.curves import Chart, Line, held_out_chart, loss_chart, measure_chart, sample_charts
from loratui.engine.runs.events import Event
from loratui.engine.runs.held_out import HeldOut
from loratui.engine.runs.measured import Measured
from loratui.engine.runs.series import Series

FIGURES = st.floats(-1e9, 1e9).map(lambda value: round(value, 6))


@given(st.lists(st.tuples(FIGURES, FIGURES), min_size=1, max_size=50), st.none() | st.tuples(FIGURES, FIGURES))
def test_every_point_lies_within_the_drawing(points: list[tuple[float, float]], band: tuple[float, float] | None) -> None:
    drawn = Chart("x", "y", (Line("a", tuple(points)),), band).drawn
    placed = [tuple(map(float, pair.split(","))) for pair in drawn.lines[0][1].split()]
    assert len(placed) == len(points)
    for x, y in placed:
        assert curves.LEFT <= x <= curves.WIDTH - curves.RIGHT
        assert curves.TOP <= y <= curves.HEIGHT - curves.BOTTOM
    ups = [tick.at for tick in drawn.up]
    assert ups == sorted(ups, reverse=True)
    assert 2 <= len(ups) <= 8


def test_the_loss_has_few_points_however_many_steps_there_are() -> None:
    losses = Series()
    for step in range(1, 20_001):
        losses.add(step, 50.0 if step == 7000 else 0.1, 0.1)
    chart = loss_chart(losses)
    assert chart is not None
    raw, smoothed = chart.lines
    assert 100 < len(raw.points) <= curves.MOST_POINTS
    assert max(value for _, value in raw.points) == pytest.approx(0.18), "a spike does not flatten the rest"
    assert all(a[0] < b[0] for a, b in itertools.pairwise(smoothed.points))
    assert loss_chart(Series()) is None


def test_the_loss_on_held_out_images_has_the_base_beside_it() -> None:
    measured = [
        HeldOut(epoch, 90 * epoch, loss, 0.2, "held_out") for epoch, loss in ((0, 0.2), (1, 0.15), (2, None), (3, 0.17))
    ]
    chart = held_out_chart(measured)
    assert chart is not None
    assert (chart.title, chart.note) == ("Loss on held-out images", "Lowest after epoch 1")
    assert chart.lines[0].points == ((0, 0.2), (90, 0.15), (270, 0.17))
    assert [line.kind for line in chart.lines] == ["main", "base"]
    assert held_out_chart(measured[:1]) is None
    assert held_out_chart([replace(one, what="of a newer version") for one in measured]) is None


def test_what_was_measured_of_samples_has_a_chart_for_each_measure_that_is_known_twice() -> None:
    def told(step: int, likeness: float | None) -> Measured:
        rows = [
            {"id": "likeness", "value": likeness, "base": 0.1, "low": 0.5, "high": 0.8},
            {"id": "variety", "value": 0.3 if step == 90 else None},
        ]
        return Measured.of(
            Event("samples_measured", 1, 0.0, {"step": step, "epoch": step // 90, "images": 2, "measures": rows})
        )

    charts = sample_charts(
        [told(180, 0.7), told(90, 0.4), told(270, None)], {"likeness": "Likeness", "variety": "Variety", "new": "New"}
    )
    assert [chart.title for chart in charts] == ["Likeness, of the samples"]
    assert charts[0].lines[0].points == ((90, 0.4), (180, 0.7))
    assert charts[0].lines[1].points == ((90, 0.1), (180, 0.1))
    assert charts[0].band == (0.5, 0.8)


def test_a_curve_of_a_measure_has_the_base_and_the_range() -> None:
    points = [{"strength": at, "value": at / 2, "base": 0.1} for at in (1.5, 0.5, 1.0)] + [{"strength": 2.0, "value": None}, {}]
    chart = measure_chart({"title": "Likeness", "range": [0.2, 0.4], "curve": points}, "strengths")
    assert chart is not None
    assert chart.lines[0].points == ((0.5, 0.25), (1.0, 0.5), (1.5, 0.75))
    assert chart.lines[1].kind == "base"
    assert chart.drawn.band is not None
    assert [tick.words for tick in chart.drawn.across] == ["1.5", "0.5", "1"]
    assert measure_chart({"title": "x", "curve": points[:1]}, "strengths") is None
    assert measure_chart({"title": "x", "range": [None, 1], "curve": points}, "strengths").band is None  # type: ignore[union-attr]  # it has two figures
