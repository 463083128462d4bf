"""The folders of images that were used last, kept below the home of loratui."""

from __future__ import annotations

import os
from pathlib import Path

from loratui.engine.durable import remember
from loratui.engine.untrusted import read_json

FILE = "recent-folders.json"
MOST = 8


def recent_folders(home: Path) -> tuple[str, ...]:
    """Folders and zips that are still there, the newest first; nothing where the list is missing or damaged."""
    try:
        listed = read_json(home / FILE)
    except OSError:
        return ()
    names = [name for name in listed if isinstance(name, str)] if isinstance(listed, list) else []
    return tuple(name for name in names[:MOST] if os.path.exists(name))  # noqa: PTH110 - no error for odd names


def remember_folder(home: Path, folder: str) -> None:
    """Puts a folder in front. A home that cannot be written keeps none: the list is a convenience."""
    names = [folder, *(name for name in recent_folders(home) if name != folder)][:MOST]
    remember(home / FILE, names)
