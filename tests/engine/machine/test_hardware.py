"""The machine is described from what answers; what hangs or is missing is left out, in a second at most."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import types
from pathlib import Path
from typing import Any

import pytest

from loratui.engine.machine import cgroup, gpu_holders, hardware
from loratui.engine.machine.gpu_holders import Holder
from loratui.engine.words import GIB


class FakeDriverError(Exception):
    """Stands for pynvml.NVMLError."""


def fake_nvml(**replaced: object) -> types.SimpleNamespace:
    def refuse(*args: object) -> None:
        raise FakeDriverError("Not Supported")

    nvml = {
        "NVMLError": FakeDriverError,
        "NVML_TEMPERATURE_GPU": 0,
        "nvmlInit": lambda: None,
        "nvmlShutdown": lambda: None,
        "nvmlSystemGetDriverVersion": lambda: b"570.1",
        "nvmlDeviceGetCount": lambda: 2,
        "nvmlDeviceGetHandleByIndex": lambda index: index,
        "nvmlDeviceGetMemoryInfo": lambda handle: types.SimpleNamespace(total=24 << 30, free=12 << 30),
        "nvmlDeviceGetName": lambda handle: "Simulated GPU",
        "nvmlDeviceGetUtilizationRates": lambda handle: types.SimpleNamespace(gpu=37),
        "nvmlDeviceGetTemperature": lambda handle, kind: 61,
        "nvmlDeviceGetPowerUsage": refuse,
    }
    return types.SimpleNamespace(**{**nvml, **replaced})


def test_gpus_are_read_from_the_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", fake_nvml())
    first, second = hardware.gpus()
    assert first == hardware.Gpu(0, "Simulated GPU", 24.0, 12.0, "570.1", 37, 61, None)
    assert second.index == 1


def broken(*args: object) -> None:
    raise FakeDriverError("Driver/library version mismatch")


@pytest.mark.parametrize("part", ["nvmlInit", "nvmlDeviceGetCount", "nvmlDeviceGetMemoryInfo", "nvmlShutdown"])
def test_a_driver_that_fails_is_no_gpu_and_no_error(monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", fake_nvml(**{part: broken}))
    assert len(hardware.gpus()) == (2 if part == "nvmlShutdown" else 0)


def test_without_the_package_there_are_no_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert hardware.gpus() == ()


def test_a_driver_that_hangs_costs_the_time_limit_once(monkeypatch: pytest.MonkeyPatch) -> None:
    release, asked = threading.Event(), []

    def hangs() -> None:
        asked.append(threading.current_thread())
        release.wait(20)

    monkeypatch.setitem(sys.modules, "pynvml", fake_nvml(nvmlInit=hangs))
    started = time.monotonic()
    assert hardware.gpus(0.1) == ()
    for _ in range(5):
        assert hardware.gpus(0.1) == ()
    assert time.monotonic() - started < 1.0
    assert len(asked) == 1
    release.set()
    deadline = time.monotonic() + 5
    while not hardware.gpus() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(hardware.gpus()) == 2


def test_memory_is_the_containers_if_that_is_less(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "_meminfo", lambda: (64 << 30, 32 << 30))
    monkeypatch.setattr(cgroup, "memory_limit_bytes", lambda: None)
    assert hardware.ram() == hardware.Ram(64.0, 32.0, False)
    monkeypatch.setattr(cgroup, "memory_limit_bytes", lambda: 8 << 30)
    monkeypatch.setattr(cgroup, "memory_used_bytes", lambda: 3 << 30)
    assert hardware.ram() == hardware.Ram(8.0, 5.0, True)
    monkeypatch.setattr(cgroup, "memory_limit_bytes", lambda: 128 << 30)
    assert hardware.ram() == hardware.Ram(64.0, 32.0, False)


def test_free_space_is_that_of_the_nearest_folder_that_exists(tmp_path: Path) -> None:
    here = hardware.disk_free_gib(tmp_path)
    assert here is not None
    assert here > 0
    assert hardware.disk_free_gib(tmp_path / "not" / "yet") == pytest.approx(here, abs=0.5)


def test_versions_are_read_without_importing() -> None:
    code = "import sys; from loratui.engine.machine.hardware import versions, gpus, ram, allowed_cpus\n"
    code += "found = versions(['torch', 'textual', 'no-such-package']); gpus(); ram(); allowed_cpus()\n"
    code += "assert found['textual'] and found['no-such-package'] is None, found\n"
    code += "assert not {'torch', 'textual', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)


def test_this_machine_has_cpus_and_memory() -> None:
    assert hardware.allowed_cpus() >= 1
    assert hardware.cpu_name()
    assert hardware.ram().total_gib > 0


def process(pid: int, used: Any) -> types.SimpleNamespace:
    return types.SimpleNamespace(pid=pid, usedGpuMemory=used)


@pytest.fixture
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    programs = {
        7: (
            "python3",
            ["/usr/bin/python3", "-P", "-m", "loratui.engine.training", "/home/a/runs/anna 2", "--job", "train", ""],
        ),
        8: ("Xorg\x1b[31m", ["/usr/lib/Xorg", ""]),
        9: ("python3", ["python3", "-m", "loratui.engine.training"]),
    }
    for pid, (name, words) in programs.items():
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "comm").write_text(f"{name}\n")
        (tmp_path / str(pid) / "cmdline").write_text("\0".join(words))
    monkeypatch.setattr(gpu_holders, "_PROC", tmp_path)
    return tmp_path


def listing(monkeypatch: pytest.MonkeyPatch, **asked: Any) -> tuple[Holder, ...]:
    monkeypatch.setitem(sys.modules, "pynvml", fake_nvml(**asked))
    return hardware.gpus()[0].held_by


def test_programs_on_a_card_are_named_and_this_one_is_not(proc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    del proc
    computing = [process(8, 1), process(os.getpid(), 5 * GIB), process(7, 3 * GIB), process(9, None), process(123, 2**64 - 1)]
    found = listing(
        monkeypatch,
        nvmlDeviceGetComputeRunningProcesses=lambda _: computing,
        nvmlDeviceGetGraphicsRunningProcesses=lambda _: [process(8, GIB // 2)],
    )
    assert [holder.words for holder in found] == [
        "the loratui run anna 2 (process 7, 3.0 GiB)",
        "Xorg[31m (process 8, 0.5 GiB)",
        "python3 (process 9)",
        "a program (process 123)",
    ]
    assert [holder.is_run for holder in found] == [True, False, False, False]


def test_a_number_that_means_another_process_here_is_not_named(proc: Path) -> None:
    """The driver of a container may tell the numbers of the machine."""
    for pid, target in ((8, "/dev/nvidia0"), (9, "/dev/null")):
        (proc / str(pid) / "fd").mkdir()
        (proc / str(pid) / "fd" / "3").symlink_to(target)
    assert [gpu_holders._holder(pid, None).name for pid in (8, 9)] == ["Xorg[31m", ""]


def test_a_driver_that_names_nobody_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> None:
        raise FakeDriverError("Not Supported")

    assert listing(monkeypatch) == ()
    assert listing(monkeypatch, nvmlDeviceGetComputeRunningProcesses=refuse) == ()
