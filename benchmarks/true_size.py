"""Trains true-size bases with random weights through `loratui train`, beside plain diffusers + PEFT, on one GPU.

    python benchmarks/true_size.py flux|sdxl|sd15 [--rungs A,B] [--again] [--seconds 540] [--steps 30] [--work DIR] [--out DIR] [--tiny]

Rungs (`true_size_rungs.py`): memory plans (`kept`, `compiled`, `partial`, `checkpointing`, `quantised-fp8`, `quantised-int8`,
`swapped-fp8`, `swapped-int8`, `swapped-bf16`, `nf4`), each forced; `capN`: the plan that loratui chooses within N GiB, above which
allocations fail; `default`: no setting at all, with samples, a kill -9 in the middle, the restart and an export; `hand-…`: diffusers and
PEFT in a script, with and without checkpointing, eager, compiled by blocks or as one CUDA graph. `+adamw`, `+eager`, `+fp16` and
`+uncompiled` change a rung, as in `compiled+adamw`; `+text` also trains text encoders, and `+dropout` drops; `+warm` repeats one
with what it has compiled; `+gpus2` and `+gpus4` train on so many GPUs of one machine; `+link25` slows the copies of swapped blocks to
25 GB/s. Without `--rungs`: all but those for several GPUs.

Each rung has processes of its own. The base is made once, in the work folder (34 GB for FLUX). The first call also measures the GPU's
ceilings. The results of all calls with the same work folder, sources and machine are one report, `true_size-FAMILY.json` in DIR: call it
again, and it goes on with the rungs that are missing. `--seconds` starts no rung after so many. `--tiny` tries everything on a CPU.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import estimated
from kept_results import range_of, slower_by_the_clock
from machine_facts import facts
from product_run import figures, inside, kill_in_the_middle, loratui, noise_images, runs_in, sets, trainer_log
from true_size_rungs import BY_HAND, FAMILIES, cap_of, link_of, place_of, settings_of, usual

FORMAT = 1
IMAGES = 4
TINY_LINK = 55.0
"""GB/s that a CPU is taken to have, where nothing is copied to a card."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("family", choices=list(FAMILIES))
    parser.add_argument("--work", type=Path, default=Path("/tmp/true-size"))
    parser.add_argument("--out", type=Path, default=Path(os.environ.get("OUT", ".")))
    parser.add_argument("--rungs", default="")
    parser.add_argument("--again", action="store_true", help="also measure rungs that are in the report")
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--tiny", action="store_true")
    args = parser.parse_args()
    began = time.monotonic()
    report = _report(args)
    for rung in args.rungs.split(",") if args.rungs else usual(args.family):
        known = report["rungs"].get(rung, {"failed": "not measured"})
        if "failed" in known or args.again:
            if time.monotonic() - began > args.seconds:
                print(f"{rung}: no time left; call it again")
                continue
            report["rungs"][rung] = known = measured(args, rung, report)
            for folder in (args.work, args.out):
                folder.mkdir(parents=True, exist_ok=True)
                (folder / f"true_size-{args.family}.json").write_text(json.dumps(report, indent=1) + "\n")
        print(rung, json.dumps(known), flush=True)
    print(table(report))


def _report(args: argparse.Namespace) -> dict[str, Any]:
    """The report of earlier calls with the same machine, versions and sources, else a new one."""
    family, command = FAMILIES[args.family], " ".join(["python", "benchmarks/true_size.py", *sys.argv[1:]])
    head = {
        "format": FORMAT,
        "benchmark": "true_size",
        "family": args.family,
        "tiny": args.tiny,
        "px": _px(args),
        "batch": family.batch,
        "rank": family.rank,
        **facts(),
    }
    stored = args.work / f"true_size-{args.family}.json"
    if stored.is_file():
        report: dict[str, Any] = json.loads(stored.read_text())
        if {key: report.get(key) for key in head if key != "date"} == {key: head[key] for key in head if key != "date"}:
            report["commands"].append(command)
            return report
    began = time.monotonic()
    if not (args.work / args.family / "model_index.json").is_file():
        _python(args, "make")
    made_s = round(time.monotonic() - began, 1)
    return {**head, "commands": [command], "base_made_s": made_s, "ceiling": json.loads(_python(args, "ceiling")), "rungs": {}}


def measured(args: argparse.Namespace, rung: str, report: Mapping[str, Any]) -> dict[str, Any]:
    """The figures of one rung, or why it failed."""
    began, family, ceiling = time.monotonic(), FAMILIES[args.family], report["ceiling"].get("bf16_tflops")
    try:
        found = json.loads(_python(args, rung)) if rung in BY_HAND else train(args, rung, report)
    except (RuntimeError, subprocess.SubprocessError) as error:
        found = {"failed": str(error)[-1500:]}
    else:
        processes = found.get("processes", 1)
        found["share"] = round(family.tflop * found["images_s"] / processes / ceiling, 3) if ceiling and not args.tiny else None
    return {**found, "cap_gib": cap_of(rung), "whole_s": round(time.monotonic() - began, 1)}


