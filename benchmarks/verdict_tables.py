"""Judges runs whose verdict is known again from what was measured of them, and says how often the rules are right."""

from __future__ import annotations

import itertools
import json
import re
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from verdict_cases import TIMES

from loratui.engine.proof.verdict.axes import Measured, Reading, read_axes
from loratui.engine.proof.verdict.best import best
from loratui.engine.proof.verdict.rules import Rules, rules, weigh

Line = Mapping[str, Any]
KEPT = Path(__file__).parent / "results" / "verdicts" / "runs.jsonl"
"""The axes of the runs that were measured, for the page and the tests."""
BOUNDS = (0.0, 0.7, 0.9, 1.01)
"""Of the confidences that are told together."""


def read_lines(paths: Iterable[Path]) -> list[Line]:
    """The runs of files; a last line that was cut off is none."""
    texts = [path.read_text(encoding="utf-8") for path in paths if path.is_file()]
    return [json.loads(line) for text in texts for line in text.splitlines() if line.endswith("}")]


def judge_again(paths: Sequence[Path], *, as_json: bool, keep: bool) -> int:
    """Prints the tables of these files' runs, by the rules of now."""
    rows = [compact(line) if "measures" in line else line for line in read_lines(paths)]
    found = [judged(row) for row in rows]
    if keep:
        KEPT.parent.mkdir(parents=True, exist_ok=True)
        ordered = sorted(rows, key=lambda row: str(row["name"]))
        KEPT.write_text("".join(json.dumps(row, separators=(",", ":")) + "\n" for row in ordered), encoding="utf-8")
    if as_json:
        print(json.dumps({"runs": found, **summary(found)}))
        return 0
    for row, one in zip(rows, found, strict=True):
        mark = " " if one["right"] else "!"
        axes = " ".join(f"{name} {value:.2f}" for name, (value, _) in row["axes"].items())
        print(f"{mark} {one['name']:24} {one['kind']:13} {one['confidence']:.2f} {one['kept'] or '':6} {axes}")
    print(json.dumps(summary(found), indent=1))
    return 0


def compact(line: Line) -> dict[str, Any]:
    """What is kept of a run: its axes, and how good the recommended file is."""
    measures = line["measures"]
    shown = TIMES.get(line["kind"], 1.0) * line["share"]
    measured = Measured(measures["parts"], usual=measures["strength"], shown=shown)
    axes = {name: [round(one.value, 4), round(one.spread, 4)] for name, one in read_axes(measured).items()}
    row = {name: line[name] for name in ("name", "family", "seed", "kind", "expected", "share")}
    use = best(measured, measures["file"], measures["strength"])
    return row | {"axes": axes, "kept": share_of_best(line, use)}


def share_of_best(line: Line, use: Mapping[str, Any] | None) -> float | None:
    """The score of the recommended file and strength, as a share of the exhaustive best; None where it was not looked at. Where not
    all files were looked at, the nearest by its step stands for the recommended one."""
    cells = line.get("exhaustive", {}).get("cells", [])
    if use is None or not cells:
        return None
    last = 10**9
    at = _step(use["file"], last)
    own = min(cells, key=lambda c: (abs(_step(c["file"], last) - at), abs(c["strength"] - use["strength"])))
    return round(own["score"] / max(cell["score"] for cell in cells), 4)


def _step(file: str, last: int) -> int:
    found = re.search(r"-(\d{6})\.", file)
    return int(found[1]) if found else last


def judged(row: Line, by: Rules | None = None) -> dict[str, Any]:
    """A run's verdict."""
    by = by or rules()
    weighed = weigh({name: Reading(*values) for name, values in row["axes"].items()}, by)
    confidence = weighed.confidence
    kind = weighed.kind if confidence >= by.least else "unclear"
    told = {"name": row["name"], "case": row["kind"], "family": row["family"], "expected": row["expected"]}
    return told | {"kind": kind, "confidence": round(confidence, 3), "right": kind == row["expected"], "kept": row["kept"]}


def summary(found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The figures of the goals."""
    cases = {case: [one for one in found if one["case"] == case] for case in dict.fromkeys(one["case"] for one in found)}
    kept = [one["kept"] for one in found if one["kept"] is not None]
    return {
        "right": {case: f"{sum(one['right'] for one in rows)} of {len(rows)}" for case, rows in cases.items()},
        "called": {case: dict(Counter(one["kind"] for one in rows)) for case, rows in cases.items()},
        "confidence": calibration(found),
        "share_of_best": {
            "least": min(kept),
            "median": round(statistics.median(kept), 4),
            "within_5_percent": sum(k >= 0.95 for k in kept),
            "runs": len(kept),
        }
        if kept
        else None,
    }


def calibration(found: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """How often verdicts of about one confidence are right; an unclear one claims nothing."""
    rows = []
    for low, high in itertools.pairwise(BOUNDS):
        some = [one for one in found if low <= one["confidence"] < high and one["kind"] != "unclear"]
        if some:
            stated, right = statistics.fmean(one["confidence"] for one in some), statistics.fmean(one["right"] for one in some)
            rows.append({"from": low, "verdicts": len(some), "stated": round(stated, 3), "right": round(right, 3)})
    return rows
