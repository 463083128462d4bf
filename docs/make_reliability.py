"""Writes the tables of docs/reliability.md from the reports in benchmarks/results/reliability and from tests/faults/rows.toml: `python docs/make_reliability.py`."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PAGE = Path(__file__).with_name("reliability.md")
REPORTS = ROOT / "benchmarks" / "results" / "reliability"
ROWS = ROOT / "tests" / "faults" / "rows.toml"
BEGIN, END = "<!-- {} made by docs/make_reliability.py -->\n", "<!-- until here -->"

Report = Mapping[str, Any]


def figures(reports: Mapping[str, Report]) -> Iterator[str]:
    """What was aimed at, beside what was measured, with the machine and the sources."""
    yield "| figure | goal | measured | failures | on |"
    yield "|---|---|---|---|---|"
    for name, (words, goal, measured) in FIGURES.items():
        report = reports.get(name)
        if report is None:
            yield f"| {words} | {goal} | not measured | | |"
        else:
            on = f"{report['date']}, {report['machine']['cpus']} × {report['machine']['cpu']}, commit {report['source']['commit']}"
            yield f"| {words} | {goal} | {measured(report)} | {len(report['failures'])} | {on} |"


def _kills(report: Report) -> str:
    by = report["by"]
    return (
        f"{report['kills']} kills of {report['runs']} runs in {report['seconds'] / 60:.0f} min: {by['at points']} at "
        f"{report['points']} points ({report['places']} places), {by['at random']} at random"
    )


def _power_losses(report: Report) -> str:
    return f"{report['states']} states ({report['different']} different) after {report['operations']} operations; {report['gone_on']} went on"


def _sigterms(report: Report) -> str:
    where = ", ".join(f"{name} {taken:.2f} s" for name, taken in report["longest_by_moment_s"].items())
    return f"{report['within_4_s']} of {report['times']} within 4 s; longest {report['longest_s']:.2f} s ({where})"


def _dropped_lines(report: Report) -> str:
    return f"{report['drops']} drops of {report['runs']} runs; the app was gone after {report['longest_until_gone_s']:.2f} s at the latest"


def _mutants(report: Report) -> str:
    return f"{report['caught']} of {report['mutants']} caught"


FIGURES = {
    "kills": ("SIGKILLs of real runs, each looked at in full", "5 000, nothing lost", _kills),
    "power_losses": (
        "power losses in a model weaker than any file system",
        "100 000, nothing acknowledged lost",
        _power_losses,
    ),
    "sigterms": ("SIGTERM until all is saved and the run has ended", "4 s, 100 of 100", _sigterms),
    "dropped_lines": ("SSH sessions that drop, under a real sshd", "100, losses equal", _dropped_lines),
    "mutants": ("faults put into the code of checkpoints, locks and verdicts", "at least 30, all caught", _mutants),
}


def rows() -> Iterator[str]:
    """Each fault with its tests, or with the reason why there is none."""
    yield "| # | fault | tests |"
    yield "|---|---|---|"
    for row in listed():
        tests = [f"`{test.removeprefix('tests/')}`" for test in row["tests"]]
        yield f"| {row['number']} | {row['fault']} | {'<br>'.join([*tests, *filter(None, [row.get('note')])])} |"


def listed() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = tomllib.loads(ROWS.read_text(encoding="utf-8"))["row"]
    return found


def kept() -> dict[str, Report]:
    """Benchmark -> its report."""
    reports = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(REPORTS.glob("*.json"))]
    return {report["benchmark"]: report for report in reports}


def replaced(text: str) -> str:
    """The page with its tables as they are now."""
    for name, lines in (("figures", figures(kept())), ("rows", rows())):
        begin = BEGIN.format(name)
        made = f"{begin}\n" + "\n".join(lines) + f"\n\n{END}"
        text = re.sub(re.escape(begin) + ".*?" + re.escape(END), lambda _, made=made: made, text, count=1, flags=re.S)
    return text


if __name__ == "__main__":
    PAGE.write_text(replaced(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
