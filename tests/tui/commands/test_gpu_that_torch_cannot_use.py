"""A GPU that the driver lists and torch cannot use: every command says so, and nothing trains on the CPU at its price unasked."""

from __future__ import annotations

import dataclasses
import json
import threading
from pathlib import Path

import pytest

from loratui.engine.machine import accelerator, hardware
from loratui.engine.machine.accelerator import NO_GPU, Accelerator, TorchDevice, TorchFacts
from loratui.engine.machine.hardware import Gpu, Listing
from loratui.presets.bases import demo_dataset
from loratui.tui import cli
from loratui.tui.commands import common

CARD = Gpu(0, "NVIDIA RTX A5000", 24.0, 20.0, "550.54.14", 0, 40, 30.0, "GPU-11", "00000000:01:00.0", (8, 6))
OTHER = Gpu(1, "NVIDIA T4", 15.0, 15.0, "550.54.14", 0, 40, 30.0, "GPU-22", "00000000:02:00.0", (7, 5))
OLD_DRIVER = TorchFacts(
    version="2.13.0", cuda="13.0", problem="The NVIDIA driver on your system is too old (found version 12040)."
)
IN_ORDER = TorchFacts("2.9.0", "12.6", "", ("sm_75", "sm_86"), (TorchDevice("NVIDIA RTX A5000", (8, 6), 23.7, "11"),))

DEMO = (str(demo_dataset()), "--preset", "demo", "--trigger", "anafox", "--class", "woman")


def has_gpu(monkeypatch: pytest.MonkeyPatch, facts: TorchFacts) -> None:
    monkeypatch.setattr(hardware, "listing", lambda *_: Listing((CARD, OTHER)))
    monkeypatch.setattr(accelerator, "torch_facts", lambda _: facts)


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    code = cli.main([*words])
    said = capsys.readouterr()
    return code, said.out + said.err


@pytest.mark.parametrize("words", [("train", *DEMO, "--yes"), ("train", *DEMO, "--json"), ("demo", "--no-tui")])
def test_nothing_starts_and_the_line_for_this_driver_is_said(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    has_gpu(monkeypatch, OLD_DRIVER)
    code, said = run(capsys, *words)
    assert code == 2
    assert "driver 550.54.14 is too old for torch 2.13.0" in said
    assert "whl/cu126" in said
    assert "--device cpu" in said
    assert not list((home / "runs").glob("*"))


def test_a_gpu_that_another_program_has_ends_with_the_code_for_gpus(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    busy = dataclasses.replace(IN_ORDER, problem="CUDA error: all CUDA-capable devices are busy or unavailable")
    has_gpu(monkeypatch, busy)
    code, said = run(capsys, "train", *DEMO, "--yes")
    assert code == 33
    assert "taken by another program" in said
    assert "whl" not in said


def test_the_plan_gives_no_gpu_times_and_the_doctor_no_all_clear(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    has_gpu(monkeypatch, OLD_DRIVER)
    code, said = run(capsys, "plan", *DEMO, "--json")
    table = json.loads(said)
    here = table["estimate"]["here"]
    assert (here["machine"], here["time_s"], here["fits"]) == ("unusable", None, "no")
    assert [f["id"] for f in table["findings"] if f["severity"] == "error"] == ["gpu_unusable"]
    code, said = run(capsys, "doctor")
    assert code == 1
    assert "too old" in said
    assert "Nothing stands in the way" not in said
    report = json.loads(run(capsys, "doctor", "--json")[1])
    assert (report["training_on"], report["gpus"][0]["name"]) == (None, CARD.name)
    assert any("whl/cu126" in problem for problem in report["problems"])


def test_the_card_that_torch_takes_is_the_one_that_is_planned_for(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    has_gpu(monkeypatch, IN_ORDER)
    here = json.loads(run(capsys, "plan", *DEMO, "--json")[1])["estimate"]["here"]
    assert here["machine"] == "NVIDIA RTX A5000"
    report = json.loads(run(capsys, "doctor", "--json")[1])
    card = {"name": "NVIDIA RTX A5000", "total_gib": 23.7, "capability": [8, 6], "uuid": "GPU-11", "link_gb_s": None}
    assert report["training_on"] == card
    assert report["training_in"] == "bf16"
    assert [gpu["hidden"] for gpu in report["gpus"]] == [False, True]
    assert "hidden by CUDA_VISIBLE_DEVICES" in run(capsys, "doctor")[1]


def test_the_cpu_by_name_is_planned_as_the_cpu_beside_a_sound_gpu(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    has_gpu(monkeypatch, IN_ORDER)
    table = json.loads(run(capsys, "plan", *DEMO, "--device", "cpu", "--json")[1])
    assert table["estimate"]["here"]["machine"] == "CPU"
    assert table["settings"]["memory"]["device"] == "cpu"
    assert [f["severity"] for f in table["findings"] if f["id"] == "cpu_by_name"] == ["info"]


def test_who_waits_for_torch_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    told, said = threading.Event(), []

    def say(out: object, words: str) -> None:
        said.append(words)
        told.set()

    def slow() -> Accelerator:
        assert told.wait(30)
        return NO_GPU

    monkeypatch.setattr(common, "_QUIET_S", 0.0)
    monkeypatch.setattr(common, "say", say)
    monkeypatch.setattr("loratui.engine.machine.accelerator.accelerator", slow)
    assert common.this_machine() == NO_GPU
    assert "Loading torch" in said[0]
