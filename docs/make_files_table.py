"""Writes the table of what loads where into docs/files.md: `python docs/make_files_table.py`."""

from __future__ import annotations

from pathlib import Path

from loratui.engine.families.lora import LoraLayout
from loratui.engine.formats.programs import PROGRAMS, opened_by
from loratui.presets.schema import Adapter, Family

PAGE = Path(__file__).parent / "files.md"
BEGIN, END = "<!-- made by docs/make_files_table.py -->\n", "<!-- until here -->"

ROWS: tuple[tuple[str, Family, Adapter, LoraLayout, bool], ...] = (
    ("SD1.5, SDXL and Pony: LoRA, LoCon (as saved)", "sdxl", Adapter(targets="all+conv"), "kohya", True),
    ("SD1.5, SDXL and Pony: LoRA, LoCon, `--format peft`", "sdxl", Adapter(), "peft", True),
    ("SD1.5, SDXL and Pony: LoHa", "sdxl", Adapter(kind="loha"), "kohya", True),
    ("SDXL and Pony: LoKr", "sdxl", Adapter(kind="lokr"), "kohya", True),
    ("SD1.5: LoKr of rank 16 or more", "sd15", Adapter(kind="lokr", rank=16), "kohya", True),
    ("SD1.5: LoKr of a lower rank", "sd15", Adapter(kind="lokr", rank=15), "kohya", True),
    ("FLUX: LoRA (as saved)", "flux", Adapter(), "peft", False),
    ("FLUX: LoRA with the text encoder (as saved)", "flux", Adapter(), "peft", True),
    ("FLUX: LoRA with or without it, `--format kohya`", "flux", Adapter(), "kohya", True),
    ("FLUX: LoRA of all layers (as saved)", "flux", Adapter(targets="all"), "peft", True),
    ("FLUX: LoRA of all layers, `--format kohya`", "flux", Adapter(targets="all"), "kohya", True),
    ("FLUX: LoHa, LoKr", "flux", Adapter(kind="lokr"), "kohya", True),
    ("any base: DoRA", "sdxl", Adapter(dora=True), "peft", True),
)
"""Words, and a case that they stand for; the last is whether text encoders are in the file."""


def table() -> str:
    """The table in Markdown."""
    titles = [program.title for program in PROGRAMS.values()]
    lines = [f"| file | {' | '.join(titles)} |", "|---" * (1 + len(titles)) + "|"]
    for words, family, adapter, layout, trains_text in ROWS:
        readers = opened_by(family, adapter, layout, trains_text=trains_text)
        lines.append(f"| {words} | {' | '.join('yes' if name in readers else 'no' for name in PROGRAMS)} |")
    places = [f"`{program.place}`" for program in PROGRAMS.values()]
    lines.append(f"| where it goes | {' | '.join(places)} |")
    return "\n".join(lines) + "\n"


def replaced(text: str) -> str:
    """The page with the table as it should be."""
    before, rest = text.split(BEGIN)
    return before + BEGIN + "\n" + table() + "\n" + END + rest.split(END, 1)[1]


if __name__ == "__main__":
    PAGE.write_text(replaced(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
