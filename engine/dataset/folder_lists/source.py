"""What a list of folders says, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

MOST_REPEATS = 999
"""As the number of an `N_name` folder."""


@dataclass(frozen=True)
class Source:
    """One folder of a list."""

    name: str
    folder: str
    """As it is written; it may be of another machine."""
    repeats: int = 1
    regularisation: bool = False
    deep: bool = False
    """Whether its subfolders belong to it."""
    captions: Literal["files", "filename", "fixed", "prompt_file"] = "files"
    texts: tuple[str, ...] = ()
    """Captions of every image, where they are fixed; the path of the file that holds them, a line each, for `prompt_file`."""
    prefix: str = ""
    """Stands before each caption."""
    named: bool = False
    """Whether its name is the caption of images without one."""
    suffix: str = ""
    """Stands behind each caption."""
    lines: Literal["each", "whole", "first"] = "each"
    """What of a caption file of several lines is a caption: each line, all of them as one text, the first alone."""


@dataclass
class FolderList:
    """What a list says."""

    tool: str
    sources: list[Source] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)
    """(name of a folder, why it is not taken; it continues the name to a sentence)."""
    changed: list[str] = field(default_factory=list)
    """What means something else here, or is not taken, in words."""


def text(value: Any) -> str:
    """A text that somebody wrote; empty for anything else."""
    return value.strip() if isinstance(value, str) else ""


def table(value: Any) -> Mapping[str, Any]:
    """A table that somebody wrote; empty for anything else."""
    return value if isinstance(value, dict) else {}
