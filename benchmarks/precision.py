"""Trains the demo's images in several number formats and compares losses, gradients, step time and memory.

    python benchmarks/precision.py [--families sd15,sdxl] [--formats fp32,bf16,fp16] [--image-steps 360] [--out DIR]

Seed, order and noise are the same, so that the formats differ in rounding alone. For each family and format: the loss and the norm of the
first step against those of fp32, the mean loss of the last quarter, the largest relative difference of an epoch's loss, attempts that left
the range of fp16, the median step and the most memory. All of it lies in DIR/precision.json too.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from loratui.engine.runs.events import Event, read_events
from loratui.presets.bases import demo_dataset

PRESETS = {"sd15": "demo", "sdxl": "demo:sdxl"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--families", default="sd15,sdxl")
    parser.add_argument("--formats", default="fp32,bf16,fp16")
    parser.add_argument("--image-steps", type=int, default=360)
    parser.add_argument("--out", type=Path, default=Path(os.environ.get("OUT", ".")))
    args = parser.parse_args()
    report: dict[str, dict[str, Any]] = {}
    for family in args.families.split(","):
        made = {name: train(family, name, args.image_steps) for name in args.formats.split(",")}
        report[family] = {name: figures(made[name], next(iter(made.values()))) for name in made}
        for name, found in report[family].items():
            print(family, name, json.dumps(found), flush=True)
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "precision.json").write_text(json.dumps(report, indent=1))


def train(family: str, precision: str, image_steps: int) -> list[Event]:
    """The events of one run."""
    sets = {
        "training.precision": precision,
        "schedule.image_steps": str(image_steps),
        "samples.every_image_steps": "1000000",
        "samples.before_training": "false",
        "samples.steps": "1",
        "optimizer.name": "adamw",
    }
    with tempfile.TemporaryDirectory() as home:
        command = [
            *(sys.executable, "-m", "loratui.tui.cli", "train", str(demo_dataset()), "--preset", PRESETS[family]),
            *("--trigger", "anafox", "--class", "woman", "--home", home, "--yes", "--wait", "--plain"),
            *(part for key, value in sets.items() for part in ("--set", f"{key}={value}")),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=550)
        if done.returncode:
            raise RuntimeError(f"{family} in {precision} ended with {done.returncode}: {(done.stdout + done.stderr)[-2000:]}")
        (run,) = (Path(home) / "runs").iterdir()
        return list(read_events(run / "events.jsonl", max_bytes=1 << 26).events)


def figures(events: list[Event], reference: list[Event]) -> dict[str, Any]:
    """What a run did, and how far it is from the first one."""
    steps, epochs = ([e.fields for e in events if e.type == kind] for kind in ("step", "epoch_finished"))
    own_steps, own_epochs = ([e.fields for e in reference if e.type == kind] for kind in ("step", "epoch_finished"))
    last = steps[-1]["step"]
    started = next(e.fields for e in events if e.type == "run_started")
    return {
        "device": started["device"],
        "dtype": started["dtype"],
        "steps": last,
        "first_loss_differs": _relative(steps[0]["loss"], own_steps[0]["loss"]),
        "first_norm_differs": _relative(steps[0]["grad_norm"], own_steps[0]["grad_norm"]),
        "epoch_loss_differs": max(_relative(a["loss"], b["loss"]) for a, b in zip(epochs, own_epochs, strict=True)),
        "last_quarter_loss": round(statistics.fmean(s["loss"] for s in steps if s["step"] > 0.75 * last), 5),
        "repeated": steps[-1].get("repeated", 0),
        "step_s": round(statistics.median(s["step_s"] for s in steps if s["step"] > 10), 5),
        "memory_gib": round(max((s.get("memory_gib", 0.0) for s in steps), default=0.0), 3),
        "warnings": [e.fields["code"] for e in events if e.type == "warning"],
    }


def _relative(value: float, reference: float) -> float:
    return round(abs(value - reference) / abs(reference), 6)


if __name__ == "__main__":
    main()
