"""One row of the table of findings: how grave it is, and what is said of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal

Severity = Literal["error", "warning", "info"]

ImageFix = Literal["rotate", "convert", "flatten", "shrink", "crop", "leave_out", "keep_best"]
CaptionFix = Literal[
    "utf8",
    "right_signs",
    "take_out",
    "commas",
    "fill_in",
    "trigger_first",
    "trigger_spelled",
    "class_second",
    "without_scores",
    "name_white",
]


@dataclass(frozen=True)
class Kind:
    """What all findings of one key have in common; a key behind a dot has from its code's row what it leaves out. `message`, `why` and `remedy` are templates for `loratui.engine.words.filled`."""

    severity: Severity
    message: str = ""
    why: str = ""
    remedy: str = ""
    source: str = ""
    """Where the rule comes from: names of `presets.SOURCES`."""
    about: str = ""
    """What it means, where the message comes whole from what was read."""
    fix: ImageFix | CaptionFix | None = None
    """What one key does about a finding of the data set. Settings that mend one stand in the finding itself."""


error, warning, note = partial(Kind, "error"), partial(Kind, "warning"), partial(Kind, "info")
"""Rows of a severity."""
