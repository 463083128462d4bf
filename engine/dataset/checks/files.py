"""Checks of the folder: what is not trained on, and files that are there twice."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from loratui.engine.dataset.checks.case import Case, Check, Hit
from loratui.engine.dataset.contents import LeftOut
from loratui.engine.dataset.findings import counted, listed
from loratui.engine.dataset.reader import ORPHAN
from loratui.engine.words import are


def _empty(case: Case) -> Iterator[Hit]:
    if not case.scan.training:
        only = "only regularisation images" if case.scan.images else "no image that can be used"
        yield Hit(f"There is {only} in this folder.")


def _left_out(case: Case) -> Iterator[Hit]:
    for reason, names in _by_reason(item for item in case.scan.left_out if item.image).items():
        if len(names) == 1:
            yield Hit(f"{names[0]} {reason}.", names)
        else:
            yield Hit(f"{are(len(names), 'file')} left out ({listed(names)}): each {reason}.", names)


def _ignored(case: Case) -> Iterator[Hit]:
    others = [item for item in case.scan.left_out if not item.image and item.reason != ORPHAN]
    if others:
        files = tuple(item.relative for item in others)
        reasons = "; ".join(f"{listed(names, 3)}: {reason}" for reason, names in _by_reason(others).items())
        yield Hit(f"{counted(files, 'other file')} ignored ({reasons}).", files)


def _by_reason(items: Iterable[LeftOut]) -> dict[str, tuple[str, ...]]:
    """Relative paths of what was left out for each reason."""
    found: dict[str, list[str]] = {}
    for item in items:
        found.setdefault(item.reason, []).append(item.relative)
    return {reason: tuple(names) for reason, names in found.items()}


def _orphans(case: Case) -> Iterator[Hit]:
    orphans = tuple(i.relative for i in case.scan.left_out if i.reason == ORPHAN)
    if orphans:
        yield Hit(f"{counted(orphans, 'caption')} without an image: {listed(orphans)}.", orphans)


def _copies(case: Case) -> Iterator[Hit]:
    for group in case.copies or ():
        yield Hit(f"{listed(group)} are the same file.", group)


CHECKS = (
    Check(
        "no_pictures",
        "error",
        "headers",
        "Without images there is nothing to learn from.",
        "Put JPEG, PNG or WebP images of the subject into it, or give the folder that holds them.",
        _empty,
    ),
    Check("left_out", "warning", "headers", "It is not trained on.", "Replace or remove it.", _left_out),
    Check("ignored", "info", "headers", "", "", _ignored),
    Check(
        "caption_orphan",
        "warning",
        "headers",
        "A caption belongs to the image of the same name; one that is misspelled is silently lost (FLUX guide).",
        "Give the caption the name of its image, or remove it.",
        _orphans,
    ),
    Check("same_stem", "info", "headers", "", "", lambda case: case.noted("same_stem")),
    Check("not_decoded", "info", "headers", "", "", lambda case: case.noted("not_decoded")),
    Check(
        "unnumbered",
        "info",
        "headers",
        "Each concept is shown for the same time if the recipe balances them (Valstrix).",
        "Name the folders N_token class to set repeats and words; for one subject, put its images into one folder.",
        lambda case: case.noted("unnumbered"),
    ),
    Check(
        "copies",
        "warning",
        "bytes",
        "An image that is there twice is learnt twice as hard, and its details stick (FLUX guide).",
        "Leave out all but one.",
        _copies,
    ),
)
