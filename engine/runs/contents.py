"""What a run directory may hold: plain folders and files.

A run from an archive, or in a folder that another account can write, may hold links, pipes and devices that lead elsewhere.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from loratui.engine.errors import UsageError

FOLDERS = ("control", "log", "checkpoints", "samples", "output", "validation", "cache")
"""The folders of a new run."""

LATER_FOLDERS = ("export", "report", "class_images")
"""Folders that are made when they are needed."""

FILES = (
    ".loratui-run",
    "recipe.toml",
    "effective.toml",
    "dataset.json",
    "base.json",
    "events.jsonl",
    "state.json",
    "changes.json",
    "bounds.json",
    "when_finished.json",
    "lineage.json",
    "accepted.json",
    "run.lock",
    "fence.json",
    "log/trainer.log",
    "log/supervisor.log",
    "log/when_finished.log",
    "validation/events.jsonl",
    "validation/wish.json",
    "validation/grid.json",
    "validation/checklist.json",
    "validation/measures.json",
    "validation/readings.json",
)

WRITTEN_IN_PLACE = (
    "events.jsonl",
    "validation/events.jsonl",
    "log/trainer.log",
    "log/supervisor.log",
    "log/when_finished.log",
    "run.lock",
)
"""All others are replaced as a whole, so a hard link to them (`cp -al`, `rsync --link-dest`) does no harm."""

_DEEPEST = 8
"""Levels of folders; loratui makes three."""

_KINDS = (
    (stat.S_ISLNK, "a link"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISCHR, "a device"),
)


def require_sound(run: Path) -> None:
    """Raises `UsageError` that names the first entry of a run that is not a plain file or folder in its place.

    It works by handles, so it follows no link.
    """
    for relative, what in _strange(run):
        shown = relative.encode("utf-8", "backslashreplace").decode()
        raise UsageError(
            f"loratui did not open {run.name}: its {shown} is {what}. A run holds only plain files and folders.",
            "If you trust its origin, replace this entry with a copy of its target. loratui rm deletes only the run.",
        )


def _strange(run: Path) -> Iterator[tuple[str, str]]:
    """The entries that a run must not have, relative to it, and what they are."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        root = os.open(run, flags)
    except OSError as error:
        yield "folder", f"unreadable ({error.strerror})"
        return
    try:
        yield from _strange_in(root, "", flags)
    finally:
        os.close(root)


def _strange_in(folder: int, above: str, flags: int) -> Iterator[tuple[str, str]]:
    inner: list[str] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            relative = f"{above}{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                if relative in FILES:
                    yield relative, "a folder in place of a file"
                inner.append(entry.name)
            elif not entry.is_file(follow_symlinks=False):
                yield relative, _kind(folder, entry.name)
            elif relative in FOLDERS or relative in LATER_FOLDERS:
                yield relative, "a file in place of a folder"
            elif relative in WRITTEN_IN_PLACE and entry.stat(follow_symlinks=False).st_nlink > 1:
                yield relative, "a hard link: writing to it would change the file under its other name too"
    if above.count("/") >= _DEEPEST and inner:
        yield above, f"more than {_DEEPEST} folders deep"
        return
    for name in inner:
        try:
            fd = os.open(name, flags, dir_fd=folder)
        except FileNotFoundError:  # a checkpoint that was just deleted
            continue
        except OSError as error:
            yield f"{above}{name}", f"a folder that cannot be read ({error.strerror})"
            continue
        try:
            yield from _strange_in(fd, f"{above}{name}/", flags)
        finally:
            os.close(fd)


def _kind(folder: int, name: str) -> str:
    try:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
        kind = next((words for matches, words in _KINDS if matches(found)), "not a file")
        return f"{kind} to {os.readlink(name, dir_fd=folder)}" if stat.S_ISLNK(found) else kind
    except OSError as error:
        return f"unreadable ({error.strerror})"
