"""The verdict as `validation/measures.json` keeps it, or as the person has given it since. It is read as a stranger's file: what is missing
or of another kind is unknown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loratui.engine import sealed
from loratui.engine.limits import LIST_FILE_BYTES
from loratui.engine.proof.notes import read_checklist
from loratui.engine.proof.verdict.judge import said
from loratui.engine.untrusted import finite


@dataclass(frozen=True, slots=True)
class Best:
    """The file to keep, and the strength to use it at."""

    file: str
    """Relative to the run."""
    strength: float
    reason: str


@dataclass(frozen=True, slots=True)
class Judged:
    """What the measures add up to."""

    kind: str = ""
    """`good undertrained overtrained memorised wrong_data unclear`; empty where nothing was judged."""
    confidence: float | None = None
    reasons: tuple[str, ...] = ()
    best: Best | None = None
    advice: tuple[tuple[str, str], ...] = ()
    """What to change, and why."""


def read_judged(measures: Path) -> Judged:
    """The verdict in a `measures.json`; an empty one if there is none."""
    try:
        table = sealed.read(measures, measures.parent.parent, LIST_FILE_BYTES)
    except OSError:
        return Judged()
    by_person = said(read_checklist(measures.with_name("checklist.json")), _text(table, "file"))
    verdict, best, advice = by_person or _table(table.get("verdict")), _table(table.get("best")), table.get("advice")
    file, strength = _text(best, "file"), finite(best.get("strength"))
    reasons = verdict.get("reasons")
    return Judged(
        _text(verdict, "kind"),
        finite(verdict.get("confidence")),
        tuple(reason for reason in reasons if isinstance(reason, str)) if isinstance(reasons, list) else (),
        Best(file, strength, _text(best, "reason")) if file and strength is not None else None,
        tuple((_text(one, "change"), _text(one, "why")) for one in map(_table, advice)) if isinstance(advice, list) else (),
    )


def _table(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(table: Mapping[str, Any], name: str) -> str:
    value = table.get(name)
    return value if isinstance(value, str) else ""
