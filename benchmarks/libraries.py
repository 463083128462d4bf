"""Times what libraries offer for a frozen base under LoRA against loratui's own way, on FLUX's blocks at true width.

    python benchmarks/libraries.py [--ways A,B] [--at-once N] [--out DIR] [--tiny]

Two double and four single blocks, 1024 px, batch 1, LoRA of rank 16 on all their Linears, fp32 under autocast, fused AdamW, blocks compiled
(eager where that fails, and told). `ours-…` are loratui's own modules; all others are diffusers and PEFT in a script with the library's
weights below the LoRA: torchao (weights alone, weights and activations, its float8 training), optimum-quanto, bitsandbytes. Gradients are compared
with those of the same blocks before anything was done to them. `swapped` ways have every block in main memory and compute all activations again: ours, and diffusers' group offloading; `-forward` is the forward pass
alone. A way that cannot train says why. Each has a process of its own: they compile side by side, and are timed one after the other.

torchao and optimum-quanto are no dependencies of loratui: `pip install --target DIR torchao optimum-quanto`, with DIR in PYTHONPATH.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parent))

from gradients import PLANS, few_blocks, one_batch
from library_weights import Below, bitsandbytes, by_row, float8_training, quanto, torchao
from machine_facts import facts
from product_run import spread

from loratui.engine.families.flux.model import Flux, keep_gradients_dense, let_first_blocks_look_like_others
from loratui.engine.families.flux.spec import FLUX
from loratui.engine.planning.targets import denoiser_patterns
from loratui.engine.training.adapters.build import Target, add_adapters
from loratui.engine.training.frozen.place import place
from loratui.presets.schema import Adapter

WARM_UP, MEASURED = 3, 12
GIB = 2**30
RANK = 16


@dataclass(frozen=True)
class Way:
    """How the base is held."""

    plan: str = ""
    """The way of `gradients.py`, for loratui's own."""
    below: Below | None = None
    """What a library does to diffusers' model with PEFT's LoRA."""
    offloads: bool = False
    """Whether diffusers' group offloading moves the blocks."""
    checkpointing: bool = False
    forward: bool = False
    """Whether the forward pass alone is timed, without gradients."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ways", default=",".join(WAYS))
    parser.add_argument("--at-once", type=int, default=9, help="processes that hold their models at the same time")
    parser.add_argument("--seconds", type=float, default=200, help="how long a way may take to make ready")
    parser.add_argument("--out", type=Path, default=Path(os.environ.get("OUT", ".")))
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--way", choices=list(WAYS))
    args = parser.parse_args()
    if args.way:
        _answer(args.way, tiny=args.tiny)
        return
    ways, began = args.ways.split(","), time.monotonic()
    found: dict[str, Any] = {}
    for at in range(0, len(ways), args.at_once):
        found |= timed(ways[at : at + args.at_once], args.seconds, tiny=args.tiny)
    command = " ".join(["python", "benchmarks/libraries.py", *sys.argv[1:]])
    head = {"format": 1, "benchmark": "libraries", "family": "flux", "tiny": args.tiny, "commands": [command], **facts()}
    args.out.mkdir(parents=True, exist_ok=True)
    report = {**head, "whole_s": round(time.monotonic() - began, 1), "rungs": found}
    (args.out / "libraries-flux.json").write_text(json.dumps(report, indent=1) + "\n")
    print(table(found))


def timed(ways: list[str], patience_s: float, *, tiny: bool) -> dict[str, Any]:
    """The figures of ways whose processes make ready side by side and are timed one after the other."""
    environ = {**os.environ, "TORCHINDUCTOR_COMPILE_THREADS": "2"}
    tiny_words = ["--tiny"] if tiny else []
    workers = {
        way: subprocess.Popen(
            [sys.executable, __file__, "--way", way, *tiny_words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environ,
        )
        for way in ways
    }
    late = [threading.Timer(patience_s, worker.kill) for worker in workers.values()]
    for timer in late:
        timer.start()
    lines = {way: _said(worker) for way, worker in workers.items()}
    for timer in late:
        timer.cancel()
    found = {}
    for way, worker in workers.items():
        if lines[way].get("ready"):
            assert worker.stdin is not None
            worker.stdin.write("\n")
            worker.stdin.flush()
            lines[way] = _said(worker)
        worker.wait()
        found[way] = lines[way]
        print(way, json.dumps(found[way]), flush=True)
    return found


def _said(worker: subprocess.Popen[str]) -> dict[str, Any]:
    """The next word of a process; libraries print others before it."""
    assert worker.stdout is not None
    for line in worker.stdout:
        if line.startswith('{"'):
            word: dict[str, Any] = json.loads(line)
            return word
    code = worker.wait()
    return {"failed": "it took too long to make ready" if code == -signal.SIGKILL else f"ended with {code}"}


def _answer(way: str, *, tiny: bool) -> None:
    """In a process of its own: makes ready, waits for its turn, and prints its figures."""
    try:
        measure = made_ready(way, tiny=tiny)
        print(json.dumps({"ready": True}), flush=True)
        sys.stdin.readline()
        print(json.dumps(measure()), flush=True)
    except Exception as error:  # what a library cannot do is what is measured here
        print(json.dumps({"failed": f"{type(error).__name__}: {error}"[:400]}), flush=True)


def made_ready(name: str, *, tiny: bool) -> Callable[[], dict[str, Any]]:
    """The model of a way with its first steps made; what it returns times it."""
    way, device = WAYS[name], torch.device("cuda" if torch.cuda.is_available() else "cpu")
    on_card = device.type == "cuda"
    dtype = torch.bfloat16 if on_card else torch.float32
    torch.manual_seed(0)
    model = few_blocks(device, dtype, tiny=tiny)
    keep_gradients_dense(model)
    inputs, target = one_batch(model, device, dtype, tiny=tiny)
    trained, change = _ours(model, way, device, dtype) if way.plan else _by_hand(model, way, device)
    for parameter in trained:
        nn.init.normal_(parameter, std=0.02)
    optimizer = torch.optim.AdamW(trained, lr=1e-4, fused=on_card)

    def loss() -> torch.Tensor:
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=on_card):
            output = model(**inputs, return_dict=False)[0]
            return torch.nn.functional.mse_loss(output.float(), target)

    def gradients() -> torch.Tensor:
        return torch.cat([one.flatten().cpu() for one in torch.autograd.grad(loss(), trained)])

    def step() -> None:
        if way.forward:
            with torch.no_grad():
                loss()
            return
        optimizer.zero_grad(set_to_none=False)
        loss().backward()
        optimizer.step()

    exact = gradients()
    compile_ = change()
    differ = None if way.forward else round(float((gradients() - exact).norm() / exact.norm()), 4)
    eager = "on a CPU" if tiny else ""
    if not eager:
        try:
            compile_()
            step()
        except Exception as error:  # it is timed without
            torch.compiler.set_stance("force_eager")
            eager = f"{type(error).__name__}: {error}"[:200]
    before = [one.detach().cpu().clone() for one in trained]
    for _ in range(WARM_UP):
        step()
    loss()  # a forward pass may bring back what was there before
    learns = way.forward or not all(torch.equal(one.detach().cpu(), old) for one, old in zip(trained, before, strict=True))
    if on_card:
        torch.cuda.empty_cache()  # other ways are made ready beside this one
    return lambda: {**_measured(step, on_card), "gradients_differ": differ, "learns": learns, "eager": eager}


def _measured(step: Callable[[], None], on_card: bool) -> dict[str, Any]:
    seconds = []
    if on_card:
        torch.cuda.reset_peak_memory_stats()
    for _ in range(MEASURED):
        began = time.perf_counter()
        step()
        if on_card:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - began)
    memory = torch.cuda.max_memory_allocated() / GIB if on_card else None
    resting = torch.cuda.memory_allocated() / GIB if on_card else None
    return {
        "step_ms": spread(seconds),
        "images_s": round(1 / statistics.median(seconds), 3),
        "allocated_gib": memory and round(memory, 2),
        "resting_gib": resting and round(resting, 2),
    }


Change = Callable[[], Callable[[], object]]
"""Puts the base where the way wants it; returns what compiles the blocks."""


def _ours(model: Any, way: Way, device: torch.device, dtype: torch.dtype) -> tuple[list[nn.Parameter], Change]:
    let_first_blocks_look_like_others(model)
    adapter = add_adapters({"denoiser": Target(model, denoiser_patterns("flux", "sd-scripts"), Adapter(rank=RANK))}, seed=1)

    def change() -> Callable[[], object]:
        plan = PLANS[way.plan].plan
        blocks = place(model, adapter, plan, FLUX, Flux.join_projections, device=device, dtype=dtype, draws=False)
        return lambda: blocks.compile(one_shape=True)

    return list(adapter.parameters.values()), change


def _by_hand(model: Any, way: Way, device: torch.device) -> tuple[list[nn.Parameter], Change]:
    from peft import LoraConfig

    patterns = "|".join(denoiser_patterns("flux", "sd-scripts"))
    model.add_adapter(LoraConfig(r=RANK, lora_alpha=RANK, target_modules=patterns))
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in trained:
        parameter.data = parameter.data.float()
    model.train()

    def change() -> Callable[[], object]:
        if way.below is not None:
            way.below(model)
        if way.checkpointing:
            model.enable_gradient_checkpointing()
        if way.offloads:
            from diffusers.hooks import apply_group_offloading

            streams = {"num_blocks_per_group": 1, "use_stream": device.type == "cuda"}
            apply_group_offloading(model, device, torch.device("cpu"), offload_type="block_level", **streams)
        compile_: Callable[[], object] = model.compile_repeated_blocks
        return compile_

    return trained, change


WAYS = {
    "hand-bf16": Way(),
    "ours-bf16": Way("kept"),
    "ours-fp8": Way("fp8-compiled"),
    "torchao-float8-weights": Way(below=torchao("Float8WeightOnlyConfig")),
    "torchao-float8": Way(below=torchao("Float8DynamicActivationFloat8WeightConfig", granularity=by_row)),
    "torchao-float8-training": Way(below=float8_training),
    "quanto-qfloat8": Way(below=quanto("qfloat8")),
    "ours-int8": Way("int8-compiled"),
    "torchao-int8-weights": Way(below=torchao("Int8WeightOnlyConfig")),
    "torchao-int8": Way(below=torchao("Int8DynamicActivationInt8WeightConfig")),
    "quanto-qint8": Way(below=quanto("qint8")),
    "bitsandbytes-int8": Way(below=bitsandbytes(8)),
    "bitsandbytes-nf4": Way(below=bitsandbytes(4)),
    "ours-swapped": Way("bf16-swapped-compiled"),
    "ours-swapped-forward": Way("bf16-swapped-compiled", forward=True),
    "group-offloading": Way(offloads=True, checkpointing=True),
    "group-offloading-forward": Way(offloads=True, forward=True),
}


def table(found: dict[str, Any]) -> str:
    """The figures for people."""
    lines = [f"{'way':<28}{'ms a step':>22}{'gradients':>11}{'GiB, most':>12}{'at rest':>10}"]
    for way, one in found.items():
        if "failed" in one:
            lines.append(f"{way:<28}failed: {one['failed'][:150]}")
            continue
        median, least, most = one["step_ms"]
        notes = [
            *["the LoRA does not keep its steps"] * (not one["learns"]),
            *[f"eager: {one['eager'][:90]}"] * bool(one["eager"]),
        ]
        differ = "" if one["gradients_differ"] is None else f"{one['gradients_differ']:.4f}"
        memory = "".join(
            f"{'–' if one[key] is None else one[key]:>{width}}" for key, width in (("allocated_gib", 12), ("resting_gib", 10))
        )
        ms = f"{median:.1f} ({least:.1f}–{most:.1f})"
        lines.append(f"{way:<28}{ms:>22}{differ:>11}{memory}  {'; '.join(notes)}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
