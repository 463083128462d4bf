"""Samples by prompt and step, and moving among them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from loratui.engine.runs.records import Sample
from loratui.tui.runs.gallery import Gallery, Look, gallery, page


def _sample(step: int, prompt: str, seed: int = 1) -> Sample:
    return Sample(step, 2 * step, 0, f"samples/{step}-{prompt}-{seed}.png", prompt, seed)


def _table(steps: int = 5, prompts: str = "ab") -> Gallery:
    return gallery(_sample(10 * step, prompt) for step in range(steps) for prompt in prompts)


def test_rows_are_prompts_as_they_first_came_and_columns_steps() -> None:
    table = _table()
    assert table.prompts == ("a", "b")
    assert table.steps == (0, 10, 20, 30, 40)
    assert [sample.prompt for sample in table.of_step(20)] == ["a", "b"]
    assert len(table) == 10


def test_a_sample_that_a_resumed_run_made_again_replaces_the_old_one() -> None:
    again = gallery([_sample(10, "a"), _sample(20, "a"), _sample(10, "a", seed=9)])
    assert again.at(10, "a") == _sample(10, "a", seed=9)
    assert again.steps == (10, 20)


def test_one_follows_the_newest_until_one_goes_back_and_again_beyond_the_last() -> None:
    table = _table()
    look = Look()
    assert look.shown_step(table) == 40
    back = look.moved(table, -1)
    assert back.shown_step(table) == 30
    grown = _table(7)
    assert back.shown_step(grown) == 30
    assert look.shown_step(grown) == 60
    assert back.moved(table, 1) == Look()
    assert look.moved(table, -99).shown_step(table) == 0


def test_prompts_go_round_and_a_prompt_without_a_sample_shows_another_of_the_step() -> None:
    table = gallery([_sample(10, "a"), _sample(10, "b"), _sample(20, "b")])
    assert Look().turned(table, 1).prompt == 1
    assert Look(None, 1).turned(table, 1).prompt == 0
    chosen = Look().sample(table)
    assert chosen is not None
    assert (chosen.step, chosen.prompt) == (20, "b")
    assert Look().sample(Gallery()) is None
    assert Look().moved(Gallery(), 1) == Look()


def test_a_page_of_one_row_holds_the_prompts_of_the_step_the_chosen_first() -> None:
    (row,) = page(Look(20, 1), _table(prompts="abc"), 1, 2)
    assert [(s.step, s.prompt) for s in row if s] == [(20, "b"), (20, "c")]


def test_a_page_of_more_rows_holds_prompts_against_steps() -> None:
    cells = page(Look(), _table(9), 2, 3)
    assert [[s.step for s in row if s] for row in cells] == [[60, 70, 80]] * 2
    assert page(Look(), Gallery(), 2, 3) == []


@given(st.integers(1, 12), st.integers(1, 5), st.integers(0, 11), st.integers(0, 9), st.integers(2, 6), st.integers(1, 8))
def test_what_is_looked_at_is_on_the_page(steps: int, prompts: int, at: int, prompt: int, rows: int, columns: int) -> None:
    table = _table(steps, "abcde"[:prompts])
    look = Look(10 * min(at, steps - 1), prompt)
    cells = page(look, table, rows, columns)
    assert any(look.sample(table) in row for row in cells)
    assert len(cells) <= rows
    assert all(len(row) <= columns for row in cells)
