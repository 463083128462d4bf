"""Trains true-size bases with random weights through `loratui train`, and compares its step with plain diffusers + PEFT.

    python benchmarks/true_size.py flux|sdxl|sd15 [--work DIR] [--out DIR] [--rungs A,B] [--steps 40] [--tiny]

Rungs: `default` (with samples, a kill -9 in the middle, the resume and an export), `kept` (activations kept, not compiled),
`checkpointing` (gradient checkpointing, not compiled), `compiled` (activations kept, blocks compiled), `kept-eager` and
`compiled-eager` (no CUDA graphs: the CPU launches every kernel), `compiled-adamw`, `kept-fp16`, `checkpointing-fp16` and
`compiled-fp16` (fp16 with a scaled loss), `reference` (diffusers and PEFT by hand, with checkpointing and the same targets,
rank and batch), `graph` (the same by hand without checkpointing, replayed as one CUDA graph). Each finished rung writes its
figures to DIR/true_size-FAMILY.json. The script makes the base once, in the work folder (34 GB for FLUX), and uses it again.
`--tiny` tries everything on a CPU.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

_KEPT = ("memory.gradient_checkpointing=off", "memory.compile=off")
_COMPILED = ("memory.gradient_checkpointing=off", "memory.compile=on")
_EAGER = "memory.cuda_graphs=off"
RUNGS: dict[str, tuple[str, ...]] = {
    "default": (),
    "kept": _KEPT,
    "kept-eager": (*_KEPT, _EAGER),
    "checkpointing": ("memory.gradient_checkpointing=on", "memory.compile=off"),
    "compiled": _COMPILED,
    "compiled-eager": (*_COMPILED, _EAGER),
    "compiled-adamw": (*_COMPILED, "optimizer.name=adamw"),
    "kept-fp16": (*_KEPT, "training.precision=fp16"),
    "checkpointing-fp16": ("memory.gradient_checkpointing=on", "memory.compile=off", "training.precision=fp16"),
    "compiled-fp16": (*_COMPILED, "training.precision=fp16"),
}
BY_HAND = ("reference", "graph")
PRESETS = {
    "flux": ("flux-identity-18img", 1024, 1, 16, ()),
    "sdxl": ("sdxl-person", 1024, 2, 32, ("training.train_text_encoder=false",)),
    "sd15": ("sd15-portrait", 512, 2, 32, ()),
}
"""Family -> preset, side in px, batch, rank, and other settings."""

IMAGES = 4
LEFT_OUT = 10
"""First steps, not measured: they choose kernels and fill the allocator."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("family", choices=list(PRESETS))
    parser.add_argument("--work", type=Path, default=Path("/tmp/true-size"))
    parser.add_argument("--out", type=Path, default=Path(os.environ.get("OUT", ".")))
    parser.add_argument("--rungs", default="default,kept,checkpointing,compiled,reference")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--tiny", action="store_true")
    args = parser.parse_args()
    began = time.monotonic()
    if not (args.work / args.family / "model_index.json").is_file():
        _python(args, "make")
    report = {"family": args.family, "tiny": args.tiny, "base_made_s": round(time.monotonic() - began, 1), "rungs": {}}
    for rung in args.rungs.split(","):
        began = time.monotonic()
        try:
            report["rungs"][rung] = _by_hand(args, rung) if rung in BY_HAND else train(args, rung)
        except (RuntimeError, subprocess.SubprocessError) as error:
            report["rungs"][rung] = {"failed": str(error)[-2000:]}
        report["rungs"][rung]["whole_s"] = round(time.monotonic() - began, 1)
        print(rung, json.dumps(report["rungs"][rung]), flush=True)
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / f"true_size-{args.family}.json").write_text(json.dumps(report, indent=1))


