"""What a check says: a finding with its severity, the files that it names, why it matters and what to do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from loratui.engine.words import are, count

Severity = Literal["error", "warning", "info"]

_RANK: dict[Severity, int] = {"error": 0, "warning": 1, "info": 2}


@dataclass(frozen=True)
class Finding:
    """One result of a check. An `error` means that the start would fail."""

    id: str
    """Stable: scripts may rely on it."""
    severity: Severity
    message: str
    why: str
    remedy: str
    files: tuple[str, ...] = ()
    """Relative paths within the folder."""


def worst_first(findings: Iterable[Finding]) -> list[Finding]:
    """Errors, then warnings, then notes; within each the order given."""
    return sorted(findings, key=lambda finding: _RANK[finding.severity])


def listed(names: Sequence[str], most: int = 5) -> str:
    """The first names, and an ellipsis where there are more."""
    return ", ".join(names[:most]) + (" …" if len(names) > most else "")


def counted(names: Sequence[str], what: str = "image") -> str:
    """`1 image is`, `3 images are`."""
    return are(len(names), what)


def number_of(names: Sequence[str], what: str = "image") -> str:
    """`1 image`, `3 images`."""
    return count(len(names), what)
