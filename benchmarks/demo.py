"""Times `loratui demo` from its start to its LoRA file, and measures how like the person the result is.

    python benchmarks/demo.py [--family sd15] [--device cpu] [--out DIR]

Prints the seconds of the whole, of training and of samples, steps a second, and the likeness at strength 1 (`likeness.py`). The figures
lie in DIR/demo-FAMILY.json too. Other programs on the machine slow it down: its load is told.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from machine_facts import facts
from product_run import events_of, loratui, runs_in


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--family", default="sd15")
    parser.add_argument("--device", choices=["auto", "cpu"], default="cpu")
    parser.add_argument("--out", type=Path, default=Path(os.environ.get("OUT", ".")))
    args = parser.parse_args()
    head = {"format": 1, "benchmark": "demo", "family": args.family, "tiny": False, "device": args.device, **facts()}
    command = " ".join(["python", "benchmarks/demo.py", *sys.argv[1:]])
    report = {**head, "commands": [command], "rungs": {args.family: measured(args.family, args.device)}}
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / f"demo-{args.family}.json").write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report["rungs"]))


def measured(family: str, device: str) -> dict[str, Any]:
    """The figures of one demo."""
    with tempfile.TemporaryDirectory() as home:
        load, began = os.getloadavg()[0], time.monotonic()
        done = loratui("demo", "--family", family, "--device", device, "--home", home, "--json", timeout=3600)
        whole_s = time.monotonic() - began
        if done.code:
            raise RuntimeError(f"loratui demo ended with {done.code}: {done.said[-2000:]}")
        (run,) = runs_in(Path(home))
        events = events_of(run)
        changes = [(e.fields["phase"], e.ts) for e in events if e.type == "phase_changed"]
        changes.append(("", events[-1].ts))
        phases: Counter[str] = Counter()
        for (phase, at), (_, after) in itertools.pairwise(changes):
            phases[phase] += after - at
        steps = max(e.fields["step"] for e in events if e.type == "step")
        return {
            "whole_s": round(whole_s, 1),
            "phases_s": {phase: round(seconds, 1) for phase, seconds in phases.items()},
            "steps": steps,
            "steps_s": round(steps / phases["training"], 2),
            "plan": next(e.fields["memory_plan"] for e in events if e.type == "run_started"),
            "processes": next(e.fields.get("processes", 1) for e in events if e.type == "run_started"),
            "load_before": round(load, 1),
            "likeness": _likeness(json.loads(done.out)["output"]),
        }


def _likeness(lora: str) -> float:
    """The share of the person's features that the reader finds in images at strength 1."""
    script = Path(__file__).with_name("likeness.py")
    words = [sys.executable, str(script), lora, "--strengths", "1", "--json"]
    made = subprocess.run(words, capture_output=True, text=True, check=True)
    return round(json.loads(made.stdout.splitlines()[-1])["1"]["likeness"], 3)


if __name__ == "__main__":
    main()
