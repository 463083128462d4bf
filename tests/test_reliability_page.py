"""docs/reliability.md and docs/security.md: tables as they are made, each fault with tests, and every test that they name exists."""

from __future__ import annotations

import functools
import re
from pathlib import Path

import scripts

ROOT = Path(__file__).parents[1]
NAMED = re.compile(r"`((?:tests/)?[a-z_/]+/test_[a-z_]+\.py|tests/test_[a-z_]+\.py)(?:::(test_\w+))?`")


@functools.cache
def source(path: str) -> str:
    file = ROOT / path
    return file.read_text(encoding="utf-8") if file.is_file() else ""


def exists(path: str, function: str = "") -> bool:
    return f"def {function}(" in source(path) if function else bool(source(path))


def test_the_tables_are_as_they_are_made() -> None:
    made = scripts.script("docs/make_reliability.py")
    text = made.PAGE.read_text(encoding="utf-8")
    assert made.replaced(text) == text, "run: python docs/make_reliability.py"


def test_every_fault_has_tests_that_exist_or_a_reason() -> None:
    rows = scripts.script("docs/make_reliability.py").listed()
    assert [row["number"] for row in rows] == list(range(1, 86))
    for row in rows:
        assert row["tests"] or row.get("note"), row["number"]
        for test in row["tests"]:
            path, _, function = test.partition("::")
            assert exists(path, function), f"row {row['number']}: {test}"


def test_every_test_that_is_named_exists() -> None:
    claims = (
        (ROOT / "docs" / "security.md").read_text(encoding="utf-8").partition("## What is done")[2].partition("## Out of")[0]
    )
    for claim in filter(None, claims.strip().split("\n\n")):
        named = NAMED.findall(claim)
        assert named, claim
        for path, function in named:
            assert exists(path, function), f"{path}::{function}"
