"""What `loratui plan` says of cards and main memory that are too little, old, or in use: a word, and what would fit."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from loratui.engine.machine import accelerator, gpu_holders, hardware
from loratui.engine.machine.accelerator import TorchDevice, TorchFacts
from loratui.engine.machine.gpu_holders import Holder
from loratui.engine.machine.hardware import Gpu, Listing, Ram
from loratui.tui import cli

ARCHES = ("sm_60", "sm_75", "sm_80", "sm_86", "sm_89", "sm_90", "sm_120")
RUN = Holder(71, "the loratui run anna", 4.0, is_run=True)
GAME = Holder(72, "game", 9.0)


def machine(
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    gib: float,
    capability: tuple[int, int],
    *held_by: Holder,
    free: float = math.inf,
    ram: float = 64.0,
) -> None:
    """From now on this machine has one such card, as the driver and torch tell of it."""
    card = Gpu(0, name, gib, min(gib, free), "580.95.05", 0, 40, 30.0, "GPU-11", "00000000:01:00.0", capability, held_by)
    facts = TorchFacts("2.11.0", "13.0", "", ARCHES, (TorchDevice(name, capability, gib, "11"),))
    monkeypatch.setattr(hardware, "listing", lambda *_: Listing((card,)))
    monkeypatch.setattr(hardware, "gpus", lambda *_: (card,))
    monkeypatch.setattr(hardware, "ram", lambda: Ram(ram, ram, False))
    monkeypatch.setattr(accelerator, "torch_facts", lambda _: facts)


def plan(capsys: pytest.CaptureFixture[str], preset: str, *sets: str) -> tuple[int, dict[str, Any]]:
    changes = [word for one in sets for word in ("--set", one)]
    code = cli.main(["plan", "--preset", preset, "--images", "18", "--json", *changes])
    return code, json.loads(capsys.readouterr().out)


T4, P40, A5000 = ("Tesla T4", 15.0, (7, 5)), ("Tesla P40", 24.0, (6, 1)), ("NVIDIA RTX A5000", 24.0, (8, 6))
RTX4090, RTX3060 = ("NVIDIA GeForce RTX 4090", 24.0, (8, 9)), ("NVIDIA GeForce RTX 3060", 12.0, (8, 6))


@pytest.mark.parametrize(
    ("card", "preset", "sets", "beside", "code", "words"),
    [
        (T4, "sdxl-person", (), {}, "precision", ["has no bf16. Trains in fp16"]),
        (P40, "sd15-portrait", (), {}, "precision", ["neither bf16 nor a usable fp16"]),
        (T4, "flux-identity-18img", (), {}, "precision", ["needs bf16, which Tesla T4 lacks", "Use a card with bf16"]),
        (
            A5000,
            "flux-identity-18img",
            ("memory.quantise=fp8",),
            {},
            "memory",
            ["does not multiply in fp8", "memory.quantise=auto"],
        ),
        (
            A5000,
            "flux-identity-18img",
            ("memory.quantise=int8", "memory.plan=nf4"),
            {},
            "memory",
            ["memory.plan=nf4 and memory.quantise=int8 contradict", "Set memory.plan=auto"],
        ),
        (
            RTX4090,
            "flux-identity-18img",
            ("adapter.dora=true",),
            {},
            "memory_too_small",
            ["With adapter.dora=true", "dora=false"],
        ),
        (
            RTX4090,
            "flux-identity-18img",
            ("memory.plan=kept",),
            {},
            "memory_too_small",
            ["The memory plan kept", "memory.plan=auto"],
        ),
        (RTX3060, "flux-identity-18img", (), {"ram": 9.0}, "memory_host", ["9 GiB are free", "Free 15 GiB"]),
        (
            RTX3060,
            "flux-identity-18img",
            ("training.batch_size=1",),
            {"held_by": (GAME,), "free": 2.0},
            "gpu_shared",
            ["held by game (process 72, 9.0 GiB)", "then swapped fits"],
        ),
        (
            RTX4090,
            "sd15-portrait",
            (),
            {"held_by": (RUN,), "free": 19.0},
            "gpu_shared",
            ["the loratui run anna (process 71, 4.0 GiB) computes on", "Wait until it has ended"],
        ),
        (("NVIDIA GTX 1650", 4.0, (8, 0)), "sdxl-person", (), {"ram": 3.0}, "memory_too_small", ["Use a card such as"]),
    ],
)
def test_the_plan_says_what_is_missing_and_what_would_fit(
    home: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    card: tuple[str, float, tuple[int, int]],
    preset: str,
    sets: tuple[str, ...],
    beside: dict[str, Any],
    code: str,
    words: list[str],
) -> None:
    del home
    machine(monkeypatch, *card, *beside.pop("held_by", ()), **beside)
    left, found = plan(capsys, preset, *sets)
    said = [f"{one['message']} {one['remedy']}" for one in found["findings"] if one["id"] == code]
    assert any(all(word in text for word in words) for text in said), (said, [one["id"] for one in found["findings"]])
    assert left in (0, 1, 2)


def test_a_plan_is_made_for_what_is_free(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    del home
    shown = []
    for free in (24.0, 12.0):
        machine(monkeypatch, *RTX4090, free=free)
        here = plan(capsys, "flux-identity-18img", "training.batch_size=1")[1]["estimate"]["here"]
        shown.append(here["memory_plan"])
        assert here["vram_gib"][1] <= free
    assert shown == ["gpu-bf16-quantised-fp8-graphs-compile-auto", "gpu-bf16-swapped-fp8-graphs-compile-auto"]


def test_the_doctor_names_who_is_on_a_card(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    del home
    machine(monkeypatch, *RTX4090, RUN, GAME, free=11.0)
    cli.main(["doctor", "--json"])
    (card,) = json.loads(capsys.readouterr().out)["gpus"]
    assert card["held_by"][0] == {"pid": 71, "name": "the loratui run anna", "gib": 4.0, "is_run": True}
    cli.main(["doctor"])
    said = " ".join(capsys.readouterr().out.split())
    assert "11.0 GiB free, held by the loratui run anna (process 71, 4.0 GiB), game (process 72, 9.0 GiB)" in said


def test_a_trainer_that_is_alive_is_known_by_its_command_line() -> None:
    words = [
        sys.executable,
        "-c",
        "print(flush=True); input()",
        "loratui.engine.training",
        "/home/a/runs/anna",
        "--job",
        "train",
    ]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as trainer:
        assert trainer.stdin is not None
        assert trainer.stdout is not None
        trainer.stdout.readline()
        found = gpu_holders._holder(trainer.pid, 2.0)
        trainer.stdin.close()
    assert found == Holder(trainer.pid, "the loratui run anna", 2.0, is_run=True)
