"""Trains the demo's images in several number formats, of the computation and of the frozen base, and compares what comes of it.

    python benchmarks/precision.py [--families sd15,flux] [--formats bf16,fp32,fp8,int8,nf4] [--image-steps 1800] [--likeness] [--at-once N] [--out DIR]

Seed, order and noise are the same, so that the formats differ in rounding alone; `seed` is bf16 with another seed, as a yardstick. For each
family and format, against the first format: the loss and the norm of the first step, the losses of the first 60 steps, the mean loss of
each epoch, and how far the LoRA is from the first format's (distance of all its changes, as a share of their length). `--likeness`: also how
like the person its images are (`likeness.py`). All of it is in DIR/precision-FAMILY.json. `--at-once`: so many runs at the same time, as a
GPU has room for. On a CPU, fp8 and int8 have the numbers of a card, but not its speed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from machine_facts import facts
from product_run import events_of, inside, loratui, runs_in, sets
from safetensors.torch import load

from loratui.engine.runs.events import Event
from loratui.presets.bases import DEMO_CLASS, DEMO_TRIGGER, demo_dataset

PRESETS = {"sd15": "demo", "sdxl": "demo:sdxl", "flux": "demo:flux"}

FORMATS = {
    "fp32": {"training.precision": "fp32"},
    "bf16": {"training.precision": "bf16"},
    "fp16": {"training.precision": "fp16"},
    "fp8": {"training.precision": "bf16", "memory.quantise": "fp8"},
    "int8": {"training.precision": "bf16", "memory.quantise": "int8"},
    "nf4": {"training.precision": "bf16", "memory.plan": "nf4"},
    "seed": {"training.precision": "bf16", "training.seed": "43"},
}
FIRST = 60
"""Steps whose losses are compared one by one."""


@dataclass(frozen=True)
class Run:
    """What a run left behind."""

    events: list[Event]
    lora: bytes
    """Its LoRA file."""
    likeness: float | None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--families", default="sd15,flux")
    parser.add_argument("--formats", default="bf16,fp32,fp8,int8,nf4")
    parser.add_argument("--image-steps", type=int, default=360)
    parser.add_argument("--likeness", action="store_true")
    parser.add_argument("--at-once", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path(os.environ.get("OUT", ".")))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    families, formats = args.families.split(","), args.formats.split(",")
    command = " ".join(["python", "benchmarks/precision.py", *sys.argv[1:]])
    head = {"format": 1, "benchmark": "precision", "tiny": False, "commands": [command], **facts()}
    with ThreadPoolExecutor(args.at_once) as pool:
        begun = {
            (family, name): pool.submit(train, family, FORMATS[name], args.image_steps, args.at_once, reads=args.likeness)
            for family in families
            for name in formats
        }
        for family in families:
            runs: dict[str, Run] = {}
            rungs: dict[str, dict[str, Any]] = {}
            for name in formats:
                runs[name] = made = begun[family, name].result()
                rungs[name] = figures(made, runs[formats[0]])
                report = {**head, "family": family, "against": formats[0], "image_steps": args.image_steps, "rungs": rungs}
                (args.out / f"precision-{family}.json").write_text(json.dumps(report, indent=1) + "\n")
            print("\n".join(table(family, rungs)), flush=True)


def train(family: str, own: Mapping[str, str], image_steps: int, at_once: int, *, reads: bool = False) -> Run:
    """One of so many runs at once, with settings of its own; `reads`: with the likeness of its images."""
    threads = max(1, len(os.sched_getaffinity(0)) // at_once)
    settings = {
        **own,
        "schedule.image_steps": str(image_steps),
        "samples.every_image_steps": "1000000",
        "samples.before_training": "false",
        "samples.measure": "false",
        "samples.steps": "1",
        "base.check": "off",
        "output.checkpoint_every_s": "3600",
        "optimizer.name": "adamw",
        "memory.threads": str(threads),
    }
    with tempfile.TemporaryDirectory() as home:
        done = loratui(
            *("train", str(demo_dataset()), "--preset", PRESETS[family], "--trigger", DEMO_TRIGGER, "--class", DEMO_CLASS),
            *("--home", home, "--yes", "--wait", "--plain", *sets(settings)),
            timeout=3600,
            environ=inside(EVERY_STEP="1"),
        )
        if done.code:
            raise RuntimeError(f"{family} with {own} ended with {done.code}: {(done.out + done.said)[-2000:]}")
        (run,) = runs_in(Path(home))
        events = list(events_of(run))
        lora = run / [e.fields["path"] for e in events if e.type == "output_written"][-1]
        return Run(events, lora.read_bytes(), likeness(lora, threads) if reads else None)


def likeness(lora: Path, threads: int) -> float:
    """The share of the person's features that the reader finds in images at strength 1."""
    words = [sys.executable, str(Path(__file__).with_name("likeness.py")), str(lora), "--strengths", "1", "--json"]
    environ = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    made = subprocess.run(words, capture_output=True, text=True, check=True, env=environ)
    return round(json.loads(made.stdout.splitlines()[-1])["1"]["likeness"], 3)


