"""Prints how like the demo's person `anafox` the images of a LoRA are, and whether they still obey the prompt.

Usage: python benchmarks/likeness.py [LORA.safetensors] [--json] [--drawings] [--grid FILE.png]

The file's own words say which family it is for. diffusers opens it on the embedded base of that family, and samples four prompts with
five seeds each: without the LoRA, and at strengths 0, 0.5, 1 and 1.5. The reader, a small fixed network that was trained on drawings of
known features, says what it sees. Likeness is the share of eleven features of the person that it reads as they should be, told for all
images and for the four of each seed; the prompt is obeyed where mood, clothes, their colour and the background are read as the prompt
says. With `--drawings` the same is measured on the person's own drawings and on drawings of strangers: what 1 and chance look like.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from loratui.engine.errors import UsageError
from loratui.engine.formats.lora_facts import lora_file_facts
from loratui.presets.bases import DEMO_CLASS, DEMO_TRIGGER, embedded_base
from loratui.presets.bases.make.measure import (
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
ARCHITECTURES = {"stable-diffusion-v1": "sd15", "stable-diffusion-xl-v1-base": "sdxl", "flux-1-dev": "flux"}
"""`modelspec.architecture` of a LoRA file, before its `/lora` -> the embedded base that it is for."""

OPTIONS: dict[str, dict[str, Any]] = {
    "sd15": {"guidance": 3.0},
    "sdxl": {"guidance": 3.0},
    "flux": {"guidance": 3.5, "max_sequence_length": 64},
}
"""How images of each embedded base are made."""

_SEED = 7


def family_of(lora: Path) -> str:
    """The family that a file of loratui says it is for. Raises `UsageError`."""
    architecture = lora_file_facts(lora).metadata.get("modelspec.architecture", "").partition("/")[0]
    if architecture not in ARCHITECTURES:
        raise UsageError(f"{lora}: it does not say which family it is for.", "Measure a file that loratui wrote.")
    return ARCHITECTURES[architecture]


def measure_lora(lora: Path, reader: Reader, options: argparse.Namespace) -> dict[str, Any]:
    """The figures of the base, and of a LoRA file at each strength.

    `options.grid` gets the first three seeds of each prompt, a row for the base and for each strength.
    """
    from diffusers import DiffusionPipeline

    family = family_of(lora)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    pipeline = DiffusionPipeline.from_pretrained(embedded_base(family), torch_dtype=torch.float32, local_files_only=True)
    pipeline.to(device)
    prompts = [p for p in PROMPTS for _ in range(options.seeds)]
    texts = [p.text.format(subject=f"{DEMO_TRIGGER} {DEMO_CLASS}") for p in prompts]
    seeds = [1000 + k for k in range(options.seeds)] * len(PROMPTS)
    how = {"steps": options.steps, **OPTIONS[family]}
    made = {"base": sample(pipeline, texts, seeds=seeds, **how)}
    pipeline.load_lora_weights(str(lora.parent), weight_name=lora.name, adapter_name=DEMO_TRIGGER)
    for strength in options.strengths:
        pipeline.set_adapters([DEMO_TRIGGER], [strength])
        made[f"{strength:g}"] = sample(pipeline, texts, seeds=seeds, **how)
    if options.grid:
        shown = [k for k in range(len(prompts)) if k % options.seeds < 3]
        save_grid(np.concatenate([images[shown] for images in made.values()]), options.grid, across=len(shown))
    figures = {}
    for name, images in made.items():
        readings = read(reader, images)
        obeyed = shares_right(readings, [p.wanted for p in prompts])
        figures[name] = {
            **_figures(readings),
            "seeds": [likeness(readings[k :: options.seeds]) for k in range(options.seeds)],
            "changed": _changed(made["base"], images),
            "prompt": sum(obeyed.values()) / len(obeyed),
            "obeyed": obeyed,
        }
    return figures


def _changed(base: NDArray[np.uint8], images: NDArray[np.uint8]) -> int:
    """How many images are not those of the base to the last bit."""
    return sum(not np.array_equal(a, b) for a, b in zip(base, images, strict=True))


def measure_drawings(reader: Reader, count: int = 200) -> dict[str, Any]:
    """The figures of the person's own drawings and of strangers', as a check of the measure itself."""
    rng = np.random.default_rng(_SEED)
    own = np.stack([draw(pose(ANAFOX, rng)) for _ in range(count)])
    strangers = np.stack([draw(invent_portrait(rng)) for _ in range(count)])
    return {"own drawings": _figures(read(reader, own)), "strangers": _figures(read(reader, strangers))}


def _figures(readings: list[dict[str, str]]) -> dict[str, Any]:
    return {"images": len(readings), "likeness": likeness(readings), "features": identity_shares(readings)}


def print_table(figures: dict[str, Any]) -> None:
    """One column for each strength or set of drawings, one row for each figure."""
    names = list(figures)
    print(f"{'':16}" + "".join(f"{name:>14}" for name in names))

    def row(label: str, values: list[float | None]) -> None:
        print(f"{label:16}" + "".join(f"{'' if v is None else f'{v:.2f}':>14}" for v in values))

    row("likeness", [f["likeness"] for f in figures.values()])
    for k in range(max(len(f.get("seeds", ())) for f in figures.values())):
        row(f"  seed {k + 1}", [f["seeds"][k] if "seeds" in f else None for f in figures.values()])
    for feature in figures[names[0]]["features"]:
        row("  " + feature, [f["features"][feature] for f in figures.values()])
    if any("prompt" in f for f in figures.values()):
        row("prompt obeyed", [f.get("prompt") for f in figures.values()])
        for feature in PROMPTS[0].wanted:
            row("  " + feature, [f.get("obeyed", {}).get(feature) for f in figures.values()])
        print(f"{'changed':16}" + "".join(f"{f.get('changed', ''):>14}" for f in figures.values()))


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lora", type=Path, nargs="?", help="LoRA file that loratui wrote")
    parser.add_argument("--strengths", type=float, nargs="+", default=STRENGTHS)
    parser.add_argument("--seeds", type=int, default=5, help="images for each prompt and strength")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--drawings", action="store_true", help="also measure drawings: the person's own and strangers'")
    parser.add_argument("--grid", type=Path, help="PNG to write images of each strength to")
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
