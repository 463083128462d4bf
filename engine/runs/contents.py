"""What a run directory may hold: folders and files of its own. One that came from an archive, or that another account can
write, may hold links, pipes and devices instead, which lead whoever works in it to other places."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from loratui.engine.errors import UsageError

FOLDERS = ("control", "log", "checkpoints", "samples", "output", "validation", "cache")
"""Of a new run."""

LATER_FOLDERS = ("export", "class_images")
"""Made when they are needed."""

FILES = (
    ".loratui-run",
    "recipe.toml",
    "effective.toml",
    "dataset.json",
    "base.json",
    "events.jsonl",
    "state.json",
    "changes.json",
    "run.lock",
    "log/trainer.log",
    "log/supervisor.log",
    "validation/events.jsonl",
    "validation/wish.json",
    "validation/grid.json",
    "validation/checklist.json",
)

WRITTEN_IN_PLACE = ("events.jsonl", "validation/events.jsonl", "log/trainer.log", "log/supervisor.log", "run.lock")
"""All others are replaced as a whole, so that a second name for them (`cp -al`, `rsync --link-dest`) does no harm."""

_DEEPEST = 8
"""Folders within each other; loratui makes three."""

_KINDS = (
    (stat.S_ISLNK, "a link"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISCHR, "a device"),
)


def require_sound(run: Path) -> None:
    """Raises `UsageError` that names the entry if a run holds anything but files and folders where it has them.

    Everything is looked at by handles, so that no link is followed while it is looked for.
    """
    for relative, what in _strange(run):
        shown = relative.encode("utf-8", "backslashreplace").decode()
        raise UsageError(
            f"{run.name} was left alone: its {shown} is {what}. A run of loratui holds files and folders of its own alone.",
            "If you trust where it came from, put a copy of what is meant in its place; loratui rm deletes the run and nothing else.",
        )


def _strange(run: Path) -> Iterator[tuple[str, str]]:
    """Entries that no run has, relative to the run, and what they are."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        root = os.open(run, flags)
    except OSError as error:
        yield "folder", f"none that can be read ({error.strerror})"
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
                yield relative, "a file with a second name elsewhere (a hard link), which would be written to as well"
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
        kind = next((words for matches, words in _KINDS if matches(found)), "no file")
        return f"{kind} to {os.readlink(name, dir_fd=folder)}" if stat.S_ISLNK(found) else kind
    except OSError as error:
        return f"nothing that can be looked at ({error.strerror})"
