"""What the container allows this process: CPU quota, memory limit, and how often the kernel killed for memory in it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

PROC = Path("/proc")
MOUNT = Path("/sys/fs/cgroup")

_NO_LIMIT = 1 << 60
"""Version 1 writes "no limit" as a number near 2^63."""


def cpu_quota(proc: Path = PROC, mount: Path = MOUNT) -> float | None:
    """CPUs that the tightest group on the way up grants, such as 1.5; None without a limit."""
    quotas = [cpus for folder in _folders("cpu", proc, mount) if (cpus := _cpus(folder)) is not None]
    return min(quotas, default=None)


def memory_limit_bytes(proc: Path = PROC, mount: Path = MOUNT) -> int | None:
    """Bytes that the tightest group on the way up grants; None without a limit."""
    limits = []
    for folder in _folders("memory", proc, mount):
        for name in ("memory.max", "memory.limit_in_bytes"):
            limit = _integer(_read(folder / name))
            if limit is not None and limit < _NO_LIMIT:
                limits.append(limit)
    return min(limits, default=None)


def memory_used_bytes(proc: Path = PROC, mount: Path = MOUNT) -> int | None:
    """Bytes that this process's own group uses, file cache included; None where that cannot be read."""
    for folder in _folders("memory", proc, mount):
        for name in ("memory.current", "memory.usage_in_bytes"):
            used = _integer(_read(folder / name))
            if used is not None:
                return used
    return None


def cpu_used_s(proc: Path = PROC, mount: Path = MOUNT) -> float | None:
    """CPU time that the group with the tightest quota has used, s; None without a quota, or where that cannot be read."""
    limited = [(cpus, folder) for folder in _folders("cpu", proc, mount) if (cpus := _cpus(folder)) is not None]
    if not limited:
        return None
    folder = min(limited, key=lambda one: one[0])[1]
    for line in _read(folder / "cpu.stat").splitlines():
        word, _, count = line.partition(" ")
        used = _integer(count)
        if word == "usage_usec" and used is not None:
            return used / 1e6
    used = _integer(_read(folder / "cpuacct.usage").strip())
    return None if used is None else used / 1e9


def oom_kills(proc: Path = PROC, mount: Path = MOUNT) -> int | None:
    """How many processes of this group the kernel has killed for lack of memory; None where that cannot be read."""
    for folder in _folders("memory", proc, mount):
        for name in ("memory.events", "memory.oom_control"):
            for line in _read(folder / name).splitlines():
                word, _, count = line.partition(" ")
                if word == "oom_kill":
                    return _integer(count)
    return None


def _folders(controller: str, proc: Path, mount: Path) -> Iterator[Path]:
    """The group of this process and the groups around it, innermost first, for cgroup version 2 and 1.

    Inside a container /proc/self/cgroup may name a path of the host; then only the root of the mount exists.
    """
    for line in _read(proc / "self" / "cgroup").splitlines():
        fields = line.split(":", 2)
        if len(fields) != 3:
            continue
        number, controllers, path = fields
        if number == "0" and not controllers:
            root = mount
        elif controller in controllers.split(","):
            root = mount / controller
        else:
            continue
        inner = root / path.lstrip("/")
        while True:
            if inner.is_dir():
                yield inner
            if inner == root or root not in inner.parents:
                break
            inner = inner.parent


def _cpus(folder: Path) -> float | None:
    words = _read(folder / "cpu.max").split()
    if not words:
        words = [_read(folder / "cpu.cfs_quota_us").strip(), _read(folder / "cpu.cfs_period_us").strip()]
    quota, period = _integer(words[0]), _integer(words[1]) if len(words) > 1 else None
    return quota / period if quota and period and quota > 0 and period > 0 else None


def _read(path: Path) -> str:
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return path.read_text()
    return ""


def _integer(text: str) -> int | None:
    with contextlib.suppress(ValueError):
        return int(text)
    return None
