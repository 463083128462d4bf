"""The account of what has come to the person's screen."""

from __future__ import annotations

from loratui.tui.terminal.output_flow import Arrival


class _Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_terminal_that_never_answers_is_neither_asked_nor_waited_for() -> None:
    arrival = Arrival()
    assert not arrival.painted()
    assert not arrival.behind


def test_it_is_behind_until_every_paint_is_answered() -> None:
    arrival = Arrival()
    arrival.answered()
    assert arrival.painted()
    assert arrival.painted()
    arrival.answered()
    assert arrival.behind
    arrival.answered()
    assert not arrival.behind


def test_a_lost_answer_is_waited_for_no_longer_than_some_seconds() -> None:
    clock = _Clock()
    arrival = Arrival(clock)
    arrival.answered()
    arrival.painted()
    clock.now = 2.9
    assert arrival.behind
    clock.now = 3.1
    assert not arrival.behind
    arrival.painted()
    arrival.answered()
    assert not arrival.behind


def test_an_answer_too_many_counts_for_nothing() -> None:
    arrival = Arrival()
    arrival.answered()
    arrival.answered()
    arrival.painted()
    assert arrival.behind
