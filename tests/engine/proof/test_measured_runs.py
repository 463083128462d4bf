"""The verdicts of runs that were trained on the embedded bases, by what was measured of them: the rules of now must still call them right."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import scripts

PAGE = scripts.script("docs/make_verdicts.py")


def found() -> dict[str, list[dict[str, Any]]]:
    by_case: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in PAGE.read_lines([PAGE.KEPT]):
        by_case[str(row["kind"])].append(PAGE.judged(row))
    return by_case


def test_the_page_is_as_it_is_made() -> None:
    text = PAGE.PAGE.read_text(encoding="utf-8")
    assert PAGE.replaced(text) == text, "run: python docs/make_verdicts.py"


def test_nearly_every_run_is_called_right_and_no_good_one_memorised() -> None:
    by_case = found()
    assert by_case.keys() <= PAGE.CASES.keys()
    assert {"good", "tenth", "tenfold", "one_image", "wrong_trigger", "two_people"} <= by_case.keys()
    for case, rows in by_case.items():
        right = sum(row["right"] for row in rows)
        assert right >= len(rows) * 0.85, (case, right, len(rows))
    assert not any(row["kind"] == "memorised" for row in by_case["good"])
