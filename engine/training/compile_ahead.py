"""The job `compile`: compiles the blocks of a run, and leaves them on the disk for its trainer; see `compiling_ahead`.

It goes the way of a training up to its first step, with one block of each kind, without weights, images and captions.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loratui.engine.job_child import Answer, Parent
from loratui.engine.runs.directory import RunDirectory
from loratui.engine.training.beginnings import prepare

if TYPE_CHECKING:
    from loratui.engine.training.setup import Job


_NEEDED = (
    "loratui.engine.training.optimizer_steps",
    "diffusers.models.transformers",
    "diffusers.models.unets",
    "diffusers.models.autoencoders",
    "torch._inductor.compile_fx",
)


def begin(_: Parent) -> Answer:
    """Compiles a share of the blocks of `run` (a folder), whose trainer found so much memory."""
    prepare()
    for module in _NEEDED:  # while the trainer loads the same
        importlib.import_module(module)
    import torch
    from torch._inductor.async_compile import AsyncCompile

    from loratui.engine.training import setup

    if torch.version.cuda:
        AsyncCompile.warm_pool()  # the processes that make machine code

    def answer(request: Any) -> dict[str, int]:
        job = setup.same_job(
            RunDirectory(Path(request["run"])),
            free_gib=request["free_gib"],
            host_gib=request["host_gib"],
            failed=frozenset(request["failed"]),
        )
        return compile_blocks(job, request["share"], request["shares"])

    return answer


def compile_blocks(job: Job, share: int, shares: int) -> dict[str, int]:
    """Compiles every `shares`-th kind of blocks, from number `share` on; returns how many `blocks` were compiled, and how many of them
    were `found` on the disk."""
    import dataclasses

    from torch._dynamo.utils import counters

    from loratui.engine.training.control_queue import ControlQueue
    from loratui.engine.training.data import schedule_of
    from loratui.engine.training.identity import identity_of
    from loratui.engine.training.loaded import without_weights
    from loratui.engine.training.optimizer_steps import OptimizerSteps
    from loratui.engine.training.progress import Progress
    from loratui.engine.training.reporting import Reporter, Told

    job = dataclasses.replace(job, memory_plan=dataclasses.replace(job.memory_plan, compile="on"))
    report = Reporter(Told(job.run.events, lambda _: None))
    loaded = without_weights(job, report)
    loaded.blocks.compiled_kinds = slice(share, None, shares)
    schedule = schedule_of(job.settings, job.ledger.images)
    chosen = dataclasses.replace(job.settings.optimizer, name=identity_of(job)["optimizer_used"])
    progress = Progress(job, report, schedule)
    steps = OptimizerSteps(loaded, progress, schedule, report, ControlQueue(), optimizer=chosen, stored=None)
    steps.compile_if_due(next(schedule.windows()))
    report.close()
    return {"blocks": counters["stats"]["unique_graphs"], "found": counters["aot_autograd"]["autograd_cache_hit"]}
