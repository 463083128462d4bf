"""Measures what it costs a run that its samples are measured while it trains: the same run with and without, in turn.

    python benchmarks/live_measures.py [--family sd15|sdxl|flux] [--device auto|cpu] [--times 3] [--epochs 10] [--set KEY=VALUE …] [--tiny]

Each run is the real product: `loratui train` on the demo's images and an embedded base, with samples each epoch. `step_ms` is the wall
time from step to step within an epoch (samples and the end left out) by optimizer step; `worst_ms` the slowest step; `measuring_s` how long the process took for each epoch's samples, beside the training. `overhead` is the difference of the
medians, as a share. One JSON object.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from product_run import LEFT_OUT, events_of, inside, loratui, runs_in, sets

from loratui.engine.runs.events import Event
from loratui.presets.bases import DEMO_CLASS, DEMO_TRIGGER, demo_dataset


def measured(events: Sequence[Event]) -> dict[str, Any]:
    """The figures of one run by its log."""
    rare = [event for event in events if event.type in ("phase_changed", "step")]
    seconds, steps = 0.0, 0
    for before, after in itertools.pairwise(rare):
        if before.type == after.type == "step" and before.count("step") >= LEFT_OUT:
            seconds += after.at - before.at
            steps += after.count("step") - before.count("step")
    single = [event.number("step_s") or 0.0 for event in events if event.type == "step" and event.count("step") > LEFT_OUT]
    took = [event.number("seconds") or 0.0 for event in events if event.type == "samples_measured"]
    return {
        "step_ms": 1000 * seconds / max(1, steps),
        "worst_ms": 1000 * max(single, default=0.0),
        "measured": len(took),
        "measuring_s": [round(one, 3) for one in took],
        "likely_best": next((event.count("epoch") for event in reversed(events) if event.type == "likely_best"), None),
        "seconds": round(events[-1].at - events[0].at, 2) if events else None,
    }


def one_run(args: argparse.Namespace, home: Path, measure: bool) -> dict[str, Any]:
    """Trains once."""
    settings = {
        "base.family": args.family,
        "base.model": f"embedded:{args.family}",
        "memory.device": args.device,
        "schedule.epochs": str(args.epochs),
        "samples.measure": str(measure).lower(),
        **dict(one.split("=", 1) for one in args.set),
    }
    before = runs_in(home)
    words = ("train", str(demo_dataset()), "--preset", "demo", "--trigger", DEMO_TRIGGER, "--class", DEMO_CLASS)
    done = loratui(*words, *sets(settings), "--home", str(home), "--wait", environ=inside(EVERY_STEP="1"))
    (run,) = runs_in(home) - before
    if done.code:
        sys.exit(f"a run ended with {done.code}: {done.said[-2000:]}")
    return {"measure": measure, **measured(events_of(run))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--family", default="sd15", choices=["sd15", "sdxl", "flux"])
    parser.add_argument("--device", default="auto", choices=["auto", "cpu"])
    parser.add_argument("--times", type=int, default=3, help="runs of each kind")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--tiny", action="store_true")
    args = parser.parse_args()
    if args.tiny:
        args.times, args.epochs = 1, 2
        args.set = ["schedule.repeats=1", "samples.every_image_steps=0", "samples.steps=1", *args.set]
    with tempfile.TemporaryDirectory() as folder:
        rows = [one_run(args, Path(folder), measure) for _ in range(args.times) for measure in (False, True)]
    with_, without = (statistics.median(row["step_ms"] for row in rows if row["measure"] is on) for on in (True, False))
    print(json.dumps({"family": args.family, "device": args.device, "overhead": round(with_ / without - 1, 4), "runs": rows}))


if __name__ == "__main__":
    main()
