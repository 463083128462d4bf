"""What can be known of the volume that a folder is on: whether other machines can have it mounted, and whether it takes writes."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from loratui.engine import durable

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

_CAP_SYS_RESOURCE = 24
"""capabilities(7)."""
_MOST_KEPT_BLOCKS = 4096
"""Free blocks that ext4 gives to nobody, root included, at most a fiftieth of all (`ext4_calculate_resv_clusters`)."""
_LEAST_BYTES = 1 << 20
"""In less, not even an event log can be trusted to grow."""


def is_local(folder: Path, mounts: Path = MOUNTS) -> bool:
    """Whether only this machine can have the volume of a folder mounted; False also where that cannot be known."""
    try:
        device = folder.stat().st_dev
    except OSError:
        return False
    return _kinds(mounts).get(f"{os.major(device)}:{os.minor(device)}", "") in _LOCAL


@dataclass(frozen=True, slots=True)
class Volume:
    """What the system says of the volume on which a path lies. A quota is not in it."""

    free: int
    """Bytes that this account can write."""
    names_left: bool
    """Whether new files can be made, whatever their size."""
    read_only: bool
    device: int

    def lacks(self, needed: int) -> bool:
        """Whether it cannot take so many bytes now."""
        return self.read_only or not self.names_left or self.free < max(needed, 1)


def volume_of(path: str | os.PathLike[str]) -> Volume | None:
    """The volume of a path, or of where it would be made; None where the system does not say."""
    existing = next((place for place in (Path(path), *Path(path).parents) if os.path.lexists(place)), None)
    try:
        if existing is None:
            return None
        found, device = os.statvfs(existing), existing.stat().st_dev
    except OSError:
        return None
    if not found.f_blocks:  # some network volumes tell no sizes
        return Volume(sys.maxsize, True, bool(found.f_flag & os.ST_RDONLY), device)
    free, names = found.f_bavail, found.f_favail
    if _uses_reserves():
        kept = min(found.f_blocks // 50, _MOST_KEPT_BLOCKS)
        free, names = max(free, found.f_bfree - kept), max(names, found.f_ffree)
    return Volume(free * found.f_frsize, not found.f_files or names > 0, bool(found.f_flag & os.ST_RDONLY), device)


@lru_cache(maxsize=1)
def _uses_reserves(status: Path = Path("/proc/self/status")) -> bool:
    """Whether this process may use what a file system keeps for root; in most containers, root may not."""
    if os.geteuid() != 0:
        return False
    try:
        found = next(line for line in status.read_text().splitlines() if line.startswith("CapEff:"))
        return bool(int(found.split()[1], 16) >> _CAP_SYS_RESOURCE & 1)
    except (OSError, StopIteration):
        return True


def trouble(folder: Path) -> str:
    """Why the volume of a folder takes no writes now, as a sentence; empty where it does, or where it cannot be asked."""
    found = volume_of(folder)
    if found is None:
        return ""
    if found.read_only:
        return "Its volume is read-only now."
    if found.free < _LEAST_BYTES:
        return "Its volume is full."
    return "" if found.names_left else "Its volume has no room for another file (no free inodes)."


def missing_in(folder: Path) -> list[str]:
    """What the file system of a folder cannot do of that which keeps runs whole: `locks`, `sync`, `links`, `replace`. Tried with files
    that are gone on return. Raises `OSError` where nothing can be written."""
    found: list[str] = []
    first, second = (folder / f".loratui-{secrets.token_hex(6)}.tmp" for _ in range(2))
    try:
        with durable.new_file(first) as file:
            file.write(b"x")
            file.flush()
            for name, ability in (("locks", lambda fd: fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)), ("sync", os.fsync)):
                with _told_of(name, found):
                    ability(file.fileno())
        with _told_of("links", found):
            os.link(first, second)
        if "links" in found:
            durable.new_file(second).close()
        with _told_of("replace", found):
            first.rename(second)
    finally:
        durable.remove(first)
        durable.remove(second)
    return found


@contextlib.contextmanager
def _told_of(ability: str, found: list[str]) -> Iterator[None]:
    """Names an ability that the file system says it lacks."""
    try:
        yield
    except OSError as error:
        if error.errno not in (*durable.CANNOT, errno.EPERM, errno.EEXIST):
            raise
        found.append(ability)


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
