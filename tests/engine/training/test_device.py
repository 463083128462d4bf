"""Where a job computes: on the GPU that the driver and torch agree on, and on the CPU of a machine with a GPU only by name."""

from __future__ import annotations

from dataclasses import asdict

import pytest
from small_runs import MakeRun, events, train

from loratui.engine.errors import ExitCode, UsageError
from loratui.engine.machine import hardware
from loratui.engine.machine.accelerator import TorchFacts
from loratui.engine.machine.hardware import Gpu, Listing
from loratui.engine.training import setup

CARD = Gpu(0, "NVIDIA RTX A5000", 24.0, 20.0, "550.54.14", 0, 40, 30.0, "GPU-11", "00000000:01:00.0", (8, 6))


def break_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on this machine has a card whose driver is too old for torch."""
    facts = TorchFacts(version="2.13.0", cuda="13.0", problem="The NVIDIA driver on your system is too old.")
    monkeypatch.setattr(hardware, "listing", lambda *_: Listing((CARD,)))
    monkeypatch.setattr(setup, "gather", lambda: asdict(facts))


def test_the_trainer_refuses_a_gpu_that_torch_cannot_use(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run()
    break_the_gpu(monkeypatch)
    with pytest.raises(UsageError, match=r"driver 550\.54\.14 is too old") as error:
        train(run)
    assert "whl/cu126" in error.value.remedy
    assert setup.read_job(run, computes=False).device.type == "cpu"  # what writes files needs no GPU


def test_the_cpu_by_name_trains_beside_a_gpu(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run("memory.device=cpu", "schedule.image_steps=4", "samples.before_training=false")
    break_the_gpu(monkeypatch)
    assert train(run) == ExitCode.DONE
    assert events(run, "run_started")[0].fields["device"].startswith("CPU")


def test_where_there_is_no_gpu_the_cpu_needs_no_name(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "listing", lambda *_: Listing(()))
    job = setup.read_job(make_run())
    assert (job.device.type, job.card) == ("cpu", None)
