"""The time left: right on the whole, quiet in between, and honest about when it is not sure."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from loratui.engine.runs.eta import EtaEstimator, TimeLeft

STEPS, PER_EPOCH, STEP_S, SAMPLES_S = 900, 90, 0.5, 12.0


def _course(pace: EtaEstimator, *, slow_from: int = STEPS + 1) -> Iterator[tuple[int, float, TimeLeft]]:
    """A run whose steps jitter and which makes samples after each epoch: step, true seconds left, estimate."""
    draw = random.Random(3)
    now = 1_000.0
    ends: list[float] = []
    seen: list[tuple[int, float, TimeLeft]] = []
    for step in range(1, STEPS + 1):
        step_s = STEP_S * math.exp(draw.gauss(0, 0.3)) * (2 if step >= slow_from else 1)
        now += step_s
        pace.tick(now)
        pace.step(step, step_s, STEPS - step)
        left = pace.time_left()
        assert left is not None
        seen.append((step, now, left))
        if step % PER_EPOCH == 0:
            pace.tick(now)
            pace.end_epoch()
            for _ in range(6):
                now += SAMPLES_S / 6
                pace.tick(now)
    ends.append(now)
    yield from ((step, ends[0] - at, left) for step, at, left in seen)


def test_after_the_first_epoch_it_is_right_and_moves_little_from_step_to_step() -> None:
    before = None
    for step, true_s, left in _course(EtaEstimator()):
        if step > PER_EPOCH * 2:
            assert left.seconds == pytest.approx(true_s, rel=0.12, abs=15)
            assert left.sure
            assert before is not None
            assert abs(before - left.seconds) < 3 * STEP_S + SAMPLES_S * 1.2
        before = left.seconds


def test_when_the_run_is_to_end_sooner_or_later_after_all_the_time_left_changes_with_it() -> None:
    pace, now = EtaEstimator(), 0.0
    shown = {}
    for step in range(1, 400):
        now += STEP_S
        goal = 360 if 200 <= step < 210 else STEPS
        pace.tick(now)
        pace.step(step, STEP_S, goal - step)
        shown[step] = pace.time_left()
    for step, goal in ((199, STEPS), (200, 360), (209, 360), (210, STEPS), (399, STEPS)):
        left = shown[step]
        assert left is not None
        assert left.sure
        assert left.seconds == pytest.approx((goal - step) * STEP_S, rel=0.02)


def test_an_end_that_was_still_being_corrected_leaves_no_error_when_another_one_is_wanted() -> None:
    pace, now, left = EtaEstimator(), 1_000.0, None
    for step in range(1, 61):  # ever slower: the end far away is predicted too early by much more than what is left then
        now += 0.2 if step < 30 else 1.0
        pace.tick(now)
        pace.step(step, 0.2 if step < 30 else 1.0, (90 if step == 60 else STEPS) - step)
    left = pace.time_left()
    assert left is not None
    assert 15 < left.seconds <= 30  # 30 steps, which took 0.6 s in the mean and 1 s at last


def test_it_is_not_sure_at_first() -> None:
    estimates = [left for step, _, left in _course(EtaEstimator()) if step < 10]
    assert not any(left.sure for left in estimates)


def test_it_follows_when_the_machine_becomes_slower_and_says_that_it_is_unsure_meanwhile() -> None:
    course = list(_course(EtaEstimator(), slow_from=400))
    _, true_s, left = course[620]
    assert left.seconds == pytest.approx(true_s, rel=0.2)
    assert any(not left.sure for step, _, left in course if 400 <= step < 500)


def test_one_suspended_step_hardly_counts() -> None:
    pace = EtaEstimator()
    now = 0.0
    for step in range(1, 201):
        step_s = 3600.0 if step == 150 else 0.5
        now += step_s
        pace.tick(now)
        pace.step(step, step_s, 900 - step)
    left = pace.time_left()
    assert left is not None
    assert left.seconds == pytest.approx(350, rel=0.15)
    assert pace.worked_s < 200 * 0.5 + 11


def test_at_the_end_nothing_is_left() -> None:
    *_, (_, _, left) = _course(EtaEstimator())
    assert left.seconds == 0.0


@example([(0.0, 9e307, 0), (0.0, 9e307, 0), (0.0, 1.0, 0)])
@given(
    st.lists(
        st.tuples(
            st.floats(allow_nan=True, allow_infinity=True) | st.floats(0, 100),
            st.none() | st.floats(allow_nan=True),
            st.integers(-10, 2000),
        ),
        max_size=60,
    )
)
def test_whatever_the_clock_says_the_estimate_is_a_number(course: list[tuple[float, float | None, int]]) -> None:
    pace = EtaEstimator()
    for step, (ts, step_s, left) in enumerate(course, 1):
        if math.isfinite(ts):
            pace.tick(ts)
        pace.step(step, step_s, left)
        estimate = pace.time_left()
        assert estimate is None or (estimate.seconds >= 0 and not math.isnan(estimate.seconds))
    assert pace.worked_s >= 0
