"""Writes `docs/app.md`: the keys of every screen, from the table of keys, and the app's own files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from loratui.tui import themes
from loratui.tui.bindings import CONTEXTS
from loratui.tui.keymap import keys_of

HEAD = """# The app

`loratui` opens the list of runs, `loratui attach RUN` opens one run. With `--view-only` neither has keys that start, command or delete
anything. With `--plain`, or without a terminal that the app can draw on, the same steps are questions and answers, and a run prints one
sentence for each change. The bottom of the screen shows the keys that work. `?` explains the screen and its focused part, `ctrl+p` finds
any command by its words, `ctrl+o` puts a letter on every part that you can go to, and you can click on everything. `y` copies to the
clipboard of the terminal in front of you (OSC 52), and shows the copied text.

## Files

The app looks for them in `LORATUI_CONFIG`, else in the system's configuration folder (`~/.config/loratui`). At the start it reports what it
cannot use, with file, line and the nearest name, and takes the default.

`app.toml`, written by the preferences (`f2`); you may edit it:

| key | default | meaning |
|---|---|---|
| `format` | `1` | version of the file |
| `theme` | `"dark"` | {themes} |
| `bell` | `true` | ring when a run ends, fails or runs out of disk |
| `title` | `true` | show the progress in the window's title |
| `price_per_hour` | `0.0` | price of this machine in your currency; 0: unknown |

`keys.toml` gives commands other keys, by the names in the tables below. The app never writes this file.

```toml
pause = "P"
help = ["?", "f1", "H"]
palette = "ctrl+p, f10"
```

A key is a letter (`P` is shift and p), a digit, a sign, `f1` to `f12`, `enter`, `space`, `tab`, `escape`, `up`, `home` …, or `ctrl+` and a letter.
Two commands of one screen may swap their keys; otherwise a key that another command of the screen has is refused.

The wizard saves drafts in `<home>/drafts/<id>.json` (format 1: `format saved step preset changes typed others`) at each change and deletes
them when their run starts. Reports of faults in the app itself are in `<home>/reports/`, without tokens, passwords and names.

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
