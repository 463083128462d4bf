"""Writes docs/settings.md from the schema: `python docs/make_settings.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from loratui.presets.schema import KEYS, SECTIONS, KeyInfo


def shown(value: Any) -> str:
    """A default as TOML has it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return "[" + ", ".join(shown(v) for v in value) + "]"
    return f'"{value}"' if isinstance(value, str) else f"{value:g}" if isinstance(value, float) else str(value)


def allowed(info: KeyInfo) -> str:
    """What a value may be, in a few words."""
    if info.choices:
        return ", ".join(f"`{choice}`" for choice in info.choices)
    parts = []
    if info.above is not None:
        parts.append(f"more than {info.above:g}")
    if info.low is not None:
        parts.append(f"at least {info.low:.15g}")
    if info.high is not None:
        parts.append(f"at most {info.high:.15g}")
    return ", ".join(parts)


def page() -> str:
    """The whole page."""
    lines = [
        "# Settings",
        "",
        "Every key of presets and recipes (format 1). In a recipe: `[section]` and `key = value`; on the command line: `--set section.key=value`.",
        "This page is made from `presets/schema.py` by `docs/make_settings.py`.",
    ]
    for section, cls in SECTIONS.items():
        lines += [
            "",
            f"## [{section}]",
            "",
            (cls.__doc__ or "").splitlines()[0],
            "",
            "| key | default | allowed | meaning |",
            "|---|---|---|---|",
        ]
        for name, info in KEYS.items():
            if name.startswith(section + "."):
                help_text = info.help.replace("|", "\\|")
                lines.append(f"| `{name.split('.')[1]}` | `{shown(info.default)}` | {allowed(info)} | {help_text} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    (Path(__file__).parent / "settings.md").write_text(page(), encoding="utf-8")
