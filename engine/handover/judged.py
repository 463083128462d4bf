"""The verdict as `validation/measures.json` keeps it, or as the person has given it since, for reports and files that leave the run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from loratui.engine import sealed
from loratui.engine.limits import LIST_FILE_BYTES
from loratui.engine.proof.judgement import Best, judgement_of
from loratui.engine.proof.notes import read_checklist
from loratui.engine.proof.verdict.judge import said


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
    file = table.get("file")
    by_person = said(read_checklist(measures.with_name("checklist.json")), file if isinstance(file, str) else "")
    found = judgement_of({**table, "verdict": by_person or table.get("verdict")})
    if found is None:
        return Judged()
    return Judged(found.kind, found.confidence, found.reasons, found.best, tuple((one.change, one.why) for one in found.advice))
