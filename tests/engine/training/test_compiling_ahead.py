"""Blocks that are compiled by other processes while a trainer loads."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest
from small_runs import MakeRun

from loratui.engine import jobs
from loratui.engine.job_child import Content
from loratui.engine.machine import hardware
from loratui.engine.machine.accelerator import Card
from loratui.engine.machine.hardware import Ram
from loratui.engine.planning.memory_need import Facts
from loratui.engine.planning.memory_plan import MemoryPlan, decide
from loratui.engine.runs.directory import RunDirectory
from loratui.engine.training import compiling_ahead
from loratui.engine.training.compiling_ahead import PROCESSES, CompilingAhead
from loratui.presets import load_preset
from loratui.presets.schema import Settings, replace

H200 = Card("NVIDIA H200", 139.8, (9, 0))
FLUX = replace(load_preset("flux-identity-18img").settings, {"memory.compile": "on", "base.model": "flux.safetensors"})


def facts_of(settings: Settings = FLUX, free_gib: float = 139.0) -> Facts:
    return dataclasses.replace(Facts.of(settings, H200, free_gib), host_gib=100.0)


def plan_of(facts: Facts) -> MemoryPlan:
    found = decide(facts)
    assert isinstance(found, MemoryPlan)
    return found


class Asked:
    """In place of the processes: what they were asked, and how many were ended."""

    def __init__(self) -> None:
        self.requests: list[Any] = []
        self.ended = 0
        self.answer: Callable[[], object] = lambda: Content({"blocks": 1, "found": 0}, b"")

    def process(self, name: str, *, cancelled: Callable[[], bool]) -> Any:
        assert name == "compile"
        assert not cancelled()
        return self

    def begin(self) -> None:
        pass

    def ask(self, request: Any) -> None:
        self.requests.append(request)

    def end(self) -> None:
        self.ended += 1


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Asked:
    """A machine with a large card, whose processes are simulated."""
    made = Asked()
    monkeypatch.setattr(jobs, "Process", made.process)
    monkeypatch.setattr(hardware, "gpus", lambda *_: (H200,))
    monkeypatch.setattr(hardware, "allowed_cpus", lambda: 16)
    monkeypatch.setattr(hardware, "ram", lambda: Ram(128.0, 100.0, False))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    return made


def begun(settings: Settings = FLUX) -> CompilingAhead:
    found = compiling_ahead.begin(settings)
    assert found is not None
    return found


def test_each_process_compiles_its_share_with_the_trainers_memory(asked: Asked, tmp_path: Path) -> None:
    ahead, facts = begun(), facts_of()
    ahead.decide(RunDirectory(tmp_path), facts, plan_of(facts), 1000)
    ahead.wait()
    assert sorted(request["share"] for request in asked.requests) == list(range(PROCESSES))
    assert {request["free_gib"] for request in asked.requests} == {139.0}
    assert json.dumps(asked.requests)
    assert asked.ended == PROCESSES
    assert compiling_ahead.begin(FLUX) is None, "what is on the disk is not compiled again"
    assert compiling_ahead.begin(replace(FLUX, {"adapter.rank": 64})) is not None


@pytest.mark.parametrize(
    ("changes", "free_gib", "steps", "suits"),
    [
        ({}, 139.0, 10, True),
        ({"memory.compile": "auto"}, 139.0, 5000, True),
        ({"memory.compile": "auto"}, 139.0, 10, False),
        ({"memory.plan": "swapped"}, 139.0, 5000, False),
        ({"memory.plan": "kept"}, 50.0, 5000, False),
        ({"training.train_text_encoder": True}, 139.0, 5000, True),
    ],
)
def test_only_where_the_run_compiles_and_leaves_room(changes: dict[str, Any], free_gib: float, steps: int, suits: bool) -> None:
    facts = facts_of(replace(FLUX, changes), free_gib)
    assert compiling_ahead.suits(facts, plan_of(facts), steps) is suits


def test_processes_that_are_of_no_use_end_unasked(asked: Asked, tmp_path: Path) -> None:
    ahead, facts = begun(), facts_of(replace(FLUX, {"memory.plan": "swapped"}))
    ahead.decide(RunDirectory(tmp_path), facts, plan_of(facts), 1000)
    ahead.wait()
    assert not asked.requests
    assert asked.ended == PROCESSES
    assert not list(tmp_path.iterdir())


def test_a_process_that_dies_leaves_the_work_to_the_trainer(asked: Asked, tmp_path: Path) -> None:
    def dies() -> None:
        raise jobs.JobDied("The process that compiles", "ended")

    asked.answer = dies
    ahead = begun()
    ahead.compile({"run": str(tmp_path)})
    ahead.wait()
    assert asked.ended == PROCESSES
    assert not list(tmp_path.iterdir())
    assert compiling_ahead.begin(FLUX) is not None


def test_no_process_is_waited_for_longer_than_compiling_takes(
    asked: Asked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = threading.Event()
    asked.answer = lambda: go.wait(60) and Content({}, b"")
    monkeypatch.setattr(compiling_ahead, "PATIENCE_S", 0.0)
    ahead = begun()
    ahead.compile({"run": str(tmp_path)})
    ahead.wait()
    assert not list(tmp_path.iterdir())
    go.set()


@pytest.mark.parametrize(
    "changes",
    [
        {"memory.compile": "off"},
        {"memory.device": "cpu"},
        {"memory.limit_gib": 22},
        {"training.processes": 2},
        {"base.model": "embedded:flux"},
    ],
)
def test_no_process_is_started_for_a_run_that_it_cannot_help(asked: Asked, changes: dict[str, Any]) -> None:
    assert compiling_ahead.begin(replace(FLUX, changes)) is None


@pytest.mark.parametrize("lacks", ["cpus", "memory", "card", "folder"])
def test_no_process_is_started_on_a_machine_without_room(
    asked: Asked, monkeypatch: pytest.MonkeyPatch, lacks: Literal["cpus", "memory", "card", "folder"]
) -> None:
    match lacks:
        case "cpus":
            monkeypatch.setattr(hardware, "allowed_cpus", lambda: 4)
        case "memory":
            monkeypatch.setattr(hardware, "ram", lambda: Ram(16.0, 8.0, False))
        case "card":
            monkeypatch.setattr(hardware, "gpus", lambda *_: ())
        case "folder":
            monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
    assert compiling_ahead.begin(FLUX) is None


SMALL = """if True:
    import torch
    from loratui.engine.training.frozen import appended
    appended.MULTIPLES = {torch.bfloat16: 2, torch.float8_e4m3fn: 2}
    appended.MOST = 1
