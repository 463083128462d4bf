"""Whose a place is: a home that another account of the machine can write, and runs that another account made.

Whoever can write in a home can put recipes, checkpoints and compiled code there, which the next start takes for its own.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from loratui.engine import durable
from loratui.engine.errors import UsageError
from loratui.engine.untrusted import read_json

TRUSTED = "trusted.json"
"""In the person's configuration folder: the places that were confirmed, by path, inode and owner."""

_NOBODYS = ("nologin", "false", "sync", "halt", "shutdown")
"""Shells of accounts that nobody works as."""
_PEOPLE_FROM = 1000
_NOBODY = 65_534


@dataclass(frozen=True, slots=True)
class Concern:
    """Who else can write somewhere, and what to do about it."""

    message: str
    remedy: str


def concern_about(place: Path, accounts: Iterable[int] | None = None) -> Concern | None:
    """What lets another account write in `place`, or put another folder where it is; None where nothing does.

    `accounts` are the others that work on this machine, by default those that can log in and those of running processes.
    On a volume that gives every file the same owner or everybody the right to write, owners and rights say nothing, and there
    is no concern: that is found out by a file that is made there.
    """
    own = os.geteuid()
    real = Path(os.path.realpath(place))
    way = dict.fromkeys(_way(place.absolute()))
    there = [folder for folder in way if os.path.isdir(folder)]  # noqa: PTH112 - one that cannot be looked at is none
    known = None if accounts is None else frozenset(accounts)
    for folder in there:
        found = folder.stat()
        loose = _loose(found, itself=folder == real, own=own)
        if not loose or _says_nothing(folder, found.st_uid, there):
            continue
        if folder != real:
            known = frozenset(_others(own)) if known is None else known
            if not (found.st_uid in known if loose == "owner" else known):
                continue
        return _told(place, folder, found, loose)
    return None


def require_trusted(place: Path) -> None:
    """Raises `UsageError` for root where another account can write in `place`, unless that was confirmed."""
    if os.geteuid() != 0:
        return
    concern = concern_about(place)
    if concern is not None and not is_trusted(place):
        raise UsageError(concern.message, f"{concern.remedy} To use it all the same, say so once: loratui --trust.")


def require_own(run: Path) -> None:
    """Raises `UsageError` for root and a run that another account made, unless that was confirmed."""
    name = foreign_owner(run) if os.geteuid() == 0 else ""
    if name and not is_trusted(run, itself=True):
        raise UsageError(
            f"{run.name} belongs to another account, {name}: its files decide what is read and written as root.",
            f"Look at it with loratui attach {run.name} --view-only. If you trust {name}, say so: loratui resume {run.name} --trust.",
        )


def foreign_owner(run: Path) -> str:
    """The account that a run belongs to where it is neither this one nor root; "" else, and where owners say nothing."""
    try:
        owner = run.lstat().st_uid
    except OSError:
        return ""
    if owner in (os.geteuid(), 0) or _made_owner_cached(str(run.parent)) == owner:
        return ""
    return account_name(owner)