def train(args: argparse.Namespace, rung: str) -> dict[str, Any]:
    """One run of the product on the base, and what its own event log says of it."""
    preset, side, batch, rank, more = PRESETS[args.family]
    side = 64 if args.tiny else side
    images, home = _images(args.work / f"images-{side}", side), args.work / f"home-{args.family}"
    whole = rung == "default"
    steps = args.steps if whole else min(args.steps, 30)
    sets = {
        "schedule.folder_repeats": "false",
        "schedule.repeats": str(max(1, steps * batch // (2 * IMAGES))),
        "schedule.epochs": "2",
        "schedule.image_steps": "0",
        "dataset.resolution": str(side),
        "dataset.buckets": "false",
        "training.batch_size": str(batch),
        "adapter.rank": str(rank),
        "adapter.alpha": str(rank),
        "samples.prompts": '["a photo of {subject}"]',
        "samples.width": "0",
        "samples.height": "0",
        "samples.steps": "4",
        "base.check": "off",  # its weights are random: there is nothing to read
        "samples.before_training": "false",
        "samples.every_image_steps": "0" if whole else "1000000",
        "output.checkpoint_every_s": "1" if args.tiny else "5",
    }
    extra = [*(f"{key}={value}" for key, value in sets.items()), *more, *RUNGS[rung]]
    command = [
        *_LORATUI, "train", str(images), "--preset", preset, "--base", str(args.work / args.family), "--trigger", "qxz",
        "--class", "person", "--home", str(home), "--plain", "--yes", "--wait", *(part for one in extra for part in ("--set", one)),
    ]  # fmt: skip
    before = set((home / "runs").glob("*")) if (home / "runs").is_dir() else set()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    killed = _kill_in_the_middle(process, home, before) if whole else None
    words, _ = process.communicate(timeout=550)
    if process.returncode:
        raise RuntimeError(f"loratui train ended with {process.returncode}: {words[-1500:]}{_trainer_log(home, before)}")
    (run,) = set((home / "runs").glob("*")) - before
    found = figures(run)
    if whole:
        found["killed_at_step"] = killed
        found["export"] = _export(home, run)
    return found


def figures(run: Path) -> dict[str, Any]:
    """Step time, memory and products of a run, from its event log."""
    from loratui.engine.runs.events import read_events

    events = read_events(run / "events.jsonl", max_bytes=1 << 26).events
    steps = [event for event in events if event.type == "step"]
    measured = [event.fields["step_s"] for event in steps if event.fields["step"] > LEFT_OUT]
    phases = [(event.fields["phase"], event.fields["text"], event.ts) for event in events if event.type == "phase_changed"]
    return {
        "steps": max((event.fields["step"] for event in steps), default=0),
        "step_s": {
            "median": _round(statistics.median(measured)),
            "least": _round(min(measured)),
            "most": _round(max(measured)),
        },
        "memory_gib": _round(max((event.fields.get("memory_gib", 0.0) for event in steps), default=0.0)),
        "loss": [_round(event.fields["loss"]) for event in steps[:1] + steps[-1:]],
        "grad_norm": [_round(event.fields["grad_norm"]) for event in steps[:1] + steps[-1:]],
        "repeated": max((event.fields.get("repeated", 0) for event in steps), default=0),
        "until_first_step_s": _round(steps[0].ts - events[0].ts),
        "phases_s": [[name, text, _round(after - at)] for (name, text, at), (_, _, after) in itertools.pairwise(phases)],
        "starts": [event.fields["resumed_step"] for event in events if event.type == "run_started"],
        "samples": sum(event.type == "sample_written" for event in events),
        "checkpoints": [
            [e.fields["step"], e.fields["reason"], e.fields["seconds"]] for e in events if e.type == "checkpoint_written"
        ],
        "outputs": [[e.fields["path"], e.fields["bytes"]] for e in events if e.type == "output_written"],
        "warnings": [[e.fields["code"], e.fields["message"]] for e in events if e.type == "warning"],
        "ended": [[e.fields["signal"], e.fields["exit_code"]] for e in events if e.type == "trainer_ended"],
    }


def _kill_in_the_middle(process: subprocess.Popen[str], home: Path, before: set[Path]) -> int | None:
    """Kills the trainer some steps after its first checkpoint; returns the step, or None if it was too quick for that."""
    from loratui.engine.runs.events import read_events

    end = time.monotonic() + 400
    while process.poll() is None and time.monotonic() < end:
        time.sleep(0.05)
        for run in set((home / "runs").glob("*")) - before if (home / "runs").is_dir() else ():
            events = read_events(run / "events.jsonl", max_bytes=1 << 24).events if (run / "events.jsonl").is_file() else ()
            saved = max((e.fields["step"] for e in events if e.type == "checkpoint_written"), default=None)
            last = max((e.fields["step"] for e in events if e.type == "step"), default=0)
            if saved is not None and last >= saved + 2:
                pid = [e.fields["pid"] for e in events if e.type == "trainer_started"][-1]
                os.kill(pid, signal.SIGKILL)
                return int(last)
    return None


def _export(home: Path, run: Path) -> Any:
    done = subprocess.run(
        [*_LORATUI, "export", run.name, "--home", str(home), "--json"], capture_output=True, text=True, check=False
    )
    return {"exit": done.returncode, "said": (done.stdout + done.stderr)[-1500:]}


def _by_hand(args: argparse.Namespace, rung: str) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(_python(args, rung).splitlines()[-1])
    return made


def _trainer_log(home: Path, before: set[Path]) -> str:
    logs = [run / "log" / "trainer.log" for run in set((home / "runs").glob("*")) - before]
    return "\n".join(log.read_text(errors="replace")[-3000:] for log in logs if log.is_file())


def _images(folder: Path, side: int) -> Path:
    if not folder.is_dir():
        from PIL import Image

        folder.mkdir(parents=True)
        for number in range(IMAGES):
            Image.effect_noise((side, side), 40 + number).convert("RGB").save(folder / f"{number}.png")
            (folder / f"{number}.txt").write_text(f"a photo of qxz person, number {number}")
    return folder


_LORATUI = [sys.executable, "-m", "loratui.tui.cli"]


def _python(args: argparse.Namespace, job: str) -> str:
    """Does a job with torch in a process of its own, so that the GPU is empty afterwards."""
    script = Path(__file__).with_name("true_size_jobs.py")
    command = [sys.executable, str(script), job, args.family, str(args.work), *(["--tiny"] if args.tiny else [])]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=500)
    if done.returncode:
        raise RuntimeError(done.stderr[-3000:])
    return done.stdout


def _round(value: float) -> float:
    return round(value, 4)


if __name__ == "__main__":
    main()
