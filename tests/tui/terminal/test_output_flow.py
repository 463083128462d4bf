"""The account of what has come to the person's screen."""

from __future__ import annotations

from loratui.tui.terminal.output_flow import OutputFlow


class _Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_terminal_that_never_answers_is_neither_asked_nor_waited_for() -> None:
    flow = OutputFlow()
    assert not flow.painted()
    assert not flow.behind


def test_it_is_behind_until_every_paint_is_answered() -> None:
    flow = OutputFlow()
    flow.answered()
    assert flow.painted()
    assert flow.painted()
    flow.answered()
    assert flow.behind
    flow.answered()
    assert not flow.behind


def test_a_lost_answer_is_waited_for_no_longer_than_some_seconds() -> None:
    clock = _Clock()
    flow = OutputFlow(clock)
    flow.answered()
    flow.painted()
    clock.now = 2.9
    assert flow.behind
    clock.now = 3.1
    assert not flow.behind
    flow.painted()
    flow.answered()
    assert not flow.behind


def test_an_answer_too_many_counts_for_nothing() -> None:
    flow = OutputFlow()
    flow.answered()
    flow.answered()
    flow.painted()
    assert flow.behind
