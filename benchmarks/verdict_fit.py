"""Fits the points of the verdict's rules to runs whose verdict is known, and says how they do on runs that they were not fitted to.

    python benchmarks/verdict_fit.py verdicts.jsonl [--towards 0.3] [--write]

What each sign speaks for or against stays as `rules.toml` has it; how much is fitted, held to the values there by `--towards`. The runs of one
family and seed are left out together, in turn, and judged by what was fitted to the others: these are the figures that are told. With
`--write` the points fitted to all runs go into `rules.toml`.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from verdict_tables import compact, judged, read_lines, summary

from loratui.engine.proof.verdict import rules as rules_module
from loratui.engine.proof.verdict.axes import Reading
from loratui.engine.proof.verdict.rules import KINDS, Rules, rules

Array = NDArray[np.float64]
STEPS, RATE = 3000, 0.02
MOST = 25.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--towards", type=float, default=0.02, help="how strongly the points are held to those in the file")
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    rows = [compact(line) if "measures" in line else line for line in read_lines(args.files)]
    axes = [{name: Reading(*values) for name, values in row["axes"].items()} for row in rows]
    expected = [row["expected"] for row in rows]
    found = []
    for group in sorted({(row["family"], row["seed"]) for row in rows}):
        rest = [at for at, row in enumerate(rows) if (row["family"], row["seed"]) != group]
        fitted = fit([axes[at] for at in rest], [expected[at] for at in rest], rules(), args.towards)
        found += [judged(row, fitted) for at, row in enumerate(rows) if at not in rest]
    print(json.dumps(summary(found), indent=1))
    for one in found:
        if not one["right"]:
            print("wrong:", one["name"], one["kind"], one["confidence"])
    if args.write:
        write(fit(axes, expected, rules(), args.towards))


def fit(axes: Sequence[dict[str, Reading]], expected: Sequence[str], by: Rules, towards: float) -> Rules:
    """The rules with other points: those that make the expected kinds likeliest, near those that they have."""
    pairs = [(at, KINDS.index(kind), points) for at, sign in enumerate(by.signs) for kind, points in sign.points.items()]
    there: Array = np.array([[s.degree(one[s.axis]) if s.axis in one else 0.0 for s in by.signs] for one in axes])
    right = np.array([KINDS.index(kind) for kind in expected], dtype=np.int64)
    signs = np.array([np.sign(points) for _, _, points in pairs])
    before = np.array([abs(points) for _, _, points in pairs])
    start_before = np.array([by.start.get(kind, 0.0) for kind in KINDS])
    size, start = before.copy(), start_before.copy()
    moments = [np.zeros_like(size), np.zeros_like(size), np.zeros_like(start), np.zeros_like(start)]
    wanted: Array = np.eye(len(KINDS))[right]
    for step in range(1, STEPS + 1):
        weights = _table(pairs, signs * size, len(by.signs))
        logits = there @ weights + start
        chances = np.exp(logits - logits.max(1, keepdims=True))
        chances /= chances.sum(1, keepdims=True)
        wrong = (chances - wanted) / len(axes)
        slope = there.T @ wrong
        of_size = signs * np.array([slope[at, kind] for at, kind, _ in pairs]) + towards * (size - before) / len(pairs)
        of_start = wrong.sum(0) + towards * (start - start_before) / len(KINDS)
        size = np.clip(size - _adam(of_size, moments, 0, step), 0.0, MOST)
        start = start - _adam(of_start, moments, 2, step)
    made = []
    for at, sign in enumerate(by.signs):
        own = {KINDS[k]: round(float(signs[n] * size[n]), 2) for n, (of, k, _) in enumerate(pairs) if of == at}
        made.append(dataclasses.replace(sign, points=own))
    first = {kind: round(float(start[at] - start[0]), 2) for at, kind in enumerate(KINDS)}
    return dataclasses.replace(by, signs=tuple(made), start=first)


def _table(pairs: Sequence[tuple[int, int, float]], values: Array, signs: int) -> Array:
    table = np.zeros((signs, len(KINDS)))
    for (at, kind, _), value in zip(pairs, values, strict=True):
        table[at, kind] = value
    return table


def _adam(slope: Array, moments: list[Array], at: int, step: int) -> Array:
    moments[at] = 0.9 * moments[at] + 0.1 * slope
    moments[at + 1] = 0.999 * moments[at + 1] + 0.001 * slope**2
    change: Array = RATE * (moments[at] / (1 - 0.9**step)) / (np.sqrt(moments[at + 1] / (1 - 0.999**step)) + 1e-8)
    return change


def write(fitted: Rules) -> None:
    """Puts the points into `rules.toml`."""
    path = Path(rules_module.__file__).with_name("rules.toml")
    text = path.read_text(encoding="utf-8")
    for sign in fitted.signs:
        points = ", ".join(f"{kind} = {value}" for kind, value in sign.points.items())
        text = re.sub(rf"(\[signs\.{sign.id}\]\n(?:.*\n)*?points = )\{{.*\}}", rf"\g<1>{{ {points} }}", text)
    for kind, value in fitted.start.items():
        text = re.sub(rf"(\[start\]\n(?:.*\n)*?{kind} = ).*", rf"\g<1>{value}", text)
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
