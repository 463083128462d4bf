"""Numbers and times as people read them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from loratui.tui import text


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0 s"), (59.4, "59 s"), (134, "2 min 14 s"), (3600, "1 h 00 min"), (100_000, "1 d 3 h"), (None, "–"), (math.nan, "–")],
)
def test_durations(seconds: float | None, shown: str) -> None:
    assert text.duration(seconds) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0 s"),
        (1, "5 s"),
        (31, "35 s"),
        (134, "2 min 10 s"),
        (599, "10 min 00 s"),
        (1830, "30 min"),
        (4000, "1 h 07 min"),
        (None, "–"),
    ],
)
def test_the_time_left_is_as_coarse_as_it_is_uncertain(seconds: float | None, shown: str) -> None:
    assert text.time_left(seconds) == shown


@pytest.mark.parametrize(("value", "shown"), [(1e-4, "1e-4"), (3.2e-5, "3.2e-5"), (0.0, "0"), (None, "–"), (1.0, "1e0")])
def test_learning_rates(value: float | None, shown: str) -> None:
    assert text.learning_rate(value) == shown


def test_rates_turn_over_at_one_a_second() -> None:
    assert text.rate(4.0) == "4.0 steps/s"
    assert text.rate(0.25) == "4.0 s/step"
    assert text.rate(None) == "–"


def test_counts_have_their_plural() -> None:
    assert text.count(1, "image") == "1 image"
    assert text.count(1800, "image-step") == "1 800 image-steps"


@given(st.text(max_size=60), st.integers(0, 60))
def test_a_shortened_path_is_never_wider_and_keeps_its_ends(path: str, width: int) -> None:
    short = text.shorten_path(path, width)
    assert len(short) <= width
    if 8 <= width < len(path):
        assert short[-2:] == path[-2:]


@given(st.lists(st.tuples(st.text(max_size=20), st.integers(-12, 12)), max_size=6))
def test_columns_have_their_widths(cells: list[tuple[str, int]]) -> None:
    line = text.columns([cell for cell, _ in cells], [width for _, width in cells])
    widths = [abs(width) for _, width in cells if width]
    assert cell_len(line) <= sum(widths) + 2 * max(0, len(widths) - 1)


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_any_number_can_be_shown(value: float) -> None:
    assert text.duration(value)
    assert text.time_left(value)
    assert text.clock(value)
    assert text.loss(value)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "just now"), (299, "just now"), (300, "5 min ago"), (671, "10 min ago"), (3600, "1 h ago"), (float("nan"), "–")],
)
def test_how_long_ago_is_coarse_so_that_a_list_at_rest_sends_nothing(seconds: float, shown: str) -> None:
    assert text.ago(seconds) == shown


def test_money_has_the_same_decimals_on_both_sides() -> None:
    assert text.money_range(0.64, 0.9) == "0.64 to 0.90"
    assert text.money_range(2.5, 2.5) == "2.50"


def test_a_run_has_failed_and_is_done() -> None:
    assert [text.stands(status) for status in ("done", "failed", "interrupted")] == ["is done", "has failed", "was interrupted"]


ANY_NUMBER = st.one_of(st.floats(), st.integers(), st.integers(-(10**6000), 10**6000), st.sampled_from([10**400, -(10**5000)]))


@pytest.mark.parametrize(
    "words",
    [text.number, text.duration, text.time_left, text.ago, text.clock, text.loss, text.rate, text.learning_rate, text.size],
)
@given(value=ANY_NUMBER)
def test_any_number_becomes_a_few_characters(words: Callable[[Any], str], value: float) -> None:
    assert 0 < len(words(value)) <= 32
