"""Which other programs hold memory of a GPU, as far as the driver and the system tell."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loratui.engine.untrusted import read_small
from loratui.engine.words import GIB

_PROC = Path("/proc")
_TRAINER = "loratui.engine.training"
_DEVICES = ("/dev/nvidia", "/dev/dxg", "/dev/dri")
_LONGEST_NAME = 40
_MOST_BYTES = 1 << 16
"""Read of a command line, which any program writes as it likes."""


@dataclass(frozen=True, slots=True)
class Holder:
    """A program that uses a GPU."""

    pid: int
    name: str
    """`the loratui run NAME`, or the program's own name; empty where the system does not tell."""
    gib: float | None
    """GPU memory that it holds; None where the driver does not tell, as in many containers."""
    is_run: bool = False
    """Whether it is the trainer of a run."""

    @property
    def words(self) -> str:
        """Such as `python3 (process 812, 3.2 GiB)`."""
        facts = [f"process {self.pid}", *([] if self.gib is None else [f"{self.gib:.1f} GiB"])]
        return f"{self.name or 'a program'} ({', '.join(facts)})"


def holders(nvml: Any, handle: Any) -> tuple[Holder, ...]:
    """The programs on a card but this one, those with the most memory first. Raises what `nvml` raises where it knows none."""
    found: dict[int, float | None] = {}
    for ask in (nvml.nvmlDeviceGetComputeRunningProcesses, nvml.nvmlDeviceGetGraphicsRunningProcesses):
        for process in ask(handle):
            used = process.usedGpuMemory  # not a number under Windows' subsystem, and for what the container may not see
            gib = used / GIB if isinstance(used, int) and 0 < used < 1 << 48 else None
            found[process.pid] = max(gib or 0.0, found.get(process.pid) or 0.0) or None
    found.pop(os.getpid(), None)
    return tuple(sorted((_holder(pid, gib) for pid, gib in found.items()), key=lambda one: (-(one.gib or 0.0), one.pid)))


def _holder(pid: int, gib: float | None) -> Holder:
    words = _read(pid, "cmdline").split("\0")
    if _TRAINER in words[:-1]:
        return Holder(pid, f"the loratui run {_told(Path(words[words.index(_TRAINER) + 1]).name)}", gib, is_run=True)
    return Holder(pid, _told(_read(pid, "comm")) if _may_use_a_gpu(pid) else "", gib)


def _may_use_a_gpu(pid: int) -> bool:
    """Whether a process has a device of a GPU open, as far as it lets us look: in a container, the driver's numbers may be those of
    the machine, and mean other processes here."""
    try:
        open_files = [str(file.readlink()) for file in (_PROC / str(pid) / "fd").iterdir()]
    except OSError:  # somebody else's, or it ends
        return True
    return any(file.startswith(_DEVICES) for file in open_files)


def _told(name: str) -> str:
    """What a program calls itself, cut and without what is no text."""
    return "".join(sign for sign in name.strip() if sign.isprintable())[:_LONGEST_NAME]


def _read(pid: int, name: str) -> str:
    try:
        return read_small(_PROC / str(pid) / name, _MOST_BYTES).decode("utf-8", "replace")
    except OSError:  # it ended, belongs to somebody else, or lies outside of this container
        return ""
