"""Reads the files in which other trainers list the folders of a dataset, as data; nothing of the folders is read."""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from loratui.engine.cleaning import clean
from loratui.engine.dataset.folder_lists import onetrainer, sd_scripts, simpletuner
from loratui.engine.dataset.folder_lists.source import FolderList, text
from loratui.engine.untrusted import Unreadable, read_json
from loratui.presets.toml_text import parse_toml, read_text

MOST_BYTES = 1 << 24
MOST_FOLDERS = 500

SUFFIXES = (".json", ".toml")


def read(path: Path) -> FolderList | None:
    """The folders in a list; None for another kind of file. Raises `Unreadable` for one that is broken."""
    if path.suffix.lower() == ".toml":
        table = _toml(path)
        return sd_scripts.read(table) if sd_scripts.is_dataset(table) else None
    table = read_json(path, MOST_BYTES)
    if isinstance(table, dict) and sd_scripts.is_dataset(table):
        return sd_scripts.read(table)
    rows = table.get("concepts") if isinstance(table, dict) else table
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows[:MOST_FOLDERS]):
        return None
    rows = rows[:MOST_FOLDERS]
    if any(isinstance(row.get("instance_data_dir"), str) for row in rows):
        return _read(FolderList("SimpleTuner"), rows, simpletuner.backend)
    if any(isinstance(row.get("path"), str) and row.keys() & {"image", "text", "include_subdirectories"} for row in rows):
        return _read(FolderList("OneTrainer"), rows, onetrainer.concept)
    return None


def is_list(path: Path) -> bool:
    """Whether a file lists folders; False for a file that cannot be read."""
    if path.suffix.lower() not in SUFFIXES or not path.is_file():
        return False
    try:
        return read(path) is not None
    except Unreadable:
        return False


def _read(found: FolderList, rows: Sequence[Any], one: Callable[[FolderList, str, Mapping[str, Any]], None]) -> FolderList:
    taken: set[str] = set()
    for at, row in enumerate(rows, 1):
        folder = text(row.get("path") or row.get("instance_data_dir"))
        wanted = clean(text(row.get("name") or row.get("id")) or folder.replace("\\", "/").rstrip("/").rpartition("/")[2], 60)
        name = wanted or f"folder {at}"
        while name.lower() in taken:
            name = f"{name}-{at}"
        taken.add(name.lower())
        one(found, name, row)
    return found


def _toml(path: Path) -> Mapping[str, Any]:
    try:
        return parse_toml(read_text(path))
    except OSError as error:
        raise Unreadable(error.errno, error.strerror, str(path)) from None
    except ValueError as error:
        raise Unreadable(errno.EINVAL, f"is not valid TOML: {error}", str(path)) from None
