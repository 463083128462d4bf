"""Every memory plan beside what else a run may do: class images, a start from a file, averages, trained text encoders, validation."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from random_bases import run_on, write_images
from small_runs import MakeRun, every_step, losses, train, weights

from loratui.engine.errors import ExitCode
from loratui.engine.runs.control import Inbox
from loratui.engine.runs.directory import RunDirectory
from loratui.engine.runs.event_log import EventLog
from loratui.engine.training.control_queue import ControlQueue
from loratui.engine.training.reporting import Reporter
from loratui.engine.training.setup import read_job
from loratui.engine.training.validation.grid import make_grid

SMALL = ("schedule.repeats=1", "schedule.epochs=1", "samples.steps=1", "training.precision=auto", "adapter.targets=attention")
BESIDE: Mapping[str, tuple[str, ...]] = {
    "averages, text encoders and class images": (
        "training.ema_decay=0.9",
        "training.train_text_encoder=true",
        "dataset.class_images=3",
        "adapter.start_from=",
    ),
    "a schedule-free optimizer and dropout": (
        "optimizer.name=adamw_schedule_free",
        "adapter.dropout=0.2",
        "training.accumulation=2",
    ),
}
PLANS: Mapping[str, tuple[tuple[str, ...], float]] = {
    "partial": (("memory.plan=partial",), 0.0),
    "checkpointing": (("memory.plan=checkpointing",), 0.0),
    "swapped": (("memory.plan=swapped", "memory.quantise=off"), 1e-6),  # its weights lie elsewhere, in the file too: rounding
    "int8": (("memory.quantise=int8",), 0.02),
    "nf4": (("memory.plan=nf4",), 0.1),
}
"""Settings, and by how much a loss may differ from that of the plan that keeps everything."""


def validate(run: RunDirectory) -> list[Path]:
    """The images of a validation of the finished run, in this process."""
    with EventLog.open(run.events_of("validate")) as log:
        report, requests = Reporter(log), ControlQueue()
        requests.open(Inbox(run, log))
        try:
            assert make_grid(read_job(run, "validate"), report, requests) == ExitCode.DONE
        finally:
            report.close()
    return [run.path / image["path"] for image in json.loads((run.validation / "grid.json").read_text())["images"]]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("photos") / "images")


@pytest.fixture(scope="module")
def began(base_folder: Path, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA to start from."""
    run = run_on(base_folder, tmp_path_factory.mktemp("old"), *SMALL, "training.train_text_encoder=true", folder=photos)
    assert train(run) == ExitCode.DONE
    return run.output / "qxz.safetensors"


@pytest.fixture(
    scope="module", params=[next(iter(BESIDE)), *(pytest.param(name, marks=pytest.mark.long) for name in [*BESIDE][1:])]
)
def usual(
    request: pytest.FixtureRequest, base_folder: Path, photos: Path, began: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[MakeRun, list[float]]:
    """Makes runs with the same settings beside their plan, and the losses of the one that keeps everything."""
    sets = tuple(f"{one}{began}" if one.endswith("start_from=") else one for one in BESIDE[request.param])

    def make(*plan: str) -> RunDirectory:
        return run_on(base_folder, tmp_path_factory.mktemp("run"), *SMALL, *sets, *plan, folder=photos)

    run = make("memory.plan=kept")
    assert train(run, every_step) == ExitCode.DONE
    return make, [float.fromhex(loss) for loss in losses(run).values()]


@pytest.mark.parametrize("plan", PLANS)
def test_a_plan_does_what_else_a_run_does(
    usual: tuple[MakeRun, list[float]], plan: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bitsandbytes.nn.modules.has_avx512bf16", lambda: True)  # as on many CPUs
    make, exact = usual
    sets, off = PLANS[plan]
    run = make(*sets)
    assert train(run, every_step) == ExitCode.DONE
    found = [float.fromhex(loss) for loss in losses(run).values()]
    assert found == pytest.approx(exact, rel=off) if off else found == exact
    assert weights(run)
    made = validate(run)
    assert made
    assert all(path.is_file() for path in made)


@pytest.mark.parametrize("stored", ["float16", "float32"])
def test_weights_are_cast_on_the_card_to_the_same_numbers(base_folder: Path, photos: Path, tmp_path: Path, stored: str) -> None:
    """A base that waits in its file, in another format than the run's."""
    from diffusers import UNet2DConditionModel

    base = tmp_path / "base"
    shutil.copytree(base_folder, base)
    UNet2DConditionModel.from_pretrained(base / "unet", torch_dtype=getattr(torch, stored)).save_pretrained(base / "unet")
    runs = [
        run_on(base, tmp_path / name, *SMALL, "training.precision=bf16", *sets, folder=photos)
        for name, sets in (("kept", ("memory.plan=kept",)), ("swapped", ("memory.plan=swapped", "memory.quantise=off")))
    ]
    for run in runs:
        assert train(run, every_step) == ExitCode.DONE
    assert losses(runs[0]) == losses(runs[1])
