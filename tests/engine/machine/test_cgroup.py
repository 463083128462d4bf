"""Limits of containers, version 1 and 2, read from trees made up like the real ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from loratui.engine.machine import cgroup, hardware


def tree(root: Path, group: str, files: dict[str, str]) -> tuple[Path, Path]:
    proc, mount = root / "proc", root / "cgroup"
    (proc / "self").mkdir(parents=True)
    mount.mkdir()
    (proc / "self" / "cgroup").write_text(group)
    for name, text in files.items():
        (mount / name).parent.mkdir(parents=True, exist_ok=True)
        (mount / name).write_text(text)
    return proc, mount


def test_version_2_takes_the_tightest_limit_on_the_way_up(tmp_path: Path) -> None:
    where = tree(
        tmp_path,
        "0::/pod/box\n",
        {
            "pod/box/cpu.max": "max 100000\n",
            "pod/cpu.max": "150000 100000\n",
            "cpu.max": "400000 100000\n",
            "pod/box/memory.max": "max\n",
            "pod/memory.max": "2147483648\n",
            "pod/box/memory.current": "1000\n",
            "pod/box/memory.events": "low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\noom_group_kill 0\n",
        },
    )
    assert cgroup.cpu_quota(*where) == 1.5
    assert cgroup.memory_limit_bytes(*where) == 2**31
    assert cgroup.memory_used_bytes(*where) == 1000
    assert cgroup.oom_kills(*where) == 2


def test_version_1_in_a_container_whose_own_path_is_not_mounted(tmp_path: Path) -> None:
    where = tree(
        tmp_path,
        "12:cpuset:/docker/ab\n5:cpu,cpuacct:/docker/ab\n4:memory:/docker/ab\n1:name=systemd:/\n0::/\n",
        {
            "cpu/cpu.cfs_quota_us": "250000\n",
            "cpu/cpu.cfs_period_us": "100000\n",
            "memory/memory.limit_in_bytes": "1073741824\n",
            "memory/memory.usage_in_bytes": "512\n",
            "memory/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n",
        },
    )
    assert cgroup.cpu_quota(*where) == 2.5
    assert cgroup.memory_limit_bytes(*where) == 2**30
    assert cgroup.memory_used_bytes(*where) == 512
    assert cgroup.oom_kills(*where) == 1


@pytest.mark.parametrize("files", [{}, {"cpu.max": "max 100000", "memory.max": "max"}, {"cpu.max": "", "memory.max": "many"}])
def test_without_limits_there_are_none(tmp_path: Path, files: dict[str, str]) -> None:
    where = tree(tmp_path, "0::/\n", files)
    assert cgroup.cpu_quota(*where) is None
    assert cgroup.memory_limit_bytes(*where) is None
    assert cgroup.oom_kills(*where) is None


def test_version_1_writes_no_limit_as_a_huge_number_and_no_quota_as_minus_one(tmp_path: Path) -> None:
    files = {
        "memory/memory.limit_in_bytes": "9223372036854771712",
        "cpu/cpu.cfs_quota_us": "-1",
        "cpu/cpu.cfs_period_us": "100000",
    }
    where = tree(tmp_path, "5:cpu:/\n4:memory:/\n", files)
    assert cgroup.memory_limit_bytes(*where) is None
    assert cgroup.cpu_quota(*where) is None


@pytest.mark.parametrize("text", ["", "rubbish\n", "0::\n", "0::/../../..\n", "\x00"])
def test_an_odd_or_missing_group_file_is_no_limit(tmp_path: Path, text: str) -> None:
    assert cgroup.cpu_quota(*tree(tmp_path, text, {})) is None
    assert cgroup.cpu_quota(tmp_path / "none", tmp_path / "none") is None


@pytest.mark.parametrize(("quota", "expected"), [(None, 8), (0.2, 1), (1.5, 2), (3.0, 3), (64.0, 8)])
def test_threads_keep_to_affinity_and_quota(monkeypatch: pytest.MonkeyPatch, quota: float | None, expected: int) -> None:
    monkeypatch.setattr(hardware.os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    monkeypatch.setattr(cgroup, "cpu_quota", lambda: quota)
    assert hardware.allowed_cpus() == expected
