"""What a run does when GPU memory runs out: it saves, says so, and goes on with the next memory plan in a new process."""

from __future__ import annotations

import dataclasses
import gc
import traceback
from collections.abc import Callable

import torch

from loratui.engine.errors import CannotPinError, MemoryPlanFailedError
from loratui.engine.machine.gpu_faults import fault_in
from loratui.engine.planning.memory_misfits import holders_of, untried
from loratui.engine.planning.memory_need import Facts
from loratui.engine.planning.memory_plan import MemoryPlan, decide, way_of
from loratui.engine.training.reporting import Reporter
from loratui.engine.training.setup import Job, named
from loratui.engine.words import GIB


def concerns_plan(error: Exception, job: Job) -> bool:
    """Whether an error means that the memory plan takes more than the card has."""
    if isinstance(error, CannotPinError):
        return job.card is not None
    fault = fault_in(error)
    return job.card is not None and fault is not None and fault.id == "gpu_memory"


def let_go() -> None:
    """Gives back the GPU memory of everything that is out of use; much of it refers to itself."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def free_now(facts: Facts) -> Facts:
    """The facts with what is free now, as the next process will find it: others may hold more of the card than at the start."""
    if facts.card is None or not torch.cuda.is_available():
        return facts
    free_gib = (torch.cuda.mem_get_info()[0] + torch.cuda.memory_reserved()) / GIB
    return named(dataclasses.replace(facts, free_gib=free_gib, held_by=()))


def plan_failed(
    job: Job, report: Reporter, reason: str, save: Callable[[], object], *, unpinned: bool = False
) -> MemoryPlanFailedError:
    """Saves what is whole, and reports which plan failed and which comes next; returns the error that ends this process's work.

    `unpinned`: main memory could not be pinned, so no plan that swaps is tried again.
    To be called when nothing holds the memory of the failed work any more, which its error does.
    """
    let_go()
    try:
        save()
    except Exception:  # the last checkpoint stands, whatever this was
        traceback.print_exc()
    plan = job.memory_plan
    way = way_of(plan.rung, split=True) if unpinned else plan.way  # with the way that takes least, the whole rung fails
    failed = job.facts.failed | {way}
    facts = free_now(dataclasses.replace(job.facts, failed=failed))
    left = decide(facts)
    following = left.way if isinstance(left, MemoryPlan) else ""
    told = {"way": way, "plan": plan.name, "next": following, "message": reason}
    report.event("memory_plan_failed", durable=True, **told)
    if following:
        variant = ".unpinned" if unpinned else ".shared" if facts.held_gib else ""
        report.warn(
            f"memory_plan_failed{variant}", plan=plan.way, next=following, holders=holders_of(facts), held_gib=facts.held_gib
        )
    found = untried(facts, unpinned=unpinned)
    return MemoryPlanFailedError(found.message, found.remedy, failed, told)
