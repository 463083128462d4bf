"""The load of the machine is that of all its programs; in a container, of all programs in it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from loratui.engine.machine import processor
from loratui.engine.machine.processor import CpuMeter


def machine(root: Path, *cpus: tuple[int, int]) -> Path:
    """A /proc of CPUs with so many ticks at work and idle; each has as many ticks of waiting for disks as of being idle."""
    (root / "self").mkdir(parents=True, exist_ok=True)
    (root / "self" / "cgroup").write_text("0::/\n")
    lines = [f"cpu{n} {busy} 0 0 {idle} {idle} 0 0 0 {busy} 0" for n, (busy, idle) in enumerate(cpus)]
    (root / "stat").write_text("\n".join(["cpu  9 9 9 9 9 9 9 9", *lines, "intr 1 2 3", ""]))
    return root


def test_all_programs_count_and_only_the_cpus_that_are_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 2}, raising=False)
    meter = CpuMeter(machine(tmp_path, (100, 100), (5, 5), (100, 100)), tmp_path / "none")
    assert meter.percent() is None
    machine(tmp_path, (200, 100), (1000, 5), (100, 150))
    assert meter.percent() == pytest.approx(50.0)  # CPU 0 at work for 100 ticks, CPU 2 idle for 100, CPU 1 not ours
    assert meter.percent() is None  # no time has passed


def test_in_a_container_with_a_quota_the_host_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    proc, group = machine(tmp_path / "proc", (1, 1)), tmp_path / "cgroup"
    group.mkdir()
    (group / "cpu.max").write_text("200000 100000\n")
    (group / "cpu.stat").write_text("usage_usec 1000000\nuser_usec 1\n")
    now = [100.0]
    monkeypatch.setattr(processor.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    meter = CpuMeter(proc, group)
    meter.percent()
    (group / "cpu.stat").write_text("usage_usec 4000000\nuser_usec 1\n")
    now[0] += 2.0
    assert meter.percent() == pytest.approx(75.0)  # 3 s of the 4 that two CPUs have in 2 s
    (group / "cpu.stat").write_text("nothing of the kind\n")
    (group / "cpuacct.usage").write_text("5000000000\n")  # version 1, ns
    now[0] += 2.0
    assert meter.percent() == pytest.approx(25.0)


def test_a_part_of_a_cpu_that_is_used_up_is_all_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    proc, group = machine(tmp_path / "proc", (1, 1)), tmp_path / "cgroup"
    group.mkdir()
    now = [100.0]
    monkeypatch.setattr(processor.time, "monotonic", lambda: now[0])
    for quota, cpus, percent in ((50_000, 8, 100.0), (150_000, 8, 100 / 3), (400_000, 2, 25.0)):
        (group / "cpu.max").write_text(f"{quota} 100000\n")
        (group / "cpu.stat").write_text("usage_usec 1000000\n")
        monkeypatch.setattr(os, "cpu_count", lambda cpus=cpus: cpus)
        meter = CpuMeter(proc, group)
        meter.percent()
        (group / "cpu.stat").write_text("usage_usec 2000000\n")
        now[0] += 2.0
        assert meter.percent() == pytest.approx(percent)


def test_a_machine_that_tells_nothing_has_no_load(tmp_path: Path) -> None:
    meter = CpuMeter(tmp_path, tmp_path)
    assert [meter.percent(), meter.percent()] == [None, None]
    machine(tmp_path)
    assert [meter.percent(), meter.percent()] == [None, None]
