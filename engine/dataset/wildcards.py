"""`{red|blue} hat`: captions that leave a choice, as sd-scripts and Dynamic Prompts read them; how often each choice is made."""

from __future__ import annotations

import random
import re

DEEPEST = 20
"""Choices within choices; text with more is taken as it is written."""

Node = str | tuple[tuple["Node", ...], ...]
"""Plain text, or the options of a choice, each a row of nodes."""

_PIECE = re.compile(r"\\[{}|]|[{}|]|[^\\{}|]+|\\")
_OTHER_FORM = re.compile(r"\{\s*(?:\d+(?:-\d*)?|-\d+)?\s*\$\$|[{|]\s*\d*\.?\d+::")
"""`{2$$a|b}` (several at once) and `{0.3::a|b}` (weights) of Dynamic Prompts."""


def has_choice(text: str) -> bool:
    """Whether there is a choice to be made."""
    return "|" in text and any(not isinstance(node, str) and len(node) > 1 for node in _flat(parse(text)))


def why_unread(text: str) -> str:
    """What of its braces cannot be read as a choice; empty if all can, or there are none."""
    if "|" not in text:
        return ""
    if match := _OTHER_FORM.search(text):
        return match.group()
    depth = most = 0
    for piece in _PIECE.findall(text):
        depth += (piece == "{") - (piece == "}")
        most = max(most, depth)
        if depth < 0:
            break
    return "{" if (depth or most > DEEPEST) and "{" in text else ""


def parse(text: str) -> tuple[Node, ...]:
    """The text as a row of plain parts and choices; one plain part where its braces do not fit together, or nest too deep.

    A backslash before a brace or a bar makes it plain.
    """
    if why_unread(text):
        return (text,)
    rows: list[list[Node]] = [[]]
    choices: list[list[tuple[Node, ...]]] = []
    for piece in _PIECE.findall(text):
        if piece == "{":
            choices.append([])
            rows.append([])
        elif piece == "|" and choices:
            choices[-1].append(tuple(rows[-1]))
            rows[-1] = []
        elif piece == "}" and choices:
            options = (*choices.pop(), tuple(rows.pop()))
            rows[-1].append(options)
        else:
            rows[-1].append(piece[1:] if len(piece) == 2 and piece[0] == "\\" else piece)
    return tuple(rows[0])


def drawn(text: str, count: int, seed: str) -> tuple[str, ...]:
    """`count` readings of the text, the same for the same seed. At each choice every option comes equally often, as nearly as
    the count allows, and so do pairs of options: nothing is spelled out that is not drawn, however many readings there are."""
    readings: list[list[str]] = [[] for _ in range(count)]
    _deal(parse(text), list(range(count)), readings, random.Random(seed))
    return tuple(_tidy("".join(reading)) for reading in readings)


def _deal(row: tuple[Node, ...], order: list[int], readings: list[list[str]], source: random.Random) -> list[int]:
    """Appends the row to these readings; returns them in an order in which the options that were dealt stand together."""
    for node in row if order else ():
        if isinstance(node, str):
            for reading in order:
                readings[reading].append(node)
            continue
        options = list(node)
        source.shuffle(options)
        hands = [order[at :: len(options)] for at in range(min(len(options), len(order)))]
        order = [
            reading for option, hand in zip(options, hands, strict=False) for reading in _deal(option, hand, readings, source)
        ]
    return order


def _flat(row: tuple[Node, ...]) -> list[Node]:
    found: list[Node] = []
    for node in row:
        found.append(node)
        if not isinstance(node, str):
            for option in node:
                found += _flat(option)
    return found


def _tidy(text: str) -> str:
    """Without the double spaces and empty tags that an empty option leaves."""
    parts = [part.strip() for part in text.split(",")]
    return " ".join((text if all(parts) else ", ".join(part for part in parts if part)).split())
