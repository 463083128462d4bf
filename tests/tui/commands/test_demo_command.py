"""`loratui demo` in plain lines, with a trainer that is none."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
from fake_run import FakeTrainer

from loratui.engine.machine import hardware
from loratui.engine.machine.accelerator import NO_GPU
from loratui.engine.runs.directory import RunDirectory, list_runs, loratui_home
from loratui.tui import cli
from loratui.tui.commands import common
from loratui.tui.wizard import demo


@pytest.fixture
def _trained(monkeypatch: pytest.MonkeyPatch) -> None:
    def launch(run: RunDirectory, job: str = "train") -> None:
        with FakeTrainer(run, job) as trainer:
            trainer.start()
            trainer.steps(900)
            trainer.output(final=True)
            trainer.finish(advice=f"loratui validate {run.name} makes the validation images.")

    monkeypatch.setattr("loratui.engine.runs.launcher.launch", launch)


@pytest.mark.usefixtures("_trained")
@pytest.mark.parametrize(
    ("cores", "gpu", "arguments", "divided"),
    [(1, False, [], False), (2, False, [], True), (8, True, [], False), (8, True, ["--device", "cpu"], True)],
)
def test_several_cores_divide_the_batch_and_a_gpu_or_a_single_core_does_not(
    cores: int,
    gpu: bool,
    arguments: list[str],
    divided: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(hardware, "allowed_cpus", lambda: cores)
    monkeypatch.setattr(demo.hardware, "has_device_file", lambda: gpu)
    monkeypatch.setattr(common, "this_machine", lambda: NO_GPU)
    assert cli.main(["demo", "--no-tui", *arguments]) == 0
    assert f"÷ batch 2{' (1 in each of 2 processes)' if divided else ''} = 900 optimizer steps" in capsys.readouterr().out
    settings = tomllib.loads((list_runs(loratui_home())[0].path / "effective.toml").read_text())
    assert settings["training"]["processes"] == (2 if divided else 1)
    assert settings["memory"]["device"] == ("cpu" if divided or arguments else "auto")


@pytest.mark.usefixtures("_trained")
def test_plain_lines_end_with_the_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["demo", "--no-tui"]) == 0
    lines = capsys.readouterr().out.splitlines()
    [run] = list_runs(loratui_home())
    assert lines[-1] == f"LoRA file: {run.output / 'anafox.safetensors'}"
    text = "\n".join(lines)
    assert "18 images × 10 repeats = 180 image-steps an epoch" in text
    assert "every LoRA tool opens" in text


@pytest.mark.usefixtures("_trained")
def test_json_is_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["demo", "--json"]) == 0
    body = json.loads(capsys.readouterr().out)
    assert body["status"] == "done"
    assert Path(body["output"]).is_file()


@pytest.mark.usefixtures("_trained")
@pytest.mark.parametrize("family", ["sd15", "sdxl", "flux"])
def test_each_family_trains_on_the_embedded_base_of_its_shape(family: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["demo", "--no-tui", "--family", family]) == 0
    [run] = list_runs(loratui_home())
    base = tomllib.loads((run.path / "effective.toml").read_text())["base"]
    assert (base["family"], base["model"]) == (family, f"embedded:{family}")
    assert f"(embedded:{family})" in capsys.readouterr().out


@pytest.mark.parametrize("command", [["demo", "--no-tui"], ["demo", "--json"]])
def test_too_little_space_has_the_exit_code_of_a_full_disk(
    home: Path, command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("loratui.engine.planning.preflight.free_bytes", lambda folder: 1000)
    assert cli.main(command) == 20
    assert "are free, but this run writes about" in capsys.readouterr().err
