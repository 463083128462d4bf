"""What the trainer's process does when GPU memory runs out, apart from the supervisor; tests/faults has the whole."""

from __future__ import annotations

import dataclasses
import weakref
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from small_runs import MakeRun

from loratui.engine.errors import CannotPinError, ExitCode, MemoryPlanFailedError, OutOfMemoryError
from loratui.engine.findings import Finding
from loratui.engine.machine import hardware
from loratui.engine.machine.accelerator import Card
from loratui.engine.machine.gpu_holders import Holder
from loratui.engine.machine.hardware import Gpu
from loratui.engine.planning.memory_plan import MemoryPlan
from loratui.engine.planning.world import ALONE
from loratui.engine.training import __main__ as process
from loratui.engine.training import setup
from loratui.engine.training.control_queue import ControlQueue
from loratui.engine.training.frozen import swap
from loratui.engine.training.out_of_memory import concerns_plan, plan_failed
from loratui.engine.words import GIB
from loratui.presets import load_preset
from loratui.presets.schema import Memory, replace


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


class Card24:
    """A card of which others hold more and more."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.free_gib, self.own_gib = 23.5, 0.0
        self.card = Card("NVIDIA GeForce RTX 4090", 24.0, (8, 9), "GPU-1")
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (int(self.free_gib * GIB), 24 * GIB))
        monkeypatch.setattr(torch.cuda, "memory_reserved", lambda: int(self.own_gib * GIB))
        monkeypatch.setattr(hardware, "gpus", lambda: (self.listed(),))

    def listed(self) -> Gpu:
        held_by = (Holder(7, "the loratui run anna", 18.0, is_run=True),)
        return Gpu(0, self.card.name, 24.0, self.free_gib, "580", 0, 40, 100.0, uuid="GPU-1", held_by=held_by)


def test_a_plan_that_failed_beside_others_names_them_and_takes_what_fits_now(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulated = Card24(monkeypatch)
    settings = load_preset("flux-identity-18img").settings
    facts = setup.memory_facts(settings, simulated.card, setup.Team(), frozenset())
    assert facts.held_by == (), "nobody is asked where nothing is missing"
    plan = setup.decide_memory(facts)
    assert plan.way == "quantised-split"
    job = dataclasses.replace(setup.read_job(make_run()), card=simulated.card, memory_plan=plan, facts=facts)
    told: list[tuple[str, Any]] = []
    report = SimpleNamespace(event=lambda *_, **named: None, warn=lambda key, **named: told.append((key, named)))
    simulated.free_gib, simulated.own_gib = 10.0, 2.0
    error = plan_failed(job, report, "CUDA out of memory", bool)  # type: ignore[arg-type]  # a stand-in
    ((key, named),) = told
    assert (key, named["next"], error.failed) == ("memory_plan_failed.shared", "swapped", frozenset({"quantised-split"}))
    assert Finding.of(key, **named).message == (
        "GPU memory ran out with the memory plan quantised-split, while the loratui run anna (process 7, 18.0 GiB) held 10.7 GiB of the "
        "card; the run continues with swapped."
    )
    simulated.free_gib, simulated.own_gib, told[:] = 1.0, 0.0, []
    error = plan_failed(job, report, "CUDA out of memory", bool)  # type: ignore[arg-type]  # a stand-in
    assert not told
    assert not error.another
    assert "the loratui run anna" in error.message


@pytest.mark.parametrize(
    ("plan", "following", "words"),
    [
        ("auto", "nf4", "Main memory could not be pinned for the memory plan swapped; the run continues with nf4."),
        ("swapped", "", "Set memory.plan=auto in a new run; nf4 is left then. Or free main memory"),
    ],
)
def test_memory_that_cannot_be_pinned_fails_every_plan_that_swaps(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, plan: str, following: str, words: str
) -> None:
    empty = torch.empty

    def refusing(*given: Any, pin_memory: bool = False, **named: Any) -> torch.Tensor:
        if pin_memory:
            raise RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported")
        return empty(*given, **named)

    monkeypatch.setattr(torch, "empty", refusing)
    with pytest.raises(CannotPinError, match=r"1\.0 GiB of main memory cannot be pinned: CUDA error: out of memory") as caught:
        swap._Arenas(pinned=True).take(1000)
    simulated = Card24(monkeypatch)
    simulated.free_gib = 16.0
    settings = replace(load_preset("flux-identity-18img").settings, {"training.batch_size": 2, "memory.plan": plan})
    facts = dataclasses.replace(setup.memory_facts(settings, simulated.card, setup.Team(), frozenset()), host_gib=64.0)
    facts = dataclasses.replace(facts, failed=frozenset({"quantised-split"}))
    job = dataclasses.replace(
        setup.read_job(make_run()), card=simulated.card, facts=facts, memory_plan=setup.decide_memory(facts)
    )
    assert job.memory_plan.way == "swapped"
    assert concerns_plan(caught.value, job)
    told: list[Finding] = []
    report = SimpleNamespace(event=lambda *_, **named: None, warn=lambda key, **named: told.append(Finding.of(key, **named)))
    error = plan_failed(job, report, "", bool, unpinned=True)  # type: ignore[arg-type]  # a stand-in
    assert error.told["next"] == following
    assert words in (told[0].message if told else error.remedy)
    after = setup.decide(dataclasses.replace(facts, failed=error.failed))
    assert not isinstance(after, MemoryPlan) or not after.rung.swaps


def test_a_trainer_says_that_another_run_has_its_card(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    simulated = Card24(monkeypatch)
    simulated.free_gib = 12.0
    facts = setup.memory_facts(load_preset("flux-identity-18img").settings, simulated.card, setup.Team(), frozenset())
    facts = dataclasses.replace(facts, host_gib=64.0)
    assert [holder.name for holder in facts.held_by] == ["the loratui run anna"]
    job = dataclasses.replace(
        setup.read_job(make_run()), card=simulated.card, facts=facts, memory_plan=setup.decide_memory(facts)
    )
    monkeypatch.setattr(setup, "read_job", lambda *_, **__: job)
    told: list[Finding] = []
    report = SimpleNamespace(watch=lambda _: None, warn_of=told.append, phase=lambda *_: None)
    monkeypatch.setattr("loratui.engine.training.trainer.Trainer.run", lambda _: ExitCode.DONE)
    process._work(job.run, "train", report, ControlQueue(), ALONE)  # type: ignore[arg-type]  # a stand-in
    assert [found.key for found in told] == ["gpu_shared.lower"]


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
