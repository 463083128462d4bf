"""The real trainer on a simulated card: `card_trainer.py RUN --job JOB`. The CPU computes, and GPU memory runs out as RUN/memory.json says.

It has a number for each memory plan: the batch of this process, or the image of its validation, with which memory runs out; 0 for the
loading. RUN/lost.json has the words of CUDA with which the card is lost, once, and the batch; after that each further call of CUDA would be
one too many, and writes RUN/called.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import torch

from loratui.engine.machine.accelerator import Card
from loratui.engine.training import __main__ as trainer
from loratui.engine.training import loaded, progress, setup
from loratui.engine.training.diffusion_loss import DiffusionLoss
from loratui.engine.training.validation import grid

GIB = 2**30


def main() -> int:
    runs_out = json.loads((Path(sys.argv[1]) / "memory.json").read_text())
    setup.usable_card = lambda *_: Card("NVIDIA Simulated", 24.0, (8, 9))
    setup.device_name = progress.device_name = lambda *_: "NVIDIA Simulated"
    torch.cuda.mem_get_info = lambda *_: (23 * GIB, 24 * GIB)
    torch.cuda.synchronize = torch.cuda.reset_peak_memory_stats = lambda *_: None
    compute, load, write = DiffusionLoss.compute, loaded.load_base, grid.write_image
    collect, read, facts = setup.memory_facts, setup.read_job, []
    batches, lost = 0, Path(sys.argv[1]) / "lost.json"

    def lose(words: str) -> None:
        def called(*_: Any, **__: Any) -> None:
            (Path(sys.argv[1]) / "called").touch()

        for name in (
            "synchronize",
            "empty_cache",
            "mem_get_info",
            "current_stream",
            "memory_reserved",
            "is_available",
            "Event",
        ):
            setattr(torch.cuda, name, called)
        raise RuntimeError(words)

    def failing(loss: DiffusionLoss, batch: Any) -> torch.Tensor:
        nonlocal batches
        batches += 1
        if lost.exists() and json.loads(lost.read_text())[1] == batches:
            words = json.loads(lost.read_text())[0]
            lost.unlink()
            lose(words)
        run_out(loss._job.memory_plan.way, batches)
        return compute(loss, batch)

    def loading(job: setup.Job) -> Any:
        run_out(job.memory_plan.way, 0)
        return load(job)

    def writing(path: Path, pixels: torch.Tensor) -> None:
        run_out(setup.decide_memory(facts[-1]).way, len(list(path.parent.glob("*.png"))) + 1)
        write(path, pixels)

    def reading(*given: Any, **named: Any) -> setup.Job:
        return dataclasses.replace(read(*given, **named), device=torch.device("cpu"))

    def deciding(*given: Any) -> Any:
        facts.append(collect(*given))
        return facts[-1]

    def run_out(way: str, batch: int) -> None:
        if runs_out.get(way) == batch:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 24 GiB")

    DiffusionLoss.compute = failing  # type: ignore[method-assign]  # what this test replaces
    loaded.load_base, grid.write_image = loading, writing
    setup.memory_facts, setup.read_job = deciding, reading
    return trainer.main()


if __name__ == "__main__":
    trainer._leave(main())
