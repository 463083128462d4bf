"""The job that talks to the hub, under other limits, and with what an answer cost."""

from __future__ import annotations

import dataclasses
import os
import time
from pathlib import Path
from typing import Any

import pytest

from loratui.engine.job_child import Answer, Parent
from loratui.engine.jobs import JOBS, Process
from loratui.engine.machine import hub_answers, hub_fetch, hub_worker
from loratui.engine.machine.hub_words import Failure


def last_words(
    monkeypatch: pytest.MonkeyPatch, request: dict[str, Any], **limits: float
) -> tuple[dict[str, Any], float, float]:
    """How the job fails under other limits, seconds of the processor, and MB of memory."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
    monkeypatch.setitem(JOBS, "limited hub", dataclasses.replace(JOBS["hub"], module="limited_hub"))
    process = Process("limited hub", {"limits": limits})
    process.begin()
    process.ask(request)
    failed, seconds, megabytes = process.answer().value
    process.end()
    return failed, seconds, megabytes


def begin(parent: Parent, *, limits: dict[str, float]) -> Answer:
    """`limits` are values for `module.NAME`. An answer is `[failure, seconds of the processor, MB of memory]`."""
    modules = {"hub_answers": hub_answers, "hub_fetch": hub_fetch, "hub_worker": hub_worker}
    for place, value in limits.items():
        module, _, name = place.partition(".")
        setattr(modules[module], name, value)
    answer = hub_worker.begin(parent)

    def costed(request: Any) -> Any:
        failed = None
        try:
            answer(request)
        except Failure as failure:
            failed = {"code": failure.code, "message": failure.message}
        # ru_maxrss would hold what the process that started this one had before.
        status = Path("/proc/self/status").read_text().splitlines()
        peak = next(line.split()[1] for line in status if line.startswith("VmHWM:"))
        return [failed, time.process_time(), int(peak) / 1000]

    return costed
