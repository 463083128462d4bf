"""Times validation images against a plain diffusers loop: images a second, one at a time and in batches.

    python benchmarks/validation_speed.py flux|sdxl|sd15 [--ways A,B] [--images N] [--seconds 540] [--work DIR] [--out DIR] [--cpu]

Ways: `loratui` is the job itself (`validate`), with as many images at once as it chooses; `loratui-N` holds it to N; `diffusers` is the
loop that people write (the pipeline, `load_lora_weights`, a prompt after the other, each image saved); `diffusers-N` calls it with N
prompts at once. All have the same base, LoRA file, prompts, seeds, size, steps, guidance, sampler and number format. Bases of true shape
have random weights, made once in the work folder. The first image of each way is not counted: it chooses kernels. loratui's time has
what the job does with an image besides: its layout beside those of the photos, the log, lasting writes.

With `--cpu` it takes the embedded base in fp32, of which the images mean something. Each way has a process of its own. The report is
`validation_speed-FAMILY.json` in DIR; `--seconds` starts no way after so many, the making of the base not counted.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

sys.path.insert(0, str(Path(__file__).parent))

from machine_facts import command, facts
from made_bases import make_base
from true_size_rungs import FAMILIES

from loratui.engine import families
from loratui.engine.durable import write_json
from loratui.engine.planning.lora_size import denoiser_config, targeted, tensor_shapes
from loratui.engine.planning.recipe import Recipe, build_recipe
from loratui.engine.planning.validation_grid import GridRequest, filled, words
from loratui.engine.runs.directory import RunDirectory
from loratui.engine.runs.event_log import EventLog
from loratui.engine.runs.events import read_events
from loratui.engine.runs.importing import import_file
from loratui.engine.training.adapters.weight_delta import WeightDelta
from loratui.engine.training.lora_file.layouts import file_tensors
from loratui.presets.bases import embedded_base

FORMAT = 1
IMAGES = {"flux": 17, "sdxl": 33, "sd15": 65}
"""With the first, which is not counted."""
USUAL = ("loratui-1", "diffusers", "loratui", "diffusers-8", "loratui-2", "loratui-4", "loratui-8")
PROMPTS = ("a photo of {subject}, smiling, in a green sweater", "a photo of {subject}, serious, in a red shirt")
GIB = 2**30


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("family", choices=list(FAMILIES))
    parser.add_argument("--ways", default=",".join(USUAL))
    parser.add_argument("--images", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--work", type=Path, default=Path("/tmp/validation-speed"))
    parser.add_argument("--out", type=Path, default=Path(os.environ.get("OUT", ".")))
    parser.add_argument("--cpu", action="store_true")
    parser.add_argument("--way", help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.images = args.images or (7 if args.cpu else IMAGES[args.family])
    if args.way:
        measure = by_loratui if args.way.startswith("loratui") else by_diffusers
        print(json.dumps(measure(args, int(args.way.partition("-")[2] or 0))))
        return
    report: dict[str, Any] = {"format": FORMAT, "benchmark": "validation_speed", "family": args.family, "tiny": args.cpu}
    report |= {"commands": [command()], "images": args.images - 1, **facts(), "rungs": {}}
    prepare(args)
    began = time.monotonic()
    for way in args.ways.split(","):
        if time.monotonic() - began > args.seconds:
            print(f"{way}: no time left", flush=True)
            continue
        done = subprocess.run(
            [sys.executable, __file__, *sys.argv[1:], "--way", way], capture_output=True, text=True, check=False
        )
        lines = done.stdout.splitlines()
        found = json.loads(lines[-1]) if done.returncode == 0 and lines else {"failed": done.stderr[-2000:]}
        report["rungs"][way] = found
        print(f"{way}: {found.get('images_s', 0):.3f} images/s {found}", flush=True)
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / f"validation_speed-{args.family}.json").write_text(json.dumps(report, indent=1))


def recipe_of(args: argparse.Namespace) -> Recipe:
    """What is validated: the family's usual preset on the made base, or the demo."""
    if args.cpu:
        preset, base = families.family(args.family).demo_preset, f"embedded:{args.family}"
    else:
        preset, base = FAMILIES[args.family].preset, str(args.work / args.family)
    found = build_recipe(preset, base=base, trigger="qxz", class_word="woman")
    return found.with_changes({"base.check": "off", "memory.device": "cpu"} if args.cpu else {"base.check": "off"})


