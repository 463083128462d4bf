"""Trains the demo's images with recorded and with launched steps, and compares what comes of it.

    python benchmarks/recordings.py [--families sd15,sdxl,flux] [--ways A,B] [--image-steps 144] [--compile] [--at-once 4] [--out DIR]

A way is what a step draws or trains besides (`WAYS`). Each is trained with the same seed and compared with its `launched` run: `again`, which
shows what the GPU's own order of sums changes, and `recorded`, which must be as close. Kernels that drew otherwise would give a LoRA
about as far away as `seed`, a launched run with another seed. Exit code 1 if a way was not recorded, or is further away than `LIMIT` allows.
All of it is in DIR/recordings-FAMILY.json. With several runs at once times mean little: `true_size.py` measures rungs such as
`compiled+text` and `compiled+text+eager`, `compiled+dropout` and `compiled+dropout+eager`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from machine_facts import facts
from precision import figures, train

WAYS = {
    "plain": {},
    "dropout": {"adapter.dropout": "0.1"},
    "ranks": {"adapter.rank_dropout": "0.2", "adapter.module_dropout": "0.2"},
    "text": {"training.train_text_encoder": "true"},
    "text-dropout": {"training.train_text_encoder": "true", "adapter.dropout": "0.1", "dataset.caption_dropout": "0.1"},
    "checkpointing-text": {"memory.plan": "checkpointing", "training.train_text_encoder": "true"},
}
RUNS: dict[str, dict[str, str]] = {
    "launched": {"memory.cuda_graphs": "off"},
    "again": {"memory.cuda_graphs": "off"},
    "recorded": {},
    "seed": {"memory.cuda_graphs": "off", "training.seed": "43"},
}
LIMIT = 3.0
"""How many times as far from the launched run as that is from itself the recorded one may be, beside `ROUNDING`."""
ROUNDING = 1e-3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--families", default="sd15")
    parser.add_argument("--ways", default=",".join(WAYS))
    parser.add_argument("--image-steps", type=int, default=144)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--at-once", type=int, default=4)
    parser.add_argument("--out", type=Path, default=Path(os.environ.get("OUT", ".")))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    families, ways = args.families.split(","), args.ways.split(",")
    command = " ".join(["python", "benchmarks/recordings.py", *sys.argv[1:]])
    right = True
    with ThreadPoolExecutor(args.at_once) as pool:
        shared = {"training.precision": "bf16", "memory.compile": "on" if args.compile else "off"}
        begun = {
            (family, way, run): pool.submit(train, family, {**shared, **WAYS[way], **own}, args.image_steps, args.at_once)
            for family in families
            for way in ways
            for run, own in RUNS.items()
        }
        for family in families:
            found: dict[str, Any] = {}
            for way in ways:
                launched = begun[family, way, "launched"].result()
                found[way] = {run: figures(begun[family, way, run].result(), launched) for run in RUNS}
                found[way]["right"] = is_right(found[way])
                print(line(family, way, found[way]), flush=True)
            right = right and all(one["right"] for one in found.values())
            report = {"benchmark": "recordings", "family": family, "command": command, **facts(), "ways": found}
            (args.out / f"recordings-{family}.json").write_text(json.dumps(report, indent=1) + "\n")
    sys.exit(not right)


def is_right(found: dict[str, Any]) -> bool:
    """Whether a way was recorded, and is as close to the launched run as that is to itself."""
    recorded, again = found["recorded"], found["again"]
    graphs = "graphs" in recorded["plan"] and "not_recorded" not in recorded["warnings"]
    near = recorded["lora_differs"] <= LIMIT * again["lora_differs"] + ROUNDING
    return (graphs and near) or (recorded["device"].startswith("CPU") and recorded["lora_differs"] == 0)


def line(family: str, way: str, found: dict[str, Any]) -> str:
    """The figures of a way for people."""
    cells = [
        f"{run} {found[run]['lora_differs']:.6f} (losses {found[run]['losses_differ'][1]:.1e}, {1000 * found[run]['step_s']:.1f} ms)"
        for run in RUNS
    ]
    warnings = sorted({*found["recorded"]["warnings"]})
    return f"{family:<5}{way:<22}{'right' if found['right'] else 'WRONG':<6}{'; '.join(cells)}  {found['recorded']['plan']} {warnings}"


if __name__ == "__main__":
    main()
