"""The screen that is remembered as sent: what it leaves out must not be missing, and it must leave out what is there."""

from __future__ import annotations

import random

import pyte
import pytest
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from textual._compositor import ChopsUpdate, CompositorUpdate, LayoutUpdate
from textual.geometry import Region
from textual.strip import Strip

from loratui.tui.terminal.diff_renderer import DiffRenderer

WIDTH, HEIGHT = 30, 6
TRUE = Console(color_system="truecolor", force_terminal=True, legacy_windows=False)
STYLES = (
    None,
    Style(),
    Style.parse("#102030 on #405060"),
    Style.parse("bold #102030 on #405060"),
    Style.parse("bold italic red"),
    Style.parse("underline on #405060"),
    Style.parse("reverse #ffffff on #000000"),
    Style.parse("strike #00ff00"),
    Style.parse("not bold default on default"),
    Style.parse("on #102030"),
)
TEXTS = ("loss 0.1234", "   ", " a b ", "▀▀▄█", "⣿⡇⠁", "漢字 と", "│┤", "e\u0301té", "x", "─── ◆")


def _strip(draw: random.Random, width: int = WIDTH) -> Strip:
    segments: list[Segment] = []
    for _ in range(draw.randrange(6)):
        segments.append(Segment(draw.choice(TEXTS), draw.choice(STYLES)))
    return Strip(segments).adjust_cell_length(width)


def _layout(strips: list[Strip]) -> LayoutUpdate:
    return LayoutUpdate([[strip] for strip in strips], Region(0, 0, WIDTH, HEIGHT))


def _chops(draw: random.Random) -> ChopsUpdate:
    """A change of some lines, of which each has two pieces; one of the pieces is not rendered at times."""
    cut = draw.randrange(5, WIDTH - 5)
    lines = [{0: _strip(draw, cut), cut: draw.choice((None, _strip(draw, WIDTH - cut)))} for _ in range(HEIGHT)]
    rows = sorted(draw.sample(range(HEIGHT), 3))
    return ChopsUpdate(lines, [(y, 0, WIDTH) for y in rows], [[cut, WIDTH]] * HEIGHT)


def _written(sent: DiffRenderer, update: LayoutUpdate | ChopsUpdate) -> str:
    made = sent.only_new(update)
    assert isinstance(made, CompositorUpdate)
    return made.render_segments(TRUE)


class _Emulator:
    def __init__(self) -> None:
        self.screen = pyte.Screen(WIDTH, HEIGHT)
        self._stream = pyte.Stream(self.screen)

    def feed(self, text: str) -> None:
        self._stream.feed(text)

    def look(self) -> list[list[object]]:
        """Every cell as a person sees it: of a blank one only what shows on blanks."""
        return [[self._cell(y, x) for x in range(WIDTH)] for y in range(HEIGHT)]

    def _cell(self, y: int, x: int) -> object:
        cell = self.screen.buffer[y][x]
        if cell.data == " " and not (cell.underscore or cell.reverse or cell.strikethrough):
            return " ", cell.bg
        return cell


@pytest.mark.parametrize("seed", range(40))
def test_the_screen_is_the_same_as_when_everything_is_sent(seed: int) -> None:
    draw = random.Random(seed)
    sent, ours, whole = DiffRenderer(), _Emulator(), _Emulator()
    lines = [_strip(draw) for _ in range(HEIGHT)]
    for number in range(12):
        if number % 4 == 0:
            lines = [draw.choice((line, _strip(draw))) for line in lines]
            update: LayoutUpdate | ChopsUpdate = _layout(lines)
        else:
            update = _chops(draw)
        whole.feed(update.render_segments(TRUE))
        ours.feed(_written(sent, update))
        assert ours.look() == whole.look()


def test_what_is_there_already_is_not_sent_again() -> None:
    sent = DiffRenderer()
    lines = [_strip(random.Random(1)) for _ in range(HEIGHT)]
    assert _written(sent, _layout(lines))
    assert _written(sent, _layout(lines)) == ""


def test_one_other_digit_sends_one_character_and_its_place() -> None:
    sent = DiffRenderer()
    style = Style.parse("#102030 on #405060")
    _written(sent, _layout([Strip([Segment("step 812 of 900", style)])]))
    again = _written(sent, _layout([Strip([Segment("step 813 of 900", style)])]))
    assert again == "\x1b[1;8H\x1b[38;2;16;32;48;48;2;64;80;96m3\x1b[0m"


def test_colours_are_named_only_where_they_change() -> None:
    update = _layout([Strip([Segment(character, Style.parse("#102030 on #405060")) for character in "abc"])])
    assert _written(DiffRenderer(), update).count("38;2;16;32;48") == 1


def test_an_update_that_is_never_written_is_not_taken_for_sent() -> None:
    sent = DiffRenderer()
    update = _layout([Strip([Segment("words")])])
    sent.only_new(update)
    assert "words" in _written(sent, update)


def test_after_forgetting_everything_is_sent() -> None:
    sent = DiffRenderer()
    update = _layout([Strip([Segment("words")])])
    first = _written(sent, update)
    sent.forget()
    assert _written(sent, update) == first


def test_a_line_that_is_longer_than_it_says_stays_on_the_screen() -> None:
    line = Strip([Segment("x" * (WIDTH + 9))], 1)
    assert _written(DiffRenderer(), _layout([line])).count("x") == WIDTH


def test_in_another_size_everything_is_sent() -> None:
    sent = DiffRenderer()
    lines = [_strip(random.Random(y)) for y in range(HEIGHT)]
    _written(sent, _layout(lines))
    smaller = LayoutUpdate([[strip] for strip in lines[1:]], Region(0, 0, WIDTH, HEIGHT - 1))
    assert _written(sent, smaller) == _written(DiffRenderer(), smaller)


def test_a_line_with_characters_of_doubtful_width_is_sent_from_its_start() -> None:
    sent = DiffRenderer()
    _written(sent, _layout([Strip([Segment("漢字 step 1")])]))
    again = _written(sent, _layout([Strip([Segment("漢字 step 2")])]))
    assert again == "\x1b[1;1H漢字 step 2"
