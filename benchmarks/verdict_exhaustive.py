"""Every file of a run at every strength, judged by the reader of the embedded bases' drawings: likeness × variety × prompts obeyed.

    python benchmarks/verdict_exhaustive.py RUN FAMILY SEED [--files 10] [--seeds 3]

`benchmarks/verdicts.py` starts it. diffusers makes the images. Prints one JSON object: the base's figures, and `cells[] {file, strength,
likeness, variety, obeyed, score}`. Variety is a share of the base's, 1 at most.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parent))

from likeness import OPTIONS
from verdict_cases import Case, person_of

from loratui.presets.bases import DEMO_TRIGGER, embedded_base
from loratui.presets.bases.make.measure import PROMPTS, likeness, sample, shares_right
from loratui.presets.bases.make.people import Person
from loratui.presets.bases.make.reader import Reader, load_reader, read

STRENGTHS = (0.5, 0.8, 1.0, 1.25, 1.5)
STEPS = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("family")
    parser.add_argument("seed", type=int)
    parser.add_argument("--files", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    print(json.dumps(looked_at(args)))


def looked_at(args: argparse.Namespace) -> dict[str, Any]:
    """The table of a run."""
    from diffusers import DiffusionPipeline

    person = person_of(Case(args.family, args.seed, "good"))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(1)
    pipeline = DiffusionPipeline.from_pretrained(embedded_base(args.family), torch_dtype=torch.float32, local_files_only=True)
    pipeline.to(device)
    reader = load_reader()
    seeds = [5000 + k for k in range(args.seeds)] * len(PROMPTS)
    how = {"steps": STEPS, **OPTIONS[args.family]}

    def texts(subject: str) -> list[str]:
        return [p.text.format(subject=subject) for p in PROMPTS for _ in range(args.seeds)]

    bare = sample(pipeline, texts(f"a {person.sex}"), seeds=seeds, **how)
    base = _figures(bare, None, reader, person, args.seeds)
    files = sorted((args.run / "output").glob("*.safetensors"), key=lambda path: (path.stat().st_mtime, path.name))
    cells = []
    for file in _some(files, args.files):
        pipeline.load_lora_weights(str(file.parent), weight_name=file.name, adapter_name="one")
        for strength in STRENGTHS:
            pipeline.set_adapters(["one"], [strength])
            images = sample(pipeline, texts(f"{DEMO_TRIGGER} {person.sex}"), seeds=seeds, **how)
            cells.append(
                {"file": f"output/{file.name}", "strength": strength, **_figures(images, base, reader, person, args.seeds)}
            )
        pipeline.delete_adapters("one")
    return {"base": base, "cells": cells}


def _figures(
    images: NDArray[np.uint8], base: dict[str, float] | None, reader: Reader, person: Person, seeds: int
) -> dict[str, float]:
    readings = read(reader, images)
    obeyed = shares_right(readings, [p.wanted for p in PROMPTS for _ in range(seeds)])
    found = {
        "likeness": likeness(readings, person),
        "variety": _variety(images, seeds),
        "obeyed": sum(obeyed.values()) / len(obeyed),
    }
    if base is not None:
        found["variety"] = min(1.0, found["variety"] / base["variety"])
        found["score"] = found["likeness"] * found["variety"] * found["obeyed"]
    return {name: round(value, 4) for name, value in found.items()}


def _variety(images: NDArray[np.uint8], seeds: int) -> float:
    """Mean distance between the seeds of a prompt, at 16 × 16."""
    small = images.reshape(len(images), 16, 8, 16, 8, 3).mean(axis=(2, 4)) / 255
    pairs = [
        float(np.sqrt(np.mean((small[start + a] - small[start + b]) ** 2)))
        for start in range(0, len(images), seeds)
        for a, b in itertools.combinations(range(seeds), 2)
    ]
    return sum(pairs) / len(pairs)


def _some(files: list[Path], count: int) -> list[Path]:
    """So many of them, evenly spread, with the last."""
    if len(files) <= count:
        return files
    return [files[round((at + 1) * len(files) / count) - 1] for at in range(count)]


if __name__ == "__main__":
    main()