def figures(run: Run, reference: Run) -> dict[str, Any]:
    """What a run did, and how far it is from the reference."""
    steps, others = ([e.fields for e in one.events if e.type == "step"] for one in (run, reference))
    curve, other_curve = ([e.fields["loss"] for e in one.events if e.type == "epoch_finished"] for one in (run, reference))
    started = next(e.fields for e in run.events if e.type == "run_started")
    first = [_relative(a["loss"], b["loss"]) for a, b in zip(steps[:FIRST], others[:FIRST], strict=True)]
    return {
        "device": started["device"],
        "dtype": started["dtype"],
        "plan": started["memory_plan"],
        "steps": steps[-1]["step"],
        "first_loss_differs": first[0],
        "first_norm_differs": _relative(steps[0]["grad_norm"], others[0]["grad_norm"]),
        "losses_differ": [round(statistics.median(first), 6), max(first)],
        "epoch_loss_differs": max(_relative(a, b) for a, b in zip(curve, other_curve, strict=True)),
        "last_loss": round(curve[-1], 5),
        "lora_differs": distance(run.lora, reference.lora),
        "likeness": run.likeness,
        "losses": [round(step["loss"], 5) for step in steps[:FIRST]],
        "curve": [round(loss, 5) for loss in curve],
        "repeated": steps[-1].get("repeated", 0),
        "step_s": round(statistics.median(s["step_s"] for s in steps if s["step"] > 10), 5),
        "memory_gib": round(max((s.get("memory_gib", 0.0) for s in steps), default=0.0), 3),
        "warnings": [e.fields["code"] for e in run.events if e.type == "warning"],
    }


def table(family: str, rungs: Mapping[str, Mapping[str, Any]]) -> Iterable[str]:
    """The figures for people."""
    heads = ("first loss", "its norm", "60 losses", "at most", "an epoch", "LoRA", "last loss", "likeness", "step, ms")
    yield f"{family:<10}{''.join(f'{head:>11}' for head in heads)}  plan"
    for name, found in rungs.items():
        apart = ("first_loss_differs", "first_norm_differs", *("losses_differ",) * 2, "epoch_loss_differs", "lora_differs")
        values = [found[key][1 if at == 3 else 0] if key == "losses_differ" else found[key] for at, key in enumerate(apart)]
        cells = [f"{value:.2e}" for value in values] + [f"{found['last_loss']:.5f}"]
        cells += ["" if found["likeness"] is None else f"{found['likeness']:.3f}", f"{1000 * found['step_s']:.1f}"]
        yield f"{name:<10}{''.join(f'{cell:>11}' for cell in cells)}  {found['plan']}"


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


def _relative(value: float, reference: float) -> float:
    return round(abs(value - reference) / abs(reference), 6)


if __name__ == "__main__":
    main()
