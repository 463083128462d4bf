"""Trains the demo's images in several number formats, of the computation and of the frozen base, and compares what comes of it.

    python benchmarks/precision.py [--families sd15,sdxl] [--formats fp32,bf16,fp16,fp8,int8,nf4] [--image-steps 360] [--likeness] [--out DIR]

Seed, order and noise are the same, so that the formats differ in rounding alone. For each family and format: the loss and the norm of the
first step against those of the first format, the mean loss of the last quarter, the largest relative difference of an epoch's loss, how
far the LoRA is from the first format's (distance of all its changes, as a share of their length), attempts that left the range of fp16,
the median step and the most memory. `--likeness` also measures how like the person its images are (`likeness.py`). All of it lies in
DIR/precision-FAMILY.json. On a CPU, fp8 and int8 have the numbers of a card, but not its speed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from machine_facts import facts
from safetensors.torch import load

from loratui.engine.runs.events import Event, read_events
from loratui.presets.bases import demo_dataset

PRESETS = {"sd15": "demo", "sdxl": "demo:sdxl", "flux": "demo:flux"}


FORMATS = {
    "fp32": {"training.precision": "fp32"},
    "bf16": {"training.precision": "bf16"},
    "fp16": {"training.precision": "fp16"},
    "fp8": {"training.precision": "auto", "memory.quantise": "fp8"},
    "int8": {"training.precision": "auto", "memory.quantise": "int8"},
    "nf4": {"training.precision": "auto", "memory.plan": "nf4"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--families", default="sd15,sdxl")
    parser.add_argument("--formats", default="fp32,bf16,fp16")
    parser.add_argument("--image-steps", type=int, default=360)
    parser.add_argument("--likeness", action="store_true")
    parser.add_argument("--out", type=Path, default=Path(os.environ.get("OUT", ".")))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for family in args.families.split(","):
        command = " ".join(["python", "benchmarks/precision.py", *sys.argv[1:]])
        head = {"format": 1, "benchmark": "precision", "family": family, "tiny": False, "commands": [command], **facts()}
        rungs: dict[str, dict[str, Any]] = {}
        first: Run | None = None
        for name in args.formats.split(","):
            made = train(family, name, args.image_steps)
            first = first or made
            rungs[name] = figures(made.events, first.events) | {"lora_differs": distance(made.lora, first.lora)}
            if args.likeness:
                rungs[name]["likeness"] = likeness(made.lora)
            print(family, name, json.dumps(rungs[name]), flush=True)
            (args.out / f"precision-{family}.json").write_text(json.dumps({**head, "rungs": rungs}, indent=1) + "\n")


@dataclass(frozen=True)
class Run:
    """What a run left behind."""

    events: list[Event]
    lora: bytes
    """Its LoRA file."""


def train(family: str, precision: str, image_steps: int) -> Run:
    """One run."""
    settings = {
        **FORMATS[precision],
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
            *(part for key, value in settings.items() for part in ("--set", f"{key}={value}")),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1200)
        if done.returncode:
            raise RuntimeError(f"{family} in {precision} ended with {done.returncode}: {(done.stdout + done.stderr)[-2000:]}")
        (run,) = (Path(home) / "runs").iterdir()
        events = list(read_events(run / "events.jsonl", max_bytes=1 << 26).events)
        written = [e.fields["path"] for e in events if e.type == "output_written"]
        return Run(events, (run / written[-1]).read_bytes())


def distance(lora: bytes, reference: bytes) -> float:
    """Distance of all changes of weights from the reference's, as a share of their length."""
    own, other = changes(lora), changes(reference)
    apart = sum(float((own[name] - other[name]).square().sum()) for name in other)
    return round((apart / sum(float(value.square().sum()) for value in other.values())) ** 0.5, 6)


def changes(lora: bytes) -> dict[str, torch.Tensor]:
    """up · down of each layer of a LoRA file; alpha and rank are the same in all."""
    tensors = load(lora)
    ends = next(pair for pair in NAMES if any(key.endswith(pair[0]) for key in tensors))
    downs = [key for key in tensors if key.endswith(ends[0])]
    return {
        key: tensors[key.removesuffix(ends[0]) + ends[1]].double().flatten(1) @ tensors[key].double().flatten(1)
        for key in downs
    }


NAMES = ((".lora_down.weight", ".lora_up.weight"), (".lora_A.weight", ".lora_B.weight"))


def likeness(lora: bytes) -> float:
    """The share of the person's features that the reader finds in images at strength 1."""
    with tempfile.NamedTemporaryFile(suffix=".safetensors") as file:
        file.write(lora)
        file.flush()
        script = Path(__file__).with_name("likeness.py")
        words = [sys.executable, str(script), file.name, "--strengths", "1", "--json"]
        made = subprocess.run(words, capture_output=True, text=True, check=True)
    return round(json.loads(made.stdout.splitlines()[-1])["1"]["likeness"], 3)


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
