"""How long ago something was written: by the time since boot where reader and writer share it, so a clock that is set changes no age."""

from __future__ import annotations

import math
import os
import time
from functools import cache
from pathlib import Path

from loratui.engine.runs import lock

_UPTIME = Path("/proc/uptime")


def up_s() -> float:
    """Seconds since this machine was started, with the time that it was suspended. Nobody can set this clock."""
    if _kernel_tells():
        try:
            return float(_UPTIME.read_bytes().split()[0])
        except (OSError, ValueError, IndexError):
            return 0.0
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


def clock_name() -> str:
    """Which clock `up_s` reads: ages by it hold between processes that name the same one. "" where the system does not tell."""
    boot = lock.boot_id()
    return f"{boot} {_namespace()}".rstrip() if boot else ""


def age_s(ts: float, up: float, clock: str, *, now: float | None = None) -> float:
    """Seconds since the moment `ts` (since 1970) or `up` (by the clock of this name); by the wall clock, `now`, where the other is not
    ours. 0 for a moment that is yet to come."""
    if up and clock and clock == clock_name():
        return max(0.0, up_s() - up)
    return max(0.0, (time.time() if now is None else now) - ts)


def of_process(process: lock.ProcessIdentity) -> float:
    """Seconds since a process of this boot started; infinite where that cannot be known."""
    if not process.start_time.isdecimal() or process.boot_id != lock.boot_id():
        return math.inf
    return max(0.0, up_s() - int(process.start_time) / os.sysconf("SC_CLK_TCK"))


@cache
def _kernel_tells() -> bool:
    """Whether /proc/uptime is the kernel's own. lxcfs puts another in its place, which counts from the start of the container."""
    try:
        return _UPTIME.stat().st_dev == _UPTIME.parent.stat().st_dev
    except OSError:
        return False


@cache
def _namespace() -> str:
    """A container may have a time since boot of its own."""
    try:
        return os.readlink("/proc/self/ns/time")  # noqa: PTH115 - "time:[1]" is no path
    except OSError:
        return ""
