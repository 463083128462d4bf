"""The measurements that are kept in `benchmarks/results`, for the page on performance and the table of goals.

python benchmarks/kept_results.py FILE…    keeps reports of `true_size.py`, `rehearsal.py`, `demo.py`, `precision.py`, `libraries.py`, `captioners.py` and `validation_speed.py` under names by date
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

FORMAT = 1
FOLDER = Path(__file__).parent / "results"

Report = dict[str, Any]


def slower_by_the_clock(found: Report) -> float | None:
    """ms from step to step, where that is more than a tenth above what the steps themselves say; else None."""
    wall = found.get("wall_ms")
    return wall if wall and wall > 1.1 * found["step_ms"][0] else None


def range_of(ends: Sequence[float] | None) -> str:
    """Such as `320–410`; empty where there is none."""
    return "–".join(f"{end:.0f}" for end in ends or ())


def read(path: Path) -> Report:
    """One report. Raises `ValueError` for one of another format."""
    report: Report = json.loads(path.read_text(encoding="utf-8"))
    if report.get("format") != FORMAT:
        raise ValueError(f"{path}: format {report.get('format')}, not {FORMAT}")
    return report


def kept(folder: Path = FOLDER) -> list[Report]:
    """All reports, the oldest first. Raises `ValueError` for one of another format."""
    return sorted((read(path) for path in folder.glob("*.json")), key=lambda report: str(report["date"]))


def keep(paths: Iterable[Path]) -> list[Path]:
    """Copies reports into the folder. Raises `ValueError` for one that is of no format, or was tried on a CPU."""
    placed = []
    for path in paths:
        report = read(path)
        if report["tiny"]:
            raise ValueError(f"{path}: it is a trial on a CPU")
        date = report["date"].replace(" ", "T").replace(":", "")
        placed.append(FOLDER / f"{date}-{report['benchmark']}-{subject(report)}.json")
        shutil.copyfile(path, placed[-1])
        if (log := path.with_suffix(".log")).is_file():  # of a rehearsal: every command with its output
            shutil.copyfile(log, placed[-1].with_suffix(".log"))
    return placed


def subject(report: Report) -> str:
    """The family or the rehearsal that a report is about."""
    return str(report.get("family") or report["name"])


def newest(reports: Iterable[Report], benchmark: str) -> dict[str, Report]:
    """Family or rehearsal -> its newest report."""
    return {subject(report): report for report in reports if report["benchmark"] == benchmark}


def by_age(reports: Iterable[Report], family: str) -> Iterator[tuple[Report, dict[str, Report], dict[str, Report]]]:
    """A family's reports of `true_size.py`, the newest first, each with its rungs that were not measured since, and the others."""
    seen: set[str] = set()
    for report in reversed([one for one in reports if one["benchmark"] == "true_size" and one["family"] == family]):
        rungs = report["rungs"]
        yield report, {r: rungs[r] for r in rungs if r not in seen}, {r: rungs[r] for r in measured(report) if r in seen}
        seen |= measured(report).keys()


def measured(report: Report) -> dict[str, Report]:
    """The rungs of a report that have figures."""
    return {rung: found for rung, found in report["rungs"].items() if "failed" not in found}


if __name__ == "__main__":
    for place in keep(map(Path, sys.argv[1:])):
        print(place)