"""
"""Has the layers of a narrow base suit, too."""
COMPILES = """if True:
    import dataclasses, json, sys
    from pathlib import Path
    from loratui.engine.training.beginnings import prepare
    prepare()
    from loratui.engine.runs.directory import RunDirectory
    from loratui.engine.training.compile_ahead import compile_blocks
    from loratui.engine.training.setup import read_job
    job = read_job(RunDirectory(Path(sys.argv[1])))
    job = dataclasses.replace(job, memory_plan=dataclasses.replace(job.memory_plan, **json.loads(sys.argv[2])))
    print(compile_blocks(job, int(sys.argv[3]), int(sys.argv[4])))
"""
TRAINS = """if True:
    import dataclasses, json, sys
    from pathlib import Path
    from loratui.engine.training.beginnings import prepare
    prepare()
    from torch._dynamo.utils import counters
    from loratui.engine.runs.directory import RunDirectory
    from loratui.engine.training.control_queue import ControlQueue
    from loratui.engine.training.reporting import Reporter, Told
    from loratui.engine.training.setup import read_job
    from loratui.engine.training.trainer import Trainer
    run = RunDirectory(Path(sys.argv[1]))
    job = read_job(run)
    job = dataclasses.replace(job, memory_plan=dataclasses.replace(job.memory_plan, compile="on", **json.loads(sys.argv[2])))
    report = Reporter(Told(run.events, lambda _: None))
    trainer = Trainer(job, report, ControlQueue())
    trainer._set_up()
    trainer.steps.compile_if_due(next(trainer.batch_schedule.windows()))
    report.close()
    appended = sum(type(one).__name__ == "AppendedLinear" for one in trainer.loaded.model.denoiser.modules())
    print(counters["stats"]["unique_graphs"], counters["aot_autograd"]["autograd_cache_hit"], appended)
"""


def in_a_process(code: str, *arguments: str) -> str:
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr
    return done.stdout


def found_by_the_trainer(run: RunDirectory, before: str = "", **plan: Any) -> tuple[int, int, int]:
    """How many kinds of blocks a trainer compiles, how many of them it finds on the disk, and how many layers have a LoRA appended."""
    blocks, found, appended = map(int, in_a_process(before + TRAINS, str(run.path), json.dumps(plan)).split()[-3:])
    return blocks, found, appended


@pytest.mark.long
@pytest.mark.parametrize("sets", [(), ("training.train_text_encoder=true",)], ids=["", "text encoder"])
def test_a_trainer_finds_what_the_real_process_compiled(
    make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sets: tuple[str, ...]
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "inductor"))
    run = make_run("schedule.image_steps=4", "training.batch_size=2", *sets)
    memory = {"free_gib": 0.0, "host_gib": 100.0, "failed": []}
    for share in range(PROCESSES):
        jobs.run("compile", {"run": str(run.path), **memory, "share": share, "shares": PROCESSES})
    blocks, found, _ = found_by_the_trainer(run)
    assert blocks
    assert found == blocks


@pytest.mark.long
@pytest.mark.parametrize(
    "plan",
    [{"placement": "gpu"}, {"placement": "gpu", "appends": True, "two_copies": True}],
    ids=["joined", "appended"],
)
def test_a_trainer_finds_what_was_compiled_for_a_base_in_fp8(
    make_run: MakeRun, flux_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plan: dict[str, Any]
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "inductor"))
    fp8 = (
        "memory.plan=quantised",
        "memory.quantise=fp8",
        "memory.gradient_checkpointing=off",
        "training.precision=bf16",
        "training.min_snr_gamma=0",
    )
    run = make_run("schedule.image_steps=4", f"base.model={flux_folder}", "base.family=flux", *fp8)
    for share in range(PROCESSES):
        in_a_process(SMALL + COMPILES, str(run.path), json.dumps(plan), str(share), str(PROCESSES))
    blocks, found, appended = found_by_the_trainer(run, SMALL, **plan)
    assert blocks
    assert found == blocks
    assert bool(appended) is plan.get("appends", False)
