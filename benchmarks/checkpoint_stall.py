"""Measures how long a checkpoint holds the training up, with a LoRA and AdamW state of the size of a real one.

    python benchmarks/checkpoint_stall.py [--mb 516] [--device cpu|cuda] [--folder DIR] [--times 5] [--busy] [--tiny]

A thousand tensors in FLUX's proportions are trained by AdamW in one flat tensor, as a run does it. Each checkpoint is saved three ways:
`waiting` is written before the training goes on, `beside` is written by a thread. `longest gap` is the longest time in which a thread
that only counts, as a trainer that launches steps does, could not run while the checkpoint was written: what holds Python's lock shows
there. `library` is how long safetensors' own `save` alone, which was used before, holds it. --busy makes optimizer steps meanwhile.
One JSON line for each size; times are the least, the median and the most.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import save
from torch import nn

from loratui.engine.runs.directory import RunDirectory
from loratui.engine.training.checkpoint import Checkpoint, prune, save_checkpoint
from loratui.engine.training.data import TrainProgress
from loratui.engine.training.flat_parameters import FlatParameters
from loratui.engine.training.optimizers import optimizer_state
from loratui.engine.training.snapshot import Buffer, Buffers, Packed, bytes_of

TENSORS = 1000


class Trained:
    """What a run has in memory when it saves: `mb` megabytes of weights and moments together."""

    def __init__(self, mb: float, device: str) -> None:
        each = int(mb * 1e6 / 3 / 4 / TENSORS)
        self.device = torch.device(device)
        self.named = {
            f"denoiser.blocks.{n}.lora_A": nn.Parameter(torch.randn(each, device=self.device) / 100) for n in range(TENSORS)
        }
        flat = FlatParameters(self.named)
        self.parts = flat.for_optimizer("adamw")
        self.optimizer = torch.optim.AdamW(self.parts.values(), lr=1e-4, fused=True)
        self.step()
        length = bytes_of(self.named, self.state()[0])
        began = time.perf_counter()
        self.buffers = Buffers(length, pinned=self.device.type == "cuda")
        self.allocating_s = time.perf_counter() - began

    def step(self) -> None:
        self.optimizer.step()
        self.settle()

    def settle(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def state(self) -> tuple[dict[str, torch.Tensor], str]:
        return optimizer_state(self.optimizer, list(self.parts))

    def snapshot(self, number: int, buffer: Buffer) -> Checkpoint:
        adapter = Packed(self.named, buffer.take)
        tensors, plain = self.state()
        optimizer = Packed(tensors, buffer.take)
        self.settle()
        return Checkpoint(TrainProgress(1, 1, number, number, number), adapter, {}, optimizer, plain, {}, (0.0, 1))


def longest_gap(work: Callable[[], object], meanwhile: Callable[[], object]) -> tuple[float, float]:
    """Seconds that `work` took in another thread, and the longest time between two looks at the clock here."""
    thread = threading.Thread(target=work)
    began = last = time.perf_counter()
    thread.start()
    longest = 0.0
    while thread.is_alive():
        meanwhile()
        now = time.perf_counter()
        longest, last = max(longest, now - last), now
    return time.perf_counter() - began, longest


def measure(args: argparse.Namespace, run: RunDirectory, mb: float) -> dict[str, object]:
    trained = Trained(mb, args.device)
    rows: dict[str, list[float]] = {"stall": [], "written": [], "longest_gap": [], "waiting": [], "step_alone": []}
    meanwhile = trained.step if args.busy else lambda: time.sleep(0.0005)
    for number in range(1, 2 * args.times + 1):
        began = time.perf_counter()
        meanwhile()
        rows["step_alone"].append(time.perf_counter() - began)
        beside = number % 2 == 0
        began = time.perf_counter()
        buffer = trained.buffers.next()
        snapshot = trained.snapshot(number, buffer)
        stall = time.perf_counter() - began

        def write(snapshot: Checkpoint = snapshot) -> None:
            save_checkpoint(run, snapshot)
            prune(run, 2)

        if beside:
            written, gap = longest_gap(write, meanwhile)
            rows["stall"].append(stall)
            rows["written"].append(written)
            rows["longest_gap"].append(gap)
        else:
            write()
            rows["waiting"].append(time.perf_counter() - began)
        trained.buffers.give_back(buffer)
    copied = {name: value.detach().cpu() for name, value in trained.named.items()}
    _, library = longest_gap(lambda: save(copied, {"format": "pt"}), lambda: time.sleep(0.0005))
    ms = {f"{name}_ms": [round(1000 * f(values), 1) for f in (min, statistics.median, max)] for name, values in rows.items()}
    return {
        "mb": mb,
        "device": args.device,
        "buffers": trained.buffers.count,
        "allocating_ms": round(1000 * trained.allocating_s, 1),
        "library_of_adapter_ms": round(1000 * library, 1),
        **ms,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mb", type=float, nargs="+", default=[516.0, 1030.0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--busy", action="store_true", help="optimizer steps while a checkpoint is written")
    parser.add_argument("--tiny", action="store_true")
    args = parser.parse_args()
    if args.tiny:
        args.mb, args.times = [1.0], 2
    for mb in args.mb:
        with tempfile.TemporaryDirectory(dir=args.folder) as folder:
            run = RunDirectory(Path(folder))
            run.checkpoints.mkdir()
            print(json.dumps(measure(args, run, mb)), flush=True)


if __name__ == "__main__":
    main()
