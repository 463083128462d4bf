"""Trains with held-out images through `loratui train`, and reads what measuring their loss takes and shows.

    python benchmarks/held_out.py [--cases A,B] [--times N] [--seconds S] [--work DIR] [--out DIR] [--device auto|cpu] [--tiny]

Cases: `sd15`, `sdxl`, `flux`: the demo's images on the embedded base, `--times` times as long as the demo (3), so that the loss on held-out
images falls and rises again; `true-FAMILY-RUNG`: a base of the family's true size with random weights (made in the work folder as
`true_size.py` makes it), with a rung of `true_size_rungs.py` such as `compiled` or `swapped-fp8`, where only time and memory mean something.
Each case is trained a second time without held-out images: both end with the same time a step. A case that is in the report of an
earlier call is not measured again; `--seconds` starts none after so many. `--tiny` tries everything on a CPU within a minute.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from machine_facts import command, facts
from product_run import events_of, figures, loratui, noise_images, runs_in, sets, trainer_log
from true_size_rungs import FAMILIES, settings_of

from loratui.engine.runs.events import Event
from loratui.presets.bases import DEMO_CLASS, DEMO_TRIGGER, demo_dataset

FORMAT = 1
USUAL = ("sd15", "sdxl", "flux", "true-sdxl-compiled", "true-flux-compiled", "true-flux-swapped-fp8")
IMAGES = 12


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", default=",".join(USUAL))
    parser.add_argument("--times", type=float, default=3.0)
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--work", type=Path, default=Path("/tmp/held-out"))
    parser.add_argument("--out", type=Path, default=Path(os.environ.get("OUT", ".")))
    parser.add_argument("--device", choices=["auto", "cpu"], default="auto")
    parser.add_argument("--tiny", action="store_true")
    args = parser.parse_args()
    began, stored = time.monotonic(), args.work / "held_out.json"
    report: dict[str, Any] = {"format": FORMAT, "benchmark": "held_out", "tiny": args.tiny, **facts(), "cases": {}}
    if stored.is_file():
        report["cases"] = json.loads(stored.read_text())["cases"]
    for case in args.cases.split(","):
        if "failed" in report["cases"].get(case, {"failed": ""}):
            if time.monotonic() - began > args.seconds:
                print(f"{case}: no time left; call it again")
                continue
            report["cases"][case] = measured(args, case)
            for folder in (args.work, args.out):
                folder.mkdir(parents=True, exist_ok=True)
                (folder / "held_out.json").write_text(json.dumps({**report, "command": command()}, indent=1) + "\n")
        print(in_words(case, report["cases"][case]), flush=True)


def measured(args: argparse.Namespace, case: str) -> dict[str, Any]:
    """The figures of one case, or why it failed."""
    try:
        held, alone = (_trained(args, case, with_images) for with_images in (True, False))
    except RuntimeError as error:
        return {"failed": str(error)[-1500:]}
    return {**read(held), "step_ms": figures(held)["step_ms"], "step_ms_without": figures(alone)["step_ms"]}


def read(run: Path) -> dict[str, Any]:
    """What the log of a run says of its measurements."""
    events = events_of(run)
    told = [event for event in events if event.type == "held_out"]
    images = [event for event in events if event.type == "image_losses"]
    steps = [event for event in events if event.type == "step"]
    step_s = statistics.median(event.fields["step_s"] for event in steps)
    after = sum(event.fields["seconds"] for event in told if event.fields["epoch"])
    passes = sum(len(event.fields["images"]) * event.fields["draws"] for event in told if event.fields["epoch"])
    curve = [[event.fields["epoch"], event.fields["loss"], event.fields["base_loss"]] for event in told]
    return {
        "epochs": curve,
        "one_base": len({base for _, _, base in curve}) == 1,
        "lowest_epoch": min(curve, key=lambda row: row[1])[0],
        "first_s": told[0].fields["seconds"],
        "pass_ms": round(1000 * after / max(1, passes), 2),
        "pass_in_image_steps": round(after / max(1, passes) / (step_s / _images_a_step(events)), 3),
        "share": round(after / _training_s(steps), 4),
        "images_share": round(sum(event.fields["seconds"] for event in images) / _training_s(steps), 4),
        "pulls": images[-1].fields["pulls"] if images else None,
        "warnings": [event.fields["code"] for event in events if event.type == "warning"],
    }


def _images_a_step(events: Sequence[Event]) -> int:
    started = next(event.fields for event in events if event.type == "run_started")
    return int(started["batch_size"] * started["accumulation"])


def _training_s(steps: Sequence[Event]) -> float:
    """From the first step to the last, with all that lies between."""
    return max(1e-9, steps[-1].ts - steps[0].ts)


def _trained(args: argparse.Namespace, case: str, held_out: bool) -> Path:
    """One run. Raises `RuntimeError` if it fails."""
    home = args.work / f"home-{case}-{'held' if held_out else 'alone'}"
    folder, base, settings = _true_size(args, case) if case.startswith("true-") else _embedded(args, case)
    settings |= {"samples.before_training": "false", "samples.every_image_steps": "1000000", "training.processes": "1"}
    settings |= {"samples.measure": "false"}
    settings |= {"memory.device": "cpu"} if args.device == "cpu" or args.tiny else {}
    settings |= {"dataset.held_out": "auto"} if held_out else {}
    before = runs_in(home)
    done = loratui(
        *("train", str(folder), "--preset", settings.pop("preset"), "--base", base, "--trigger", DEMO_TRIGGER),
        *("--class", DEMO_CLASS, "--home", str(home), "--plain", "--yes", "--wait", *sets(settings)),
    )
    new = runs_in(home) - before
    if done.code or len(new) != 1:
        raise RuntimeError(
            f"loratui train ended with {done.code}: {(done.out + done.said)[-1500:]}{''.join(map(trainer_log, new))}"
        )
    return new.pop()


def _embedded(args: argparse.Namespace, family: str) -> tuple[Path, str, dict[str, str]]:
    epochs = 2 if args.tiny else round(10 * args.times)
    more = {} if family != "flux" else {"training.min_snr_gamma": "0", "training.high_noise_bias": "0"}
    settings = {"base.family": family, "schedule.repeats": "1" if args.tiny else "10", "schedule.epochs": str(epochs)}
    return demo_dataset(), f"embedded:{family}", {"preset": "demo", **settings, **more}


def _true_size(args: argparse.Namespace, case: str) -> tuple[Path, str, dict[str, str]]:
    _, name, rung = case.split("-", 2)
    family, px = FAMILIES[name], 64 if args.tiny else FAMILIES[name].px
    base = args.work / name
    if not (base / "model_index.json").is_file():
        import torch
        from made_bases import make_base

        make_base(name, base, tiny=args.tiny, device=torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    settings = {
        "preset": family.preset,
        "schedule.folder_repeats": "false",
        "schedule.repeats": "2" if args.tiny else "10",
        "schedule.epochs": "2",
        "schedule.image_steps": "0",
        "dataset.resolution": str(px),
        "dataset.buckets": "false",
        "training.batch_size": str(family.batch),
        "adapter.rank": str(family.rank),
        "base.check": "off",  # its weights are random: there is nothing to read
        **dict(one.split("=") for one in family.more),
        **({} if args.tiny else settings_of(rung)),
    }
    return noise_images(args.work / f"images-{px}", IMAGES, px, "a photo of anafox woman"), str(base), settings


def in_words(case: str, found: dict[str, Any]) -> str:
    """A case for people."""
    if "failed" in found:
        return f"{case}: failed: {found['failed'].strip().splitlines()[-1][:160]}"
    last, low = found["epochs"][-1], found["epochs"][found["lowest_epoch"]]
    return (
        f"{case}: held out {low[1] / low[2] - 1:+.1%} at epoch {low[0]}, {last[1] / last[2] - 1:+.1%} at epoch {last[0]}; "
        f"a pass {found['pass_ms']} ms = {found['pass_in_image_steps']} image-steps; {found['share']:.1%} of the time, each image "
        f"{found['images_share']:.1%}; a step {found['step_ms'][0]} ms, without {found['step_ms_without'][0]} ms; {found['warnings']}"
    )


if __name__ == "__main__":
    main()