def train(args: argparse.Namespace, rung: str, report: Mapping[str, Any]) -> dict[str, Any]:
    """One run of the product on the base, and what its own event log says of it."""
    family, whole = FAMILIES[args.family], rung == "default"
    link, wanted = report["ceiling"].get("to_gpu_gb_s", TINY_LINK), link_of(rung)
    images = noise_images(args.work / f"images-{_px(args)}", IMAGES, _px(args), "a photo of qxz person")
    home = args.work / f"home-{args.family}-{place_of(rung)}"
    epochs = 2 if whole else 1  # so that no checkpoint falls between measured steps
    own = settings_of(rung)
    images_a_step = family.batch * int(own.get("training.processes", "1"))
    settings = {
        "schedule.folder_repeats": "false",
        "schedule.repeats": str(max(1, args.steps * images_a_step // (epochs * IMAGES))),
        "schedule.epochs": str(epochs),
        "schedule.image_steps": "0",
        "dataset.resolution": str(_px(args)),
        "dataset.buckets": "false",
        "training.batch_size": str(family.batch),
        "adapter.rank": str(family.rank),
        "adapter.alpha": str(family.rank),
        "samples.prompts": '["a photo of {subject}"]',
        "samples.width": "0",
        "samples.height": "0",
        "samples.steps": "4",
        "base.check": "off",  # its weights are random: there is nothing to read
        "samples.before_training": "false",
        "samples.measure": "false",
        "samples.every_image_steps": "0" if whole else "1000000",
        "output.checkpoint_every_s": ("1" if args.tiny else "5") if whole else "3600",
        "memory.device": "cpu" if args.tiny else "auto",
        **dict(one.split("=") for one in family.more),
        **own,
    }
    before, asked_at = runs_in(home), time.time()
    killed: list[int | None] = []
    done = loratui(
        *("train", str(images), "--preset", family.preset, "--base", str(args.work / args.family), "--trigger", "qxz"),
        *("--class", "person", "--home", str(home), "--plain", "--yes", "--wait", *sets(settings)),
        timeout=550,
        meanwhile=lambda alive: killed.append(kill_in_the_middle(home, before, alive)) if whole else None,
        environ=inside(SLOW_LINK=str(max(1.0, link / wanted))) if wanted else None,
    )
    new = runs_in(home) - before
    if done.code:
        logs = "\n".join(map(trainer_log, new))
        raise RuntimeError(f"loratui train ended with {done.code}: {(done.out + done.said)[-1500:]}{logs}")
    (run,) = new
    gpu = report["machine"]["gpu"]
    found = figures(run, asked_at) | {
        "link_gb_s": wanted,
        "estimated_ms": estimated.step_ms(family.preset, settings, gpu, wanted or link),
    }
    if whole:
        exported = loratui("export", run.name, "--home", str(home), "--json")
        found |= {"killed_at_step": killed[0], "export_exit": exported.code}
    return found


def table(report: dict[str, Any]) -> str:
    """The report for people."""
    what = (
        f"{report['family']}, {report['px']} px, batch {report['batch']}, rank {report['rank']}, on {report['machine']['gpu']}"
    )
    heads = f"{'ms a step':>26}{'estimated':>12}{'images/s':>10}{'alloc GiB':>11}{'reserved':>10}{'share':>8}{'compile s':>11}{'first step s':>14}"
    lines = [f"{what}; ceiling {json.dumps(report['ceiling'])}", f"{'rung':<28}{heads}  plan"]
    for rung, found in report["rungs"].items():
        if "failed" in found:
            lines.append(f"{rung:<28}failed: {found['failed'].strip().splitlines()[-1][:120]}")
            continue
        median, least, most = found["step_ms"]
        clock = f" {wall:.0f} by the clock" if (wall := slower_by_the_clock(found)) else ""
        share = "–" if found["share"] is None else f"{found['share']:.1%}"
        lines.append(
            f"{rung:<28}{f'{median:.0f} ({least:.0f}–{most:.0f})':>26}{range_of(found.get('estimated_ms')):>12}{found['images_s']:>10.2f}{_gib(found['allocated_gib']):>11}"
            f"{_gib(found['reserved_gib']):>10}{share:>8}{found['compile_s']:>11.1f}{found['first_step_s']:>14.1f}  {found.get('plan', '')}{clock}  {found.get('fit', '')}".rstrip()
        )
    lines += [f"start of {rung}: {_start(found)}" for rung, found in report["rungs"].items() if "start_s" in found]
    return "\n".join(lines)


def _start(found: dict[str, Any]) -> str:
    """Where the time to the first step went."""
    parts = [f"{name} {seconds:.1f} s" for name, seconds in found["start_s"]]
    parts += [f"{name} ({found[name]})" for name in ("compiling", "waiting", "recording") if found[name]]
    return ", ".join(parts)


def _gib(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def _px(args: argparse.Namespace) -> int:
    return 64 if args.tiny else FAMILIES[args.family].px


def _python(args: argparse.Namespace, job: str) -> str:
    """The last line of a job with torch, in a process of its own, so that the GPU is empty afterwards."""
    script = Path(__file__).with_name("true_size_jobs.py")
    words = [job, args.family, str(args.work), "--began", str(time.time()), *(["--tiny"] if args.tiny else [])]
    done = subprocess.run([sys.executable, str(script), *words], capture_output=True, text=True, check=False, timeout=550)
    if done.returncode:
        raise RuntimeError(done.stderr[-3000:])
    return (done.stdout.splitlines() or [""])[-1]


if __name__ == "__main__":
    main()
