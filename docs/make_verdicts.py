"""Writes the tables of docs/verdicts.md from the runs in benchmarks/results/verdicts: `python docs/make_verdicts.py`."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PAGE = Path(__file__).with_name("verdicts.md")
BEGIN, END = "<!-- made by docs/make_verdicts.py -->\n", "<!-- until here -->"
sys.path.insert(0, str(ROOT / "benchmarks"))

from verdict_tables import KEPT, judged, read_lines, summary  # noqa: E402 - the scripts of benchmarks are no package

CASES = {
    "good": "the demo's recipe",
    "tenth": "a tenth of its steps",
    "tenfold": "ten times its steps",
    "one_image": "one image 18 times",
    "wrong_trigger": "captions with another trigger",
    "shuffled": "captions of other images",
    "two_people": "two people under one name",
}


WITHOUT = {
    "faces are not read": ("likeness", "half", "stronger", "late", "above", "people"),
    "one seed": ("variety", "variety_alone"),
    "losses are not measured": ("learnt", "mirrored", "mirrored_lost", "captions_fit"),
}
"""What may be unknown -> its axes."""


def tables() -> str:
    """All that is between the two marks."""
    rows = read_lines([KEPT])
    found = [judged(row) for row in rows]
    lines = [*_cases(found), "", *_confidence(found), "", *_without(rows), "", *_best(found)]
    return "\n".join(lines) + "\n"


def _cases(found: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield "| run | expected | right | called otherwise |"
    yield "|---|---|---|---|"
    for case, words in CASES.items():
        rows = [one for one in found if one["case"] == case]
        if rows:
            others = Counter(f"{one['kind']} ({one['family']})" for one in rows if not one["right"])
            named = ", ".join(f"{count} × {kind}" for kind, count in sorted(others.items()))
            yield f"| {words} | {rows[0]['expected']} | {sum(one['right'] for one in rows)} of {len(rows)} | {named} |"


def _confidence(found: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield "| verdicts | confidence stated | right |"
    yield "|---|---|---|"
    for row in summary(found)["confidence"]:
        yield f"| {row['verdicts']} | {row['stated']:.2f} | {row['right']:.2f} |"


def _without(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield "| unknown | right | called otherwise |"
    yield "|---|---|---|"
    for words, axes in WITHOUT.items():
        less = [{**row, "axes": {name: value for name, value in row["axes"].items() if name not in axes}} for row in rows]
        found = [judged(row) for row in less]
        wrong = Counter(f"{CASES[one['case']]}: {one['kind']}" for one in found if not one["right"])
        named = ", ".join(f"{count} × {words}" for words, count in sorted(wrong.items()))
        yield f"| {words} | {sum(one['right'] for one in found)} of {len(found)} | {named} |"


def _best(found: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    kept = summary(found)["share_of_best"]
    if kept:
        share = f"{kept['within_5_percent']} of {kept['runs']} within 5 % of the best; median {kept['median']:.2f}, least {kept['least']:.2f}"
        yield f"Recommended file and strength, likeness × variety × prompts obeyed as a share of the best of all files and strengths: {share}."


def replaced(text: str) -> str:
    """The page with its tables made again."""
    before, _, rest = text.partition(BEGIN)
    return before + BEGIN + tables() + END + rest.partition(END)[2]


if __name__ == "__main__":
    PAGE.write_text(replaced(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
