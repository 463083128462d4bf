"""Long lines go on below the beginning of their words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual.app import App, ComposeResult
from textual.content import Content
from textual.geometry import Offset
from textual.selection import Selection

from loratui.tui.widgets.hanging import Hanging
from loratui.tui.widgets.line import Line


@pytest.mark.parametrize(
    ("text", "width", "lines"),
    [
        ("no beginning at all here", 12, ["no beginning", "at all here"]),
        ("  indented words go on", 14, ["  indented", "  words go on"]),
        ("! a mark with its words", 12, ["! a mark", "  with its", "  words"]),
        ("  ✖ both of them are here", 16, ["  ✖ both of them", "    are here"]),
        ("f6   fetch it, after a question", 20, ["f6   fetch it, after", "     a question"]),
        ("a long label  has too little room below it", 20, ["a long label  has", "too little room", "below it"]),
        ("tab  one line\n\nesc  another that is longer", 20, ["tab  one line", "", "esc  another that is", "     longer"]),
        ("! 一个女人站在公园里", 12, ["! 一个女人站", "  在公园里"]),
    ],
)
def test_lines_go_on_below_their_beginning(text: str, width: int, lines: list[str]) -> None:
    wrapped = Hanging(Content(text)).wrapped(width)
    assert [line.rstrip() for line in wrapped.plain.split("\n")] == lines
    assert Hanging(Content(text)).get_height({}, width) == len(lines)


@given(st.text("ab! ✔一\n", max_size=60), st.integers(2, 40))
def test_no_letter_is_lost_and_no_line_is_too_long(text: str, width: int) -> None:
    wrapped = Hanging(Content(text)).wrapped(width)
    assert "".join(wrapped.plain.split()) == "".join(text.split())
    assert all(line.rstrip().cell_length <= width for line in wrapped.split(allow_blank=True))


def test_styles_stay_with_their_words() -> None:
    content = Content.assemble("! plain and ", ("bold words here", "bold"))
    wrapped = Hanging(content).wrapped(16)
    assert wrapped.plain.split("\n") == ["! plain and bold", "  words here"]
    assert [wrapped.plain[span.start : span.end].split() for span in wrapped.spans] == [["bold"], ["words", "here"]]


async def test_a_line_has_the_height_of_what_it_shows_and_gives_it_to_the_clipboard() -> None:
    class OneLine(App[None]):
        def compose(self) -> ComposeResult:
            yield Line("  some words that go on")

    app = OneLine()
    async with app.run_test(size=(14, 5)):
        line = app.query_one(Line)
        assert line.size.height == 2
        assert line.get_selection(Selection(Offset(2, 0), Offset(7, 1))) == ("some words\n  that ", "\n")
