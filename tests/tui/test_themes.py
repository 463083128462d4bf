"""The colours can be read: everywhere that words stand, in every theme, as they are and as a terminal of 256 colours has them."""

from __future__ import annotations

from itertools import product

import pytest
from rich.color import Color as RichColor
from rich.color import ColorSystem
from textual.color import Color
from textual.theme import Theme

from loratui.tui.themes import THEMES

_WORDS = ("foreground", "muted", "primary", "accent", "success", "warning", "error", "text-disabled")
"""`text-disabled` is what an empty field shows."""
_GROUNDS = ("background", "surface", "panel", "block-cursor-background", "block-cursor-blurred-background")
_LEVELS = (0, 95, 135, 175, 215, 255)
_OF_EVERY_TERMINAL = {*product(_LEVELS, repeat=3), *((grey, grey, grey) for grey in range(8, 239, 10))}


def _luminance(red: int, green: int, blue: int) -> float:
    """As WCAG defines it."""
    channels = [
        part / 12.92 if (part := value / 255) <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for value in (red, green, blue)
    ]
    return 0.2126 * channels[0] + 0.7152 * channels[1] + 0.0722 * channels[2]


def _contrast(one: tuple[int, int, int], other: tuple[int, int, int]) -> float:
    darker, lighter = sorted((_luminance(*one), _luminance(*other)))
    return (lighter + 0.05) / (darker + 0.05)


def _in_256(colour: tuple[int, int, int]) -> tuple[int, int, int]:
    return tuple(RichColor.from_rgb(*colour).downgrade(ColorSystem.EIGHT_BIT).get_truecolor())  # type: ignore[return-value]


def _colours(theme: Theme) -> dict[str, tuple[int, int, int]]:
    generated = {**theme.to_color_system().generate(), **theme.variables}
    return {name: Color.parse(generated[name]).rgb for name in (*_WORDS, *_GROUNDS)}


@pytest.mark.parametrize("theme", THEMES, ids=lambda theme: theme.name)
@pytest.mark.parametrize("colours_there", ["all", "256"])
def test_words_can_be_read_on_every_ground(theme: Theme, colours_there: str) -> None:
    colours = _colours(theme)
    if colours_there == "256":
        colours = {name: _in_256(colour) for name, colour in colours.items()}
    pairs = {(word, ground): _contrast(colours[word], colours[ground]) for word in _WORDS for ground in _GROUNDS}
    too_faint = {pair: round(ratio, 2) for pair, ratio in pairs.items() if ratio < 4.5}
    assert not too_faint
    assert _contrast(colours["block-cursor-background"], colours["background"]) >= 1.3


@pytest.mark.parametrize("theme", THEMES[:2], ids=lambda theme: theme.name)
def test_the_first_themes_use_colours_that_every_terminal_has(theme: Theme) -> None:
    own = [theme.primary, theme.secondary, theme.accent, theme.foreground, theme.background, theme.surface, theme.panel]
    own += [theme.success, theme.warning, theme.error, *(value for value in theme.variables.values() if value.startswith("#"))]
    assert not [colour for colour in own if colour is None or Color.parse(colour).rgb not in _OF_EVERY_TERMINAL]
