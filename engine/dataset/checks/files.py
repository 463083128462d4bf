"""Checks of the files of a set: nothing to train on, what is not trained on, and files that are there twice."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from loratui.engine.dataset.checks.case import Case, Check, noted, some
from loratui.engine.dataset.contents import LeftOut
from loratui.engine.dataset.reader import ORPHAN
from loratui.engine.findings import Finding
from loratui.engine.words import listed


def _empty(case: Case) -> Iterator[Finding]:
    if not case.scan.training:
        yield Finding.of("no_pictures")


def _left_out(case: Case) -> Iterator[Finding]:
    for reason, names in _by_reason(item for item in case.scan.left_out if item.image).items():
        yield Finding.of("left_out", names, reason=reason)


def _ignored(case: Case) -> Iterator[Finding]:
    others = [item for item in case.scan.left_out if not item.image and item.reason != ORPHAN]
    reasons = "; ".join(f"{listed(names, 3)}: {reason}" for reason, names in _by_reason(others).items())
    return some("ignored", (item.relative for item in others), reasons=reasons)


def _by_reason(items: Iterable[LeftOut]) -> dict[str, list[str]]:
    """Relative paths of what was left out for each reason."""
    found: dict[str, list[str]] = {}
    for item in items:
        found.setdefault(item.reason, []).append(item.relative)
    return found


def _orphans(case: Case) -> Iterator[Finding]:
    return some("caption_orphan", (item.relative for item in case.scan.left_out if item.reason == ORPHAN))


CHECKS = (
    Check("no_pictures", "headers", _empty),
    Check("left_out", "headers", _left_out),
    Check("ignored", "headers", _ignored),
    Check("caption_orphan", "headers", _orphans),
    *(Check(code, "headers", noted(code)) for code in ("same_stem", "not_decoded", "unnumbered")),
    Check("copies", "bytes", lambda case: (Finding.of("copies", group) for group in case.copies or ())),
)
