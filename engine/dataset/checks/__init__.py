"""The checks of a set of images: one table, one small module a topic, pure functions over what was read and measured."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from loratui.engine.dataset.checks import caption_files, files, masks, people, pixels, shape, storage, syntax, tags, trigger
from loratui.engine.dataset.checks.case import Case, Check
from loratui.engine.findings import Finding, worst_first

CHECKS: tuple[Check, ...] = (
    *files.CHECKS,
    *storage.CHECKS,
    *shape.CHECKS,
    *masks.CHECKS,
    *pixels.CHECKS,
    *people.CHECKS,
    *caption_files.CHECKS,
    *syntax.CHECKS,
    *trigger.CHECKS,
    *tags.CHECKS,
)
"""Every check, in the order in which its findings are listed among those of equal weight."""

_NOT_MADE = {"bytes": "the files were not compared", "pixels": "needs the deep pass", "faces": "no face detector is installed"}


@dataclass(frozen=True)
class Checked:
    """What the checks found, and which of them could not be made."""

    findings: tuple[Finding, ...]
    not_checked: tuple[tuple[str, str], ...]
    """(code of the check, why it was not made)."""


def run_checks(case: Case, only: Collection[str] | None = None) -> Checked:
    """The findings of every check, or of those whose codes are in `only`, worst first."""
    wanted = [check for check in CHECKS if only is None or check.code in only]
    reasons = {check.code: _missing(case, check) for check in wanted}
    found = [finding for check in wanted if not reasons[check.code] for finding in check.find(case)]
    return Checked(tuple(worst_first(found)), tuple((id, reason) for id, reason in reasons.items() if reason))


def _missing(case: Case, check: Check) -> str:
    if check.needs == "bytes" and case.copies is None:
        return _NOT_MADE["bytes"]
    if check.needs in ("pixels", "faces") and case.facts is None:
        return _NOT_MADE["pixels"]
    if check.needs == "faces" and not any(facts.faces is not None for facts in (case.facts or {}).values()):
        return _NOT_MADE["faces"]
    return ""
