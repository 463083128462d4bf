"""How busy the CPUs of this machine or container are, all programs together."""

from __future__ import annotations

import os
import time
from pathlib import Path

from loratui.engine.machine import cgroup


class CpuMeter:
    """Share of the CPUs' time that was used between two looks."""

    def __init__(self, proc: Path = cgroup.PROC, mount: Path = cgroup.MOUNT) -> None:
        self._proc, self._mount = proc, mount
        self._before: tuple[float, float] | None = None

    def percent(self) -> float | None:
        """0 to 100 of the CPUs that this machine or container may use; None at the first look, and where nothing tells."""
        now = self._used_and_offered()
        before, self._before = self._before, now
        if now is None or before is None:
            return None
        used, offered = now[0] - before[0], now[1] - before[1]
        return min(100.0, max(0.0, 100.0 * used / offered)) if offered > 0 else None

    def _used_and_offered(self) -> tuple[float, float] | None:
        """Seconds of CPU time used and offered since some moment."""
        # In a container with a quota /proc/stat shows the host with all its other guests.
        quota = cgroup.cpu_quota(self._proc, self._mount)
        if quota is not None:
            used = cgroup.cpu_used_s(self._proc, self._mount)
            # Half a CPU that is used up is used up, so the quota is not rounded; a group may have more than this process's CPUs.
            return None if used is None else (used, time.monotonic() * min(quota, os.cpu_count() or quota))
        try:
            lines = (self._proc / "stat").read_text().splitlines()
            return _busy_and_all(lines)
        except (OSError, ValueError):
            return None


def _busy_and_all(lines: list[str]) -> tuple[float, float] | None:
    """Of /proc/stat, over the CPUs that this process may run on: time at work and time altogether, in the kernel's ticks."""
    allowed = {f"cpu{number}" for number in os.sched_getaffinity(0)} if hasattr(os, "sched_getaffinity") else None
    busy = whole = 0.0
    for name, *fields in (line.split() for line in lines if line.startswith("cpu")):
        if name != "cpu" and (allowed is None or name in allowed):
            ticks = [int(field) for field in fields[:8]]  # what guests take is within user and nice already
            idle = sum(ticks[3:5])
            busy, whole = busy + sum(ticks) - idle, whole + sum(ticks)
    return (busy, whole) if whole else None
