"""The newest file of a run that still trains is validated beside it, where both have room."""

from __future__ import annotations

from pathlib import Path

import pytest
from adapted_models import trained, write
from fake_run import FakeTrainer, make_run
from narrow_models import unet_sd15
from screen_text import shows, waits

from loratui.engine import sealed
from loratui.engine.errors import ExitCode, OutOfMemoryError
from loratui.engine.machine.accelerator import NO_GPU, Accelerator, Card
from loratui.engine.machine.hardware import Ram
from loratui.engine.planning import beside
from loratui.engine.planning.beside import room_beside
from loratui.engine.runs.directory import RunDirectory, list_runs
from loratui.presets import load_preset
from loratui.presets.schema import Adapter, replace
from loratui.tui import cli
from loratui.tui.app import LoratuiApp
from loratui.tui.commands import common
from loratui.tui.validation import newest


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Jobs that would have been started."""
    jobs: list[tuple[str, str]] = []
    monkeypatch.setattr(newest, "launch", lambda run, job="train": jobs.append((run.name, job)))
    monkeypatch.setattr(newest, "accelerator", lambda: NO_GPU)
    monkeypatch.setattr(common, "this_machine", lambda: NO_GPU)
    return jobs


def with_a_file(run: RunDirectory) -> RunDirectory:
    ledger = {"format": 1, "root": "", "source": "", "images": [], "left_out": []}
    sealed.write(run.dataset, ledger, run.path)
    adapter = Adapter(rank=4, alpha=4.0, targets="attention")
    path = run.output / "anafox-000010.safetensors"
    write(path, "sd15", trained("sd15", {"denoiser": unet_sd15()}, adapter), adapter)
    return run


async def test_in_the_app_a_key_takes_the_newest_file_and_shows_its_validation(
    home: Path, launched: list[tuple[str, str]]
) -> None:
    run = with_a_file(make_run(home))
    with FakeTrainer(run) as trainer:
        trainer.start()
        async with LoratuiApp(home, "validation", run).run_test(notifications=True, size=(100, 30)) as pilot:
            await shows(pilot, "g validates its newest file beside it")
            await pilot.press("g")
            await waits(pilot, lambda: bool(launched))
            await shows(pilot, "anafox-000010-")
    (other,) = (one for one in list_runs(home) if one.name != run.name)
    assert launched == [(other.name, "validate")]
    assert [path.name for path in other.output.iterdir()] == ["anafox-000010.safetensors"]


def test_too_little_memory_beside_the_training_is_said_and_nothing_is_made(
    home: Path, launched: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LORATUI_HOME", str(home))
    monkeypatch.setattr(beside.hardware, "ram", lambda: Ram(8.0, 0.2, limited=False))
    run = with_a_file(make_run(home))
    with FakeTrainer(run) as trainer:
        trainer.start()
        assert cli.main(["validate", run.name]) == ExitCode.OUT_OF_MEMORY
        assert "Beside the training 0.2 GiB of main memory are free" in capsys.readouterr().err
    assert [one.name for one in list_runs(home)] == [run.name]
    assert not launched


def test_on_a_card_the_memory_plan_of_what_is_free_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = replace(load_preset("sdxl-person").settings, {"base.model": "some.safetensors"})
    card = Card("NVIDIA RTX 4090", 24.0, (8, 9))
    assert "GiB free beside the training, and it takes" in room_beside(settings, Accelerator(card, host_gib=64.0))
    small = Card("NVIDIA GT 1030", 1.0, (6, 1))
    with pytest.raises(OutOfMemoryError, match="GiB are needed"):
        room_beside(settings, Accelerator(small, host_gib=4.0))
