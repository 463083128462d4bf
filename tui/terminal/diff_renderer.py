"""Remembers what the terminal shows, so a paint sends only the cells that differ, with as few colour codes as possible.

Textual sends whole lines of everything that it paints, and every colour for every piece of text. On a thin line those
bytes delay the answer to the next key.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

from rich.cells import cell_len, get_character_cell_size
from rich.color import Color, ColorSystem
from rich.console import Console, RenderableType
from rich.style import Style
from textual.strip import Strip

from loratui.tui.terminal.palette import NUMBERS
from loratui.tui.terminal.textual_private import ChopsUpdate, CompositorUpdate, LayoutUpdate, colour_system

_NEAR = 3
"""A gap of so many unchanged cells is written again: moving the cursor costs as much."""
_SEEN_ON_BLANKS = frozenset(("4", "5", "6", "7", "9", "21", "53"))
"""Attributes that are visible on a space: underline, blink, reverse, strike, double underline, overline."""
_PICTOGRAPHS = "\U0001f000"
"""From here on terminals disagree on how wide a character is."""


class Pen(NamedTuple):
    """How a cell is written: the parameters of SGR for attributes and for each colour, and a link."""

    attributes: str = ""
    colour: str | None = "39"
    """None on blanks, where it is invisible."""
    ground: str = "49"
    link: str = ""


Cell = tuple[str, Pen]
"""A character with its combining characters; empty in the second cell of a wide one."""

_PLAIN = Pen()
_UNKNOWN: Cell = ("\0", _PLAIN)


class DiffRenderer:
    """Remembers each cell that was sent. Any other writer to the screen must call `forget`."""

    def __init__(self) -> None:
        self._rows: list[list[Cell]] = []
        self._size = (0, 0)

    def forget(self) -> None:
        """Forgets what the terminal shows; the next paint sends everything that it covers."""
        self._rows = []

    def only_new(self, update: RenderableType | None) -> RenderableType | None:
        """The same update without the cells that are already there; other renderables unchanged."""
        return _OnlyNew(self, update) if isinstance(update, (LayoutUpdate, ChopsUpdate)) else update

    def difference(self, update: LayoutUpdate | ChopsUpdate, system: ColorSystem) -> str:
        """What the update must write; remembers it as written."""
        size = _size(update)
        if size != self._size:
            # Output sent for the old size may be anywhere in the new one.
            self.forget()
            self._size = size
        pieces: list[str] = []
        pen = _PLAIN
        for x, y, strip in _strips(update):
            cells = _cells(strip, system)[: size[0] - x]  # in tiny windows a widget's line may be longer than it says
            row = self._row(y, x + len(cells))
            old = row[x : x + len(cells)]
            if old == cells:
                continue
            row[x : x + len(cells)] = cells
            for start, end in _runs(old, cells):
                pieces.append(f"\x1b[{y + 1};{x + start + 1}H")
                for character, wanted in cells[start:end]:
                    if wanted is not pen:
                        codes, pen = _change(pen, wanted)
                        pieces.append(codes)
                    pieces.append(character)
        if pen != _PLAIN:
            pieces.append("\x1b]8;;\x1b\\\x1b[0m" if pen.link else "\x1b[0m")
        return "".join(pieces)

    def _row(self, y: int, width: int) -> list[Cell]:
        while len(self._rows) <= y:
            self._rows.append([])
        row = self._rows[y]
        if len(row) < width:
            row += [_UNKNOWN] * (width - len(row))
        return row


class _OnlyNew(CompositorUpdate):
    """Computed when it is written, so an update that Textual drops does not count as sent."""

    def __init__(self, sent: DiffRenderer, update: LayoutUpdate | ChopsUpdate) -> None:
        self._sent, self._update = sent, update

    def __rich__(self) -> RenderableType:
        return self._update

    def render_segments(self, console: Console) -> str:
        return self._sent.difference(self._update, colour_system(console))


def _size(update: LayoutUpdate | ChopsUpdate) -> tuple[int, int]:
    """Columns and lines of the screen that an update is for."""
    if isinstance(update, LayoutUpdate):
        return update.region.width, update.region.height
    return max((ends[-1] for ends in update.chop_ends if ends), default=0), len(update.chops)


def _strips(update: LayoutUpdate | ChopsUpdate) -> Iterator[tuple[int, int, Strip]]:
    if isinstance(update, LayoutUpdate):
        for y, line in enumerate(update.strips, update.region.y):
            x = update.region.x
            for strip in line:
                yield x, y, strip
                x += strip.cell_length
        return
    done: set[tuple[int, int]] = set()
    for y, left, right in update.spans:
        for end, (x, there) in zip(update.chop_ends[y], update.chops[y].items(), strict=True):
            if there is not None and x < right and end > left and (x, y) not in done:
                done.add((x, y))
                yield x, y, there


def _cells(strip: Strip, system: ColorSystem) -> list[Cell]:
    cells: list[Cell] = []
    for text, style, _ in strip:
        pen, blank = _pens(style, system) if style is not None else (_PLAIN, _pens(Style.null(), system)[1])
        if text.isascii() or (len(text) == cell_len(text) and _simple(text)):
            cells += [(character, blank if character == " " else pen) for character in text]
        else:
            cells += _wide_cells(text, pen)
    return cells


@lru_cache(1024)
def _simple(text: str) -> bool:
    return all(get_character_cell_size(character) == 1 for character in text)


def _wide_cells(text: str, pen: Pen) -> Iterable[Cell]:
    cells: list[Cell] = []
    for character in text:
        width = get_character_cell_size(character)
        if width == 0 and cells:
            at = -1 if cells[-1][0] else -2
            cells[at] = (cells[at][0] + character, pen)
        elif width:
            cells += [(character, pen), *[("", pen)] * (width - 1)]
    return cells


def _runs(old: list[Cell], new: list[Cell]) -> Iterator[tuple[int, int]]:
    """Start and end of each part of a line that must be written."""
    if any(_odd(cell) for cell in new) or any(_odd(cell) for cell in old):
        # Where terminal and table may disagree on widths, only the whole line piece is safe.
        yield 0, len(new)
        return
    start = end = -1
    for x, cell in enumerate(new):
        if cell == old[x]:
            continue
        if start < 0:
            start = x
        elif x - end > _NEAR or any(there[1] is not new[end - 1][1] for there in new[end:x]):
            yield start, end
            start = x
        end = x + 1
    if start >= 0:
        yield start, end


def _odd(cell: Cell) -> bool:
    return len(cell[0]) != 1 or cell[0] >= _PICTOGRAPHS


@lru_cache(8192)
def _pens(style: Style, system: ColorSystem) -> tuple[Pen, Pen]:
    codes = Strip.render_ansi(style.without_color, system)
    colour = _codes(style.color, system) if style.color else "39"
    ground = _codes(style.bgcolor, system, foreground=False) if style.bgcolor else "49"
    link = f"id={style.link_id};{style.link}" if style.link else ""
    pen = _one(Pen(codes, colour, ground, link))
    shows = link or not _SEEN_ON_BLANKS.isdisjoint(codes.split(";"))
    return pen, pen if shows else _one(Pen("", None, pen.ground))


def _codes(colour: Color, system: ColorSystem, *, foreground: bool = True) -> str:
    """The parameters of SGR for a colour. The terminal's own colours keep their number: Rich may choose a grey instead."""
    if system is ColorSystem.EIGHT_BIT and colour.triplet in NUMBERS:
        return f"{38 if foreground else 48};5;{NUMBERS[colour.triplet]}"
    return ";".join(colour.downgrade(system).get_ansi_codes(foreground))


@lru_cache(8192)
def _one(pen: Pen) -> Pen:
    """One shared object for all equal pens: comparing cells then costs almost nothing."""
    return pen


@lru_cache(8192)
def _change(now: Pen, wanted: Pen) -> tuple[str, Pen]:
    """The sequences from one pen to another, and the pen after them."""
    attributes = now.attributes
    codes: list[str] = []
    if wanted.colour is None:
        unfit = not _SEEN_ON_BLANKS.isdisjoint(attributes.split(";"))
        wanted = wanted._replace(attributes="" if unfit else attributes, colour="39" if unfit else now.colour)
    if wanted.attributes != attributes:
        if attributes:
            codes.append("0")
            now = _PLAIN._replace(link=now.link)
        if wanted.attributes:
            codes.append(wanted.attributes)
    if wanted.colour != now.colour:
        codes.append(wanted.colour or "39")
    if wanted.ground != now.ground:
        codes.append(wanted.ground)
    sequence = f"\x1b[{';'.join(codes)}m" if codes else ""
    if wanted.link != now.link:
        sequence += f"\x1b]8;{wanted.link or ';'}\x1b\\"
    return sequence, wanted
