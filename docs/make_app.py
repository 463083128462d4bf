"""Writes `docs/app.md`: the keys of every screen from the table of keys, and the files in which a person changes them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from loratui.tui import themes
from loratui.tui.bindings import CONTEXTS
from loratui.tui.keymap import keys_of

HEAD = """# The app

`loratui` opens the list of runs, `loratui attach RUN` one of them, and `--view-only` either of them without any key that starts,
commands or deletes something. Where there is no terminal that can be drawn on, or with `--plain`, the same steps are questions and
answers, and a run is told in one sentence a change. A key is shown at the bottom of the screen whenever it works; `?` explains the
screen and the part that has the focus, `ctrl+p` finds any command by its words, `ctrl+o` puts a letter on every part that can be gone to,
and everything can be clicked. What `y` copies goes to the clipboard of the terminal in front of you (OSC 52), and is shown too.

## Files

All are looked for in `LORATUI_CONFIG`, else in the configuration folder of the system (`~/.config/loratui`). What cannot be used is told
when the app starts, with file, line and the nearest name, and keeps its default.

`app.toml`, written by the preferences (`f2`) and open to be edited:

| key | default | meaning |
|---|---|---|
| `format` | `1` | version of the file |
| `theme` | `"dark"` | {themes} |
| `bell` | `true` | ring when a run ends, fails or runs out of disk |
| `title` | `true` | tell the progress in the window's title |
| `price_per_hour` | `0.0` | price of this machine in your currency; 0: unknown |

`keys.toml` gives commands other keys, by the names in the tables below. The app never writes it.

```toml
pause = "P"
help = ["?", "f1", "H"]
palette = "ctrl+p, f10"
```

A key is a letter (`P` is shift and p), a digit, a sign, `f1` to `f12`, `enter`, `space`, `tab`, `escape`, `up`, `home` …, or `ctrl+` and a letter.
Two commands of one screen may change places; a key that another command of the same screen has is refused.

Drafts of the wizard are kept in `<home>/drafts/<id>.json` (format 1: `format saved step preset changes typed others`) at each change and
deleted when their run starts. Reports on faults of the app itself are in `<home>/reports/`, without tokens, passwords and names.

## Keys
"""


def main() -> None:
    """Writes the page."""
    text = "\n".join(_lines()) + "\n"
    (Path(__file__).parent / "app.md").write_text(text, encoding="utf-8")


def _lines() -> Iterator[str]:
    listed = ", ".join(f'`"{themes.short(theme.name)}"`' for theme in themes.THEMES)
    yield HEAD.replace("{themes}", listed).rstrip()
    for context, about in CONTEXTS.items():
        yield from ("", f"### {about.title}", "", about.help, "", "| key | name | what it does |", "|---|---|---|")
        for key in keys_of(context):
            written = " ".join(f"`{name}`" for name in dict.fromkeys([key.shown, *key.keys.split(",")[1:]]))
            yield f"| {written} | `{key.id}` | {key.help} |"


if __name__ == "__main__":
    main()
