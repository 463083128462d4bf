"""Prints how like the demo's person `anafox` the pictures of a LoRA are, and whether they still obey the prompt.

Usage: python benchmarks/likeness.py [LORA.safetensors] [--json] [--drawings] [--grid FILE.png]

For strengths 0, 0.5, 1 and 1.5 the embedded base samples four prompts with five seeds each. The reader, a small fixed network that was
trained on drawings of known features, says what it sees. Likeness is the share of eleven features of the person that it reads as
they should be; the prompt is obeyed where mood, clothes, their colour and the background are read as the prompt says. With
`--drawings` the same is measured on the person's own drawings and on drawings of strangers: what 1 and chance look like.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from loratui.presets.bases import DEMO_CLASS, DEMO_TRIGGER, embedded_base
from loratui.presets.bases.make.measure import (
    GUIDANCE,
    PROMPTS,
    STEPS,
    identity_shares,
    likeness,
    sample,
    save_grid,
    shares_right,
)
from loratui.presets.bases.make.people import ANAFOX, invent_portrait, pose
from loratui.presets.bases.make.portraits import draw
from loratui.presets.bases.make.reader import Reader, load_reader, read

STRENGTHS = (0.0, 0.5, 1.0, 1.5)
_SEED = 7


def measure_lora(lora: Path, reader: Reader, options: argparse.Namespace) -> dict[str, Any]:
    """The figures of a LoRA file at each strength; `options.grid` gets the first three seeds of each prompt, a row a strength."""
    from diffusers import StableDiffusionPipeline

    device = "cuda" if torch.cuda.is_available() else "cpu"
    pipeline = StableDiffusionPipeline.from_pretrained(embedded_base("sd15"), torch_dtype=torch.float32).to(device)
    pipeline.load_lora_weights(str(lora.parent), weight_name=lora.name, adapter_name=DEMO_TRIGGER)
    prompts = [p for p in PROMPTS for _ in range(options.seeds)]
    texts = [p.text.format(subject=f"{DEMO_TRIGGER} {DEMO_CLASS}") for p in prompts]
    seeds = [1000 + k for k in range(options.seeds)] * len(PROMPTS)
    shown = [k for k in range(len(prompts)) if k % options.seeds < 3]
    figures, rows = {}, []
    for strength in options.strengths:
        pipeline.set_adapters([DEMO_TRIGGER], [strength])
        pictures = sample(pipeline, texts, seeds=seeds, steps=options.steps, guidance=options.guidance)
        readings = read(reader, pictures)
        obeyed = shares_right(readings, [p.wanted for p in prompts])
        figures[f"{strength:g}"] = {**_figures(readings), "prompt": sum(obeyed.values()) / len(obeyed), "obeyed": obeyed}
        rows.append(pictures[shown])
    if options.grid:
        save_grid(np.concatenate(rows), options.grid, across=len(shown))
    return figures


def measure_drawings(reader: Reader, count: int = 200) -> dict[str, Any]:
    """The figures of the person's own drawings and of strangers', as a check of the measure itself."""
    rng = np.random.default_rng(_SEED)
    own = np.stack([draw(pose(ANAFOX, rng)) for _ in range(count)])
    strangers = np.stack([draw(invent_portrait(rng)) for _ in range(count)])
    return {"own drawings": _figures(read(reader, own)), "strangers": _figures(read(reader, strangers))}


def _figures(readings: list[dict[str, str]]) -> dict[str, Any]:
    return {"pictures": len(readings), "likeness": likeness(readings), "features": identity_shares(readings)}


def print_table(figures: dict[str, Any]) -> None:
    """One column for each strength or set of drawings, one row for each figure."""
    names = list(figures)
    print(f"{'':16}" + "".join(f"{name:>14}" for name in names))

    def row(label: str, values: list[float | None]) -> None:
        print(f"{label:16}" + "".join(f"{'' if v is None else f'{v:.2f}':>14}" for v in values))

    row("likeness", [f["likeness"] for f in figures.values()])
    for feature in figures[names[0]]["features"]:
        row("  " + feature, [f["features"][feature] for f in figures.values()])
    if any("prompt" in f for f in figures.values()):
        row("prompt obeyed", [f.get("prompt") for f in figures.values()])
        for feature in PROMPTS[0].wanted:
            row("  " + feature, [f.get("obeyed", {}).get(feature) for f in figures.values()])


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lora", type=Path, nargs="?", help="LoRA file with kohya names")
    parser.add_argument("--strengths", type=float, nargs="+", default=STRENGTHS)
    parser.add_argument("--seeds", type=int, default=5, help="pictures for each prompt and strength")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--guidance", type=float, default=GUIDANCE)
    parser.add_argument("--drawings", action="store_true", help="also measure drawings: the person's own and strangers'")
    parser.add_argument("--grid", type=Path, help="PNG to write pictures of each strength to")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    options = parser.parse_args()
    if options.lora is None and not options.drawings:
        parser.error("name a LoRA file, or --drawings, or both")
    reader = load_reader()
    figures = measure_lora(options.lora, reader, options) if options.lora else {}
    if options.drawings:
        figures |= measure_drawings(reader)
    if options.json:
        print(json.dumps(figures))
    else:
        print_table(figures)


if __name__ == "__main__":
    main()
