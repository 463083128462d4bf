"""Judges runs whose verdict is known again from what was measured of them, and prints how often the rules are right."""

from __future__ import annotations

import itertools
import json
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from loratui.engine.proof.verdict.axes import Measured, read_axes
from loratui.engine.proof.verdict.judge import Judged, judge

Line = Mapping[str, Any]
BOUNDS = (0.0, 0.6, 0.8, 0.9, 0.97, 1.01)
"""Of the confidences that are told together."""


def judge_again(paths: Sequence[Path], *, as_json: bool) -> int:
    """Prints the tables of these files' runs."""
    lines = [line for path in paths for line in _lines(path)]
    found = [judged(line) for line in lines]
    if as_json:
        print(json.dumps({"runs": found, **summary(found)}))
        return 0
    for one in found:
        mark = " " if one["right"] else "!"
        print(f"{mark} {one['name']:24} {one['kind']:13} {one['confidence']:.2f}  {one['axes']}")
    print(json.dumps(summary(found), indent=1))
    return 0


def judged(line: Line) -> dict[str, Any]:
    """A run's verdict, by the rules of now."""
    measures = line["measures"]
    said = judge(measures["parts"], None, Judged(measures["file"], measures["strength"]))
    axes = {name: round(reading.value, 3) for name, reading in read_axes(Measured(measures["parts"])).items()}
    verdict, best = said["verdict"], said["best"]
    row = {"name": line["name"], "case": line["kind"], "family": line["family"], "expected": line["expected"], "axes": axes}
    row |= {"kind": verdict["kind"], "confidence": verdict["confidence"], "reasons": verdict["reasons"], "best": best}
    return row | {"right": verdict["kind"] == line["expected"], "kept": share_of_best(line, best)}


def share_of_best(line: Line, best: Mapping[str, Any] | None) -> float | None:
    """The score of the recommended file and strength, as a share of the exhaustive best; None where it was not looked at."""
    cells = line.get("exhaustive", {}).get("cells", [])
    if best is None or not cells:
        return None
    own = [cell["score"] for cell in cells if (cell["file"], cell["strength"]) == (best["file"], best["strength"])]
    return round(own[0] / max(cell["score"] for cell in cells), 4) if own else None


def summary(found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The figures of the goals."""
    cases = {case: [one for one in found if one["case"] == case] for case in dict.fromkeys(one["case"] for one in found)}
    kept = [one["kept"] for one in found if one["kept"] is not None]
    return {
        "right": {case: f"{sum(one['right'] for one in rows)} of {len(rows)}" for case, rows in cases.items()},
        "called": {case: dict(Counter(one["kind"] for one in rows)) for case, rows in cases.items()},
        "confidence": _calibration(found),
        "share_of_best": {"least": min(kept), "median": round(statistics.median(kept), 4), "runs": len(kept)} if kept else None,
    }


def _calibration(found: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """How often verdicts of about one confidence are right; an unclear one claims nothing."""
    rows = []
    for low, high in itertools.pairwise(BOUNDS):
        some = [one for one in found if low <= one["confidence"] < high and one["kind"] != "unclear"]
        if some:
            stated, right = statistics.fmean(one["confidence"] for one in some), statistics.fmean(one["right"] for one in some)
            rows.append({"from": low, "verdicts": len(some), "stated": round(stated, 3), "right": round(right, 3)})
    return rows


def _lines(path: Path) -> list[Line]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.endswith("}")]
