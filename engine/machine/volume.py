"""What can be known of the volume that a folder is on: whether other machines can have it mounted, and whether it takes writes."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")

_LOCAL = frozenset(
    {
        "ext2",
        "ext3",
        "ext4",
        "xfs",
        "btrfs",
        "zfs",
        "f2fs",
        "overlay",
        "tmpfs",
        "ramfs",
        "bcachefs",
        "jfs",
        "reiserfs",
        "exfat",
        "vfat",
    }
)
"""File systems that one kernel alone mounts, so a lock in them is seen by all of its users."""

_LEAST_BYTES = 1 << 20
"""In less, not even an event log can be trusted to grow."""


def is_local(folder: Path, mounts: Path = MOUNTS) -> bool:
    """Whether only this machine can have the volume of a folder mounted; False also where that cannot be known."""
    try:
        device = folder.stat().st_dev
    except OSError:
        return False
    return _kinds(mounts).get(f"{os.major(device)}:{os.minor(device)}", "") in _LOCAL


def trouble(folder: Path) -> str:
    """Why the volume of a folder takes no writes now, as a sentence; empty where it does, or where it cannot be asked."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return ""
    if found.f_flag & os.ST_RDONLY:
        return "Its volume is read-only now."
    if found.f_bavail * found.f_frsize < _LEAST_BYTES:
        return "Its volume is full."
    if found.f_files and not found.f_favail:
        return "Its volume has no room for another file (no free inodes)."
    return ""


@lru_cache(maxsize=4)
def _kinds(mounts: Path) -> dict[str, str]:
    """Device number -> kind of file system (proc(5)); empty on a system without such a list."""
    kinds: dict[str, str] = {}
    try:
        lines = mounts.read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return kinds
    for line in lines:
        before, _, after = line.partition(" - ")
        fields, kind = before.split(" "), after.split(" ", 1)[0]
        if len(fields) > 2:
            kinds[fields[2]] = kind
    return kinds
