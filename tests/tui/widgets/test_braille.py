"""The arithmetic of the loss plot."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loratui.engine.runs.series import Series
from loratui.engine.runs.smoothing import SmoothedLoss
from loratui.tui.widgets import braille
from loratui.tui.widgets.braille import BLANK, RAW, SMOOTHED, YRange


def _history(losses: list[float | None], capacity: int = 1024) -> Series:
    history, smoothed = Series(capacity), SmoothedLoss()
    for step, loss in enumerate(losses, 1):
        smoothed.add(step, loss, 1000)
        history.add(step, loss, smoothed.value)
    return history


def test_columns_share_out_the_planned_steps() -> None:
    shown = braille.columns(_history([1.0] * 50), 10, 100)
    assert [column.count for column in shown] == [10] * 5 + [0] * 5


def test_history_does_not_move_when_steps_come() -> None:
    before = braille.columns(_history([0.1 * n for n in range(50)]), 20, 100)[:9]
    after = braille.columns(_history([0.1 * n for n in range(60)]), 20, 100)[:9]
    assert [c.mean for c in before] == [c.mean for c in after]


def test_losses_that_are_not_finite_leave_a_gap() -> None:
    shown = braille.columns(_history([1.0, None, 1.0]), 3, 3)
    assert [column.count for column in shown] == [1, 0, 1]
    cells = braille.draw(shown, 4, YRange(0, 2))
    line = [kind for row in cells for character, kind in row if character != " "]
    assert line.count(SMOOTHED) == 2


def test_a_rising_line_has_no_holes() -> None:
    history = Series()
    for step in range(1, 41):
        history.add(step, step / 40, step / 40)
    cells = braille.draw(braille.columns(history, 40, 40), 10, YRange(0, 1))
    dots = {
        (row * 4 + y, column * 2 + x)
        for row, line in enumerate(cells)
        for column, (character, _) in enumerate(line)
        for y in range(4)
        for x in range(2)
        if character != " " and (ord(character) - 0x2800) & braille._DOTS[y][x]
    }
    for x in range(39):
        here = [y for y, column in dots if column == x]
        there = [y for y, column in dots if column == x + 1]
        assert min(abs(a - b) for a in here for b in there) <= 1


def test_the_smoothed_line_keeps_its_character_to_itself() -> None:
    history = Series()
    for step in range(1, 101):
        history.add(step, 0.5 + 0.01 * (step % 2), 0.505)
    kinds = {kind for row in braille.draw(braille.columns(history, 50, 100), 8, YRange(0, 1)) for _, kind in row}
    assert SMOOTHED in kinds
    assert RAW not in kinds


def test_the_range_stays_until_the_losses_leave_it_or_shrink_to_half() -> None:
    first = braille.y_range(braille.columns(_history([0.2, 0.4] * 50), 100, 100), None)
    assert first is not None
    inside = braille.y_range(braille.columns(_history([0.25, 0.38] * 50), 100, 100), first)
    assert inside == first
    tiny = braille.y_range(braille.columns(_history([0.300, 0.301] * 50), 100, 100), first)
    assert tiny is not None
    assert tiny.high - tiny.low < (first.high - first.low) / 2
    higher = braille.y_range(braille.columns(_history([0.2, 1.4] * 50), 100, 100), first)
    assert higher is not None
    assert higher.high > first.high


def test_without_a_loss_there_is_no_range() -> None:
    assert braille.y_range(braille.columns(_history([None, None]), 4, 4), None) is None


@given(
    st.lists(st.one_of(st.none(), st.floats(0, 1e6), st.just(0.0)), max_size=120),
    st.integers(1, 40),
    st.integers(1, 12),
    st.integers(1, 300),
)
def test_any_history_can_be_drawn_in_any_size(losses: list[float | None], columns: int, rows: int, steps: int) -> None:
    history = _history(losses, capacity=16)
    shown = braille.columns(history, columns, max(steps, history.last_step, 1))
    limits = braille.y_range(shown, None)
    if limits is None:
        return
    assert limits.low < limits.high
    cells = braille.draw(shown, rows, limits)
    assert len(cells) == rows
    assert {len(row) for row in cells} == {(columns + 1) // 2}
    marks = braille.ticks(rows, limits)
    assert all(0 <= row < rows for row in marks)
    assert all(float(mark) >= 0 and len(mark) <= 7 for mark in marks.values())


def test_ticks_are_round_and_never_below_the_range() -> None:
    assert list(braille.ticks(6, YRange(0.0, 0.08)).values()) == ["0.05", "0.00"]
    assert len(set(braille.ticks(20, YRange(0.16, 0.2)).values())) >= 5


@pytest.mark.parametrize(("least", "step"), [(0.03, 0.05), (0.011, 0.02), (1.0, 1.0), (7.0, 10.0)])
def test_round_steps(least: float, step: float) -> None:
    assert braille.round_step(least) == pytest.approx(step)


def test_only_what_differs_is_repainted() -> None:
    before = [BLANK] * 20
    after = [*before]
    after[3] = after[5] = ("⠁", SMOOTHED)
    after[15] = ("⠁", RAW)
    assert braille.changed_spans(before, after) == [(3, 3), (15, 1)]
    assert braille.changed_spans(after, after) == []


@given(st.lists(st.integers(0, 2), max_size=30), st.lists(st.integers(0, 2), max_size=30))
def test_the_spans_cover_every_difference(old: list[int], new: list[int]) -> None:
    before = [("a", kind) for kind in old]
    after = [("a", kind) for kind in new]
    covered = {x for start, length in braille.changed_spans(before, after) for x in range(start, start + length)}
    longest = max(len(old), len(new))
    assert {x for x in range(longest) if before[x : x + 1] != after[x : x + 1]} <= covered


def test_in_one_cell_the_rarest_mark_is_seen_and_only_what_is_seen_is_explained() -> None:
    every = range(90, 901, 90)
    line = braille.marks(90, 900, {braille.EPOCH: every, braille.SAMPLE: every, braille.CHECKPOINT: [450]})
    shown = "".join(character for character, _ in line)
    assert (shown.count("▴"), shown.count("◆"), shown.count("╵")) == (9, 1, 0)
    assert braille.legend(line) == "▴ samples  ◆ checkpoint"
    assert braille.legend(braille.marks(90, 900, {})) == ""
    assert "╵ epoch" in braille.legend(braille.marks(90, 900, {braille.EPOCH: every}))
