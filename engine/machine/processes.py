"""What the kernel says of other processes: their children, which signals they handle, and where their threads wait."""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path

from loratui.engine.untrusted import read_small

_PROC = Path("/proc")
_MOST_BYTES = 1 << 16
_MOST_THREADS = 40


def descendants(pid: int) -> list[int]:
    """The children of a process, and theirs."""
    children: dict[int, list[int]] = defaultdict(list)
    for name in _listed(_PROC):
        if name.isdigit():
            fields = _stat(_PROC / name)
            if len(fields) > 1:
                children[int(fields[1])].append(int(name))
    found, at = list(children[pid]), 0
    while at < len(found):
        found += children[found[at]]
        at += 1
    return found


def handles(pid: int, signal: int) -> bool:
    """Whether a process has a handler for a signal, whose default would end it."""
    for line in _read(_PROC / str(pid) / "status").splitlines():
        if line.startswith("SigCgt:"):
            return bool(int(line.split()[1], 16) >> (signal - 1) & 1)
    return False


def threads(pid: int) -> list[str]:
    """Where the first thread of a process and those that wait uninterruptibly are, one line for each and for each call in the kernel."""
    lines = []
    tasks = _PROC / str(pid) / "task"
    for name in sorted(_listed(tasks), key=int):
        task = tasks / name
        fields = _stat(task)
        if int(name) != pid and fields[:1] != ["D"]:
            continue
        wchan, call = _read(task / "wchan").strip(), _read(task / "syscall").split(" ")[0].strip()
        waits = f", waits in {wchan}" if wchan not in ("", "0") else ""
        lines.append(
            f"process {pid}, thread {name} ({_read(task / 'comm').strip()}): state {fields[0] if fields else '?'}{waits}, system call {call or '?'}"
        )
        lines += [f"    {line.strip()}" for line in _read(task / "stack").splitlines()]  # for root alone
    return lines[:_MOST_THREADS]


def _stat(folder: Path) -> list[str]:
    """Fields 3 and on of `stat` (proc(5)); the second, the command, is in brackets and may hold brackets."""
    return _read(folder / "stat").rpartition(")")[2].split()


def _listed(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208 - only names are needed, of many
    except OSError:
        return []


def _read(path: Path) -> str:
    try:
        return read_small(path, _MOST_BYTES).decode("utf-8", "replace")
    except OSError:  # it ended, or is somebody else's
        return ""
