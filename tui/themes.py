"""The colour themes. Colour never says anything alone: a word or a sign always stands beside it.

Each colour of words can be read (4.5:1) on each ground; `text-disabled` is what an empty field shows.
"""

from __future__ import annotations

from textual.theme import Theme

_QUIET = {"block-cursor-text-style": "none"}

THEMES: tuple[Theme, ...] = (
    Theme(
        name="loratui-dark",
        primary="#87afd7",
        secondary="#5f87af",
        accent="#ffaf5f",
        foreground="#d7d7d7",
        background="#121212",
        surface="#1c1c1c",
        panel="#303030",
        success="#87d787",
        warning="#ffd75f",
        error="#ff8787",
        dark=True,
        variables={
            **_QUIET,
            "muted": "#b2b2b2",
            "text-disabled": "#b2b2b2",
            "block-cursor-background": "#3a3a3a",
            "block-cursor-foreground": "#ffffff",
            "block-cursor-blurred-background": "#262626",
            "block-cursor-blurred-foreground": "#d7d7d7",
            "border": "#5f87af",
            "border-blurred": "#444444",
            "input-cursor-background": "#ffaf5f",
            "input-cursor-foreground": "#121212",
        },
    ),
    Theme(
        name="loratui-light",
        primary="#005f87",
        secondary="#5f87af",
        accent="#87005f",
        foreground="#262626",
        background="#ffffff",
        surface="#eeeeee",
        panel="#e4e4e4",
        success="#005f00",
        warning="#5f5f00",
        error="#af0000",
        dark=False,
        variables={
            **_QUIET,
            "muted": "#585858",
            "text-disabled": "#585858",
            "block-cursor-background": "#d7d7ff",
            "block-cursor-foreground": "#000000",
            "block-cursor-blurred-background": "#e4e4e4",
            "block-cursor-blurred-foreground": "#262626",
            "border": "#5f87af",
            "border-blurred": "#bcbcbc",
        },
    ),
    Theme(
        name="loratui-high-contrast",
        primary="#00ffff",
        secondary="#ffffff",
        accent="#ffff00",
        foreground="#ffffff",
        background="#000000",
        surface="#000000",
        panel="#303030",
        success="#00ff00",
        warning="#ffff00",
        error="#ff8787",
        dark=True,
        variables={
            **_QUIET,
            "muted": "#d0d0d0",
            "text-disabled": "#d0d0d0",
            "block-cursor-background": "#0000af",
            "block-cursor-foreground": "#ffffff",
            "block-cursor-blurred-background": "#3a3a3a",
            "block-cursor-blurred-foreground": "#ffffff",
            "border": "#ffffff",
            "border-blurred": "#8a8a8a",
        },
    ),
    # Blue, orange and yellow are told apart by nearly everybody; red stands nowhere against green.
    Theme(
        name="loratui-colour-blind",
        primary="#87afff",
        secondary="#5f87d7",
        accent="#d7afff",
        foreground="#e4e4e4",
        background="#121212",
        surface="#1c1c1c",
        panel="#303030",
        success="#5fafff",
        warning="#ffd75f",
        error="#ff8700",
        dark=True,
        variables={
            **_QUIET,
            "muted": "#b2b2b2",
            "text-disabled": "#b2b2b2",
            "block-cursor-background": "#3a3a3a",
            "block-cursor-foreground": "#ffffff",
            "block-cursor-blurred-background": "#262626",
            "block-cursor-blurred-foreground": "#e4e4e4",
            "border": "#5f87d7",
            "border-blurred": "#4e4e4e",
            "input-cursor-background": "#d7afff",
            "input-cursor-foreground": "#121212",
        },
    ),
)
"""The colours of the first two are of the 256 that every terminal has, since SSH often drops the rest."""

DEFAULT = THEMES[0].name


def short(name: str) -> str:
    """A theme's name for people: `dark` for `loratui-dark`."""
    return name.removeprefix("loratui-")


def full(name: str) -> str:
    """A theme's name for Textual; the default for one that is unknown."""
    return next((theme.name for theme in THEMES if short(theme.name) == name), DEFAULT)