def prepare(args: argparse.Namespace) -> None:
    """Makes the base and the LoRA file, where they are not there."""
    args.work.mkdir(parents=True, exist_ok=True)
    if not args.cpu:
        make_base(args.family, args.work / args.family, tiny=False, device=torch.device("cuda"))
    settings = recipe_of(args).settings
    folder = base_folder(args)
    source, changes = torch.Generator().manual_seed(0), {}
    for layer in targeted(args.family, settings.adapter.targets, denoiser_config(args.family, folder)):
        shapes = tensor_shapes(layer, settings.adapter)
        tensors = {name: torch.randn(shape, generator=source) * 0.02 for name, shape in shapes.items()}
        changes["denoiser", layer.name] = WeightDelta(tensors, 1.0)
    save_file(file_tensors(args.family, changes, "peft", torch.float32 if args.cpu else torch.bfloat16), lora_path(args))


def base_folder(args: argparse.Namespace) -> Path:
    return embedded_base(args.family) if args.cpu else args.work / args.family


def lora_path(args: argparse.Namespace) -> Path:
    return args.work / f"{args.family}-{'cpu' if args.cpu else 'gpu'}.safetensors"


def by_loratui(args: argparse.Namespace, at_once: int) -> dict[str, Any]:
    """The job `validate` of an imported file, as the command starts it; held to batches of `at_once`, if that is not 0."""
    home = args.work / "home"
    run, _ = import_file(lora_path(args), recipe_of(args), home)
    for path in run.validation.iterdir():
        path.unlink()
    seeds = -(-args.images // len(PROMPTS))
    wish = GridRequest(grids=("strengths",), prompts=PROMPTS, strengths=(1.0,), seeds=seeds)
    write_json(run.validation / "wish.json", wish.to_json())
    carry_out(run, at_once)
    log = read_events(run.validation_events, max_bytes=1 << 26).events
    made = [event.ts for event in log if event.type == "image_written" and event.number("seconds")]
    each = [event.number("seconds") for event in log if event.type == "image_written" and event.number("seconds")]
    peak = torch.cuda.max_memory_allocated() / GIB if torch.cuda.is_available() else 0.0
    return {
        "images_s": (len(made) - 1) / (made[-1] - made[0]),
        "images": len(made) - 1,
        "seconds_each": each,
        "allocated_gib": round(peak, 2),
    }


def carry_out(run: RunDirectory, at_once: int) -> None:
    """The job in this process, so that its batches can be held."""
    from loratui.engine.training import beginnings

    beginnings.prepare()
    from loratui.engine.training.control_queue import ControlQueue
    from loratui.engine.training.reporting import Reporter
    from loratui.engine.training.setup import read_job
    from loratui.engine.training.validation import making
    from loratui.engine.training.validation.grid import make_grid

    if at_once:
        making.MOST_AT_ONCE = at_once
    with EventLog.open(run.validation_events) as log:
        report = Reporter(log)
        try:
            make_grid(read_job(run, "validate"), report, ControlQueue())
        finally:
            report.close()


def by_diffusers(args: argparse.Namespace, at_once: int) -> dict[str, Any]:
    """The loop that a person would write."""
    from diffusers import DiffusionPipeline, DPMSolverMultistepScheduler

    settings, count = recipe_of(args).settings, max(1, at_once)
    device, dtype = ("cpu", torch.float32) if args.cpu else ("cuda", torch.bfloat16)
    if args.cpu:
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    pipe: Any = (
        DiffusionPipeline.from_pretrained(
            base_folder(args), torch_dtype=dtype, safety_checker=None, requires_safety_checker=False, local_files_only=True
        )
        if args.family == "sd15"
        else DiffusionPipeline.from_pretrained(base_folder(args), torch_dtype=dtype, local_files_only=True)
    )
    if args.family != "flux":
        pipe.scheduler = DPMSolverMultistepScheduler.from_config(pipe.scheduler.config)
    pipe = pipe.to(device)
    pipe.load_lora_weights(str(lora_path(args)))
    pipe.set_progress_bar_config(disable=True)
    samples, side = settings.samples, settings.dataset.resolution
    out = args.work / "diffusers"
    out.mkdir(exist_ok=True)
    fill, made, times = words(settings), 0, []
    wanted = [(filled(prompt, fill), seed) for seed in range(args.images) for prompt in PROMPTS][: args.images]
    while made < len(wanted):
        some = wanted[made : made + (count if made else 1)]
        images = pipe(
            [prompt for prompt, _ in some],
            num_inference_steps=samples.steps,
            guidance_scale=samples.guidance,
            width=samples.width or side,
            height=samples.height or side,
            generator=[torch.Generator().manual_seed(seed) for _, seed in some],
        ).images
        for number, image in enumerate(images):
            image.save(out / f"{made + number}.png")
        made += len(some)
        times.append(time.monotonic())
    peak = torch.cuda.max_memory_allocated() / GIB if torch.cuda.is_available() else 0.0
    rate = (len(wanted) - 1) / (times[-1] - times[0])
    return {"images_s": rate, "images": len(wanted) - 1, "allocated_gib": round(peak, 2)}


if __name__ == "__main__":
    main()
