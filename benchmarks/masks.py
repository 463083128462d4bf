"""Times the maker of masks, and shows what masks do to a training on this machine: white ones nothing, others only within the loss.

    python benchmarks/masks.py [--images 24] [--steps 40] [--work DIR] [--out DIR] [--tiny]

The segmenter has random weights of true size, made in the work folder. The training is the embedded SD1.5 on made images, alone, with white
masks and with masks of the left half: `steps_equal` says whether each loss with white masks is bit for bit that without (a GPU adds in
another order from run to run, so `furthest` is the largest relative difference), `recorded` how many kinds of steps were recorded as CUDA
graphs. The report is `masks.json` in DIR.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))

import torch
from machine_facts import facts
from made_images import photo_like
from PIL import Image
from random_bases import run_on
from safetensors.torch import save_file
from small_runs import events, every_step, losses, train

from loratui.engine.captioning.segmenter import CONFIG, Segmenter
from loratui.engine.training.trainer import Trainer

GIB = 2**30


def segmenter(work: Path, images: int) -> dict[str, Any]:
    """Images a second and memory of the segmenter."""
    from transformers import CLIPSegConfig, CLIPSegForImageSegmentation

    path = work / "clipseg.safetensors"
    model = CLIPSegForImageSegmentation(CLIPSegConfig(**CONFIG)).half()
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, path)
    del model
    began = time.monotonic()
    marks = Segmenter(path)
    loaded = time.monotonic() - began
    photos = [photo_like(seed, (1024, 768)) for seed in range(images)]
    marks.marked(photos[0])
    on_gpu = torch.cuda.is_available()
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    began = time.monotonic()
    for photo in photos:
        marks.marked(photo)
    taken = time.monotonic() - began
    peak = torch.cuda.max_memory_allocated() / GIB if on_gpu else None
    return {"loaded_s": round(loaded, 2), "images_s": round(images / taken, 2), "peak_gib": peak and round(peak, 3)}


def training(work: Path, steps: int, side: int) -> dict[str, Any]:
    """Three runs of the same steps, which differ in their masks."""
    folder = work / "images"
    (folder / "masks").mkdir(parents=True)
    for seed in range(8):
        photo_like(seed, (side, side)).save(folder / f"{seed}.png")
        (folder / f"{seed}.txt").write_text(f"a photo of qxz thing, number {seed}")
    found, report = {}, {}
    for name, marked in (("none", None), ("white", side), ("half", side // 2)):
        for seed in range(8):
            mask = Image.new("L", (side, side))
            mask.paste(255, (0, 0, marked or 0, side))
            mask.save(folder / "masks" / f"{seed}.png")
        sets = (
            f"dataset.resolution={side}",
            "schedule.epochs=1",
            f"schedule.repeats={max(1, steps // 8)}",
            "training.batch_size=1",
        )
        masked = ("dataset.masks=folder", "dataset.mask_outside=0") if marked else ()
        run = run_on(Path("embedded:sd15"), work / name, *sets, *masked, folder=folder)
        recorded: list[int] = []

        def watch(trainer: Trainer, recorded: list[int] = recorded) -> None:
            every_step(trainer)
            run_it = trainer.run

            def ran() -> Any:
                code = run_it()
                recorded.append(len(trainer.steps.graph_step._recordings))
                return code

            trainer.run = ran  # type: ignore[method-assign]  # to look at it once it has ended

        code = train(run, watch)
        found[name] = {step: float.fromhex(loss) for step, loss in losses(run).items()}
        times = [event.fields["step_s"] for event in events(run, "step") if "step_s" in event.fields][len(found[name]) // 2 :]
        step_ms = round(1000 * sorted(times)[len(times) // 2], 2) if times else None
        report[name] = {"exit_code": int(code), "steps": len(found[name]), "step_ms": step_ms, "recorded": recorded[-1]}
    apart = [abs(found["white"][step] - loss) / loss for step, loss in found["none"].items()]
    return {**report, "steps_equal": found["white"] == found["none"], "furthest": max(apart)}


def main() -> None:
    """Measures, and writes the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=24)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--work", type=Path, default=Path("masks-work"))
    parser.add_argument("--out", type=Path, default=Path())
    parser.add_argument("--tiny", action="store_true", help="small images, to try it")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    report = {
        "format": 1,
        "benchmark": "masks",
        **facts(),
        "segmenter": segmenter(args.work, args.images),
        "training": training(args.work, args.steps, 128 if args.tiny else 512),
    }
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "masks.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