def account_name(uid: int) -> str:
    """As people know it, else its number."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def compiled_folder(home: Path, run: Path) -> Path:
    """Where machine code that torch compiles is kept: for all runs of the home, or in the run where somebody else has made it."""
    shared = home / "compiled"
    try:
        found = shared.lstat()
    except OSError:
        return shared  # whoever compiles first makes it, for its owner alone
    private = stat.S_ISDIR(found.st_mode) and not found.st_mode & 0o022
    return shared if private and found.st_uid in (os.geteuid(), _made_owner_cached(str(home))) else run / "cache" / "compiled"


# ---- what was confirmed


def trust(place: Path) -> None:
    """Keeps that a person confirmed a place, as it is now; it is made if it is missing. Raises `DiskError`."""
    durable.make_directory(place)
    file = _trusted_file()
    known = {**_trusted(), os.path.realpath(place): _identity(place)}
    durable.make_directory(file.parent)
    durable.write_json(file, {"format": 1, "places": known})


def is_trusted(place: Path, *, itself: bool = False) -> bool:
    """Whether this place was confirmed and is still the one that was; unless `itself`, one that holds it will do."""
    real = Path(os.path.realpath(place))
    known = _trusted()
    within = (real,) if itself else (real, *real.parents)
    return any(known.get(str(folder)) == _identity(folder) for folder in within if str(folder) in known)


def _identity(place: Path) -> list[int]:
    """Inode and owner."""
    with contextlib.suppress(OSError):
        found = place.stat()
        return [found.st_ino, found.st_uid]
    return []


def _trusted_file() -> Path:
    from loratui.presets import user_folder

    return user_folder().parent / TRUSTED


def _trusted() -> dict[str, list[int]]:
    try:
        places = read_json(_trusted_file(), 1 << 16)["places"]
    except (OSError, KeyError, TypeError):
        return {}
    return {k: v for k, v in places.items() if isinstance(k, str) and isinstance(v, list)} if isinstance(places, dict) else {}


# ---- owners and rights


def _way(place: Path, links: int = 8) -> Iterator[Path]:
    """`place` and the folders above it, without links; then the same for those in which links on the way to it lie: whoever can
    write there can lead them elsewhere."""
    real = Path(os.path.realpath(place))
    yield real
    yield from real.parents
    for step in (place, *place.parents):
        if links and step.is_symlink():
            yield from _way(step.parent, links - 1)
            yield from _way(step.parent / step.readlink(), links - 1)


def _loose(found: os.stat_result, *, itself: bool, own: int) -> str:
    """By what others can write: as `owner`, as anybody (`all`), by the `group`; "" if they cannot."""
    if found.st_uid not in (own, 0):
        return "owner"
    if found.st_mode & stat.S_ISVTX and not itself:
        return ""  # as in /tmp: what is in it can only be renamed by its owner
    if found.st_mode & stat.S_IWOTH:
        return "all"
    return "group" if found.st_mode & stat.S_IWGRP and _has_others(found.st_gid, own) else ""


def _has_others(gid: int, own: int) -> bool:
    """Whether a group has members besides this account and root."""
    import grp

    try:
        members = set(grp.getgrgid(gid).gr_mem)
    except KeyError:
        return False
    people = {entry.pw_name: entry for entry in pwd.getpwall()}
    ids = {people[name].pw_uid for name in members if name in people} | {e.pw_uid for e in people.values() if e.pw_gid == gid}
    return bool(ids - {own, 0})


def _others(own: int) -> Iterator[int]:
    """Accounts besides this one and root that somebody can work as here, or something runs as."""
    for entry in pwd.getpwall():
        if _PEOPLE_FROM <= entry.pw_uid < _NOBODY and entry.pw_uid != own and not entry.pw_shell.endswith(_NOBODYS):
            yield entry.pw_uid
    with contextlib.suppress(OSError), os.scandir("/proc") as entries:
        for process in entries:
            if process.name.isdigit():
                with contextlib.suppress(OSError):
                    uid = process.stat(follow_symlinks=False).st_uid
                    if uid not in (own, 0):
                        yield uid


def _says_nothing(folder: Path, owner: int, there: list[Path]) -> bool:
    """Whether a file that is made on the volume of `folder` has its foreign owner too, or can be written by all in spite of us."""
    device = folder.stat().st_dev
    nearest = next((other for other in there if other.stat().st_dev == device), folder)
    made = _made(nearest)
    if made is None:
        return False
    uid, mode = made
    return (uid != os.geteuid() and uid == owner) or bool(mode & 0o022)


def _made(folder: Path) -> tuple[int, int] | None:
    """Owner and rights of a file that is made in `folder` for its owner alone; None where none can be made.

    It is looked at by its handle, so that nobody can put another in its place.
    """
    probe = folder / f".loratui-{secrets.token_hex(6)}"
    try:
        with durable.new_file(probe) as file:
            with contextlib.suppress(OSError):
                os.fchmod(file.fileno(), durable.FILE_MODE)
            found = os.fstat(file.fileno())
            return found.st_uid, stat.S_IMODE(found.st_mode)
    except OSError:
        return None
    finally:
        durable.remove(probe)


@lru_cache(maxsize=64)
def _made_owner_cached(folder: str) -> int | None:
    """The owner that files get there; asked once, for lists that are read again and again."""
    made = _made(Path(folder))
    return None if made is None else made[0]


def _told(place: Path, folder: Path, found: os.stat_result, loose: str) -> Concern:
    what = f"{folder}" if folder == Path(os.path.realpath(place)) else f"{folder}, in which {place} lies,"
    if loose == "owner":
        name = account_name(found.st_uid)
        message = f"{what} belongs to another account, {name}, who can put anything there."
        return Concern(message, f"Choose another with --home, or move it away: mv {folder} {folder}.theirs.")
    who = "every account of this machine" if loose == "all" else "its group"
    rights = "o-w" if loose == "all" else "g-w"
    return Concern(f"{what} can be written by {who}.", f"Close it: chmod {rights} {folder}.")
