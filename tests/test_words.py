"""Counts in texts: no "1 epochs", no thousands without groups. Every number before a noun goes through `engine/words.py`."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loratui.engine.words import are, count, number, size, times

ROOT = Path(__file__).parent.parent
_NOUN = (
    "images?|images?|captions?|epochs?|(image-|optimizer )?steps?|repeats?|samples?|seeds?|prompts?|runs?|layers?|tokens?|"
    "concepts?|times|files?|folders?|warnings?|errors?|changes|presets?|tensors|tags|words|places|restarts|digits|characters|lines|bytes|values"
)
_BEFORE_A_NOUN = re.compile(rf" ({_NOUN})\b")


def counted_by_hand(path: Path) -> Iterator[str]:
    """Numbers that a text puts before a countable noun as they come; constants in capitals are known and large."""
    for text in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(text, ast.JoinedStr):
            continue
        for part, following in zip(text.values, text.values[1:], strict=False):
            if not (isinstance(part, ast.FormattedValue) and isinstance(following, ast.Constant)):
                continue
            noun = _BEFORE_A_NOUN.match(str(following.value))
            value = ast.unparse(part.value)
            own_words = isinstance(part.value, ast.Call) and not value.startswith(("len(", "min(", "max(", "sum(", "round("))
            known = own_words or value.split(".")[-1].isupper() or value == "len(STEPS)"
            a_fraction = noun is not None and noun[1] == "times" and part.format_spec is not None
            if noun and not known and not a_fraction and value not in _NO_NUMBERS:
                yield f"{path.relative_to(ROOT)}:{text.lineno}: {{{value}}}{noun[0]}"


_NO_NUMBERS = (
    "run.name",
    "started.name",
    "path.name",
    "adapter.kind",
    "suffix",
    "pickles[0].suffix",
    "told",
    "steps",
    "steps_per_s",
)
"""Names, and texts that were counted before."""


def test_no_text_counts_by_hand() -> None:
    files = [path for folder in ("engine", "tui") for path in (ROOT / folder).rglob("*.py")]
    assert [found for path in files for found in counted_by_hand(path)] == []


@given(st.integers(-(10**20), 10**20))
def test_a_count_agrees_with_its_noun(value: int) -> None:
    words = count(value, "epoch")
    assert words.startswith(number(value) + " ")
    assert words.endswith("epoch" if value == 1 else "epochs")
    assert are(value, "epoch").endswith("epoch is" if value == 1 else "epochs are")
    assert not re.search(r"\d{4}", number(value))


@pytest.mark.parametrize(
    ("value", "words"),
    [(0.4, "0.4 times"), (1.0, "once"), (0.9996, "once"), (66.67, "66.7 times"), (156, "156 times"), (999.7, "1 000 times"), (12_345.6, "12 346 times")],
)  # fmt: skip
def test_means_are_written_like_counts(value: float, words: str) -> None:
    assert times(value) == words


@pytest.mark.parametrize(
    ("amount", "told"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (3_400_000, "3.4 MB"),
        (33_700_000_000, "33.7 GB"),
        (10**30, "–"),
        (float("nan"), "–"),
    ],
)
def test_sizes_are_told_in_powers_of_ten(amount: float, told: str) -> None:
    assert size(amount) == told
