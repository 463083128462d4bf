"""What the trainer's process does when GPU memory runs out, apart from the supervisor; tests/faults has the whole."""

from __future__ import annotations

import dataclasses
import weakref
from typing import Any

import pytest
import torch
from small_runs import MakeRun

from loratui.engine.errors import ExitCode, MemoryPlanFailedError, OutOfMemoryError
from loratui.engine.machine.accelerator import Card
from loratui.engine.planning.world import ALONE
from loratui.engine.training import __main__ as process
from loratui.engine.training import setup
from loratui.engine.training.out_of_memory import concerns_plan, plan_failed
from loratui.presets.schema import Memory


class Big:
    """Stands for what a failed trainer holds."""


def failing_first(monkeypatch: pytest.MonkeyPatch, left: str) -> list[frozenset[str]]:
    """Has the first attempt at a job run out of memory, when the plan `left` is left; returns the plans that each must not try."""
    tried: list[frozenset[str]] = []
    held: list[weakref.ref[Big]] = []

    def work(*given: Any) -> ExitCode:
        tried.append(given[-1])
        if len(tried) > 1:
            assert held[0]() is None, "the failed trainer is gone"
            return ExitCode.DONE
        big = Big()
        big.itself = big  # type: ignore[attr-defined]
        held.append(weakref.ref(big))
        raise MemoryPlanFailedError("No plan is left.", "", frozenset({"kept"}), {"next": left})

    monkeypatch.setattr(process, "_work", work)
    return tried


def test_a_real_step_before_the_start_tries_the_next_plan_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = failing_first(monkeypatch, "partial")
    process._with_any_plan(*[None] * 4)  # type: ignore[arg-type]
    assert tried == [frozenset(), frozenset({"kept"})]


def test_it_ends_with_the_error_where_no_plan_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    failing_first(monkeypatch, "")
    with pytest.raises(MemoryPlanFailedError, match="No plan is left"):
        process._with_any_plan(*[None] * 4)  # type: ignore[arg-type]


def test_a_checkpoint_that_cannot_be_saved_keeps_no_run_from_going_on(
    make_run: MakeRun, capfd: pytest.CaptureFixture[str]
) -> None:
    job = setup.read_job(make_run("training.batch_size=1"))
    told: list[tuple[str, Any]] = []

    class Report:
        def event(self, type: str, **fields: Any) -> None:
            told.append((type, fields["next"]))

        def warn(self, key: str, **figures: Any) -> None:
            told.append((key, figures["next"]))

    def save() -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    error = plan_failed(job, Report(), "CUDA out of memory", save)  # type: ignore[arg-type]
    assert told == [("memory_plan_failed", "partial")] * 2
    assert (error.another, error.failed, error.exit_code) == (True, frozenset({"kept"}), ExitCode.OUT_OF_MEMORY)
    assert "CUDA out of memory" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("error", "ours"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), True),
        (RuntimeError("CUDNN_STATUS_ALLOC_FAILED"), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), False),
        (MemoryError(), False),
        (OutOfMemoryError("no plan is left"), False),
    ],
)
def test_only_gpu_memory_is_a_matter_of_memory_plans(make_run: MakeRun, error: Exception, ours: bool) -> None:
    on_cpu = setup.read_job(make_run())
    assert not concerns_plan(error, on_cpu), "main memory is as it was"
    assert concerns_plan(error, dataclasses.replace(on_cpu, card=Card("H200", 140.0, (9, 0)))) is ours


def test_where_every_plan_has_failed_a_run_does_not_start(make_run: MakeRun) -> None:
    facts = setup.read_job(make_run("memory.plan=kept")).facts
    with pytest.raises(OutOfMemoryError, match="tried every memory plan"):
        setup.decide_memory(dataclasses.replace(facts, failed=frozenset({"kept", "kept-split"})))


def test_a_limit_is_kept_by_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float] = []
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: type("Properties", (), {"total_memory": 24 << 30}))
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", lambda share, _: asked.append(share))
    for limit in (0.0, 6.0, 48.0):
        setup.configure_torch(torch.device("cuda:0"), Memory(limit_gib=limit), ALONE)
    assert asked == [0.25, 1.0]
