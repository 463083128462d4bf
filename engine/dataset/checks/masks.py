"""Checks of the masks that weight the loss: missing ones, unreadable ones, and those of another shape than their image."""

from __future__ import annotations

from collections.abc import Iterator

from loratui.engine.dataset import masks
from loratui.engine.dataset.checks.case import Case, Check, some
from loratui.engine.dataset.contents import ImageEntry
from loratui.engine.dataset.facts import ImageFacts
from loratui.engine.findings import Finding

SHAPE_DIFFERS = 0.02
"""Share by which the shapes of image and mask may differ; a mask that was made smaller has its sides rounded."""
FEW = 0.01
"""Share of an image below which its mask marks very little."""


def _kind(case: Case) -> str:
    """The kind of mask files that the recipe uses."""
    wanted = case.settings.dataset.masks
    return "folder" if wanted == "alpha" else wanted


def _missing(case: Case) -> Iterator[Finding]:
    dataset = case.settings.dataset
    if dataset.masks == "off" or not case.scan.training:
        return
    without = [image.relative for image in case.scan.training if masks.path_of(image, dataset) is None]
    if len(without) == len(case.scan.training):
        made = dataset.masks in ("person", "face")
        key = "masks_missing.made" if made else "masks_missing.all"
        where = {"folder": str(case.scan.root)} if made else {}
        yield Finding.of(key, where=dataset.masks, settings={"dataset.masks": "off"}, **where)
    else:
        yield from some("masks_missing", without)


def _unreadable(case: Case) -> Iterator[Finding]:
    kind = _kind(case)
    for image in case.scan.images:
        for mask in image.masks:
            if mask.kind == kind and mask.problem:
                yield Finding.of("mask_unreadable", (image.relative,), mask=mask.path.name, reason=mask.problem)


def _shape(case: Case) -> Iterator[Finding]:
    others = []
    for image in case.scan.images:
        mask = image.mask(_kind(case))
        if mask is not None and masks.path_of(image, case.settings.dataset) == mask.path:
            ratio = image.width * mask.height / (image.height * mask.width)
            if abs(ratio - 1) > SHAPE_DIFFERS:
                others.append(image.relative)
    yield from some("mask_shape", others)


def _unused(case: Case) -> Iterator[Finding]:
    if case.settings.dataset.masks == "off":
        kinds = dict.fromkeys(mask.kind for image in case.scan.training for mask in image.masks)
        for kind in [*kinds][:1]:
            names = (image.relative for image in case.scan.training if image.mask(kind))
            yield from some("masks_unused", names, settings={"dataset.masks": kind})


def _marking(code: str, low: float, high: float) -> Check:
    """Masks that mark a share of their image within these limits."""

    def found(case: Case) -> Iterator[Finding]:
        shares = ((image.relative, _share(image, facts, case)) for image, facts in case.measured())
        return some(code, (name for name, share in shares if share is not None and low <= share < high))

    return Check(code, "pixels", found)


def _share(image: ImageEntry, facts: ImageFacts, case: Case) -> float | None:
    """How much of an image its mask marks; None where it has none."""
    path = masks.path_of(image, case.settings.dataset)
    return None if path is None else 1 - facts.transparent if path == image.path else facts.marked.get(_kind(case))


CHECKS = (
    Check("masks_missing", "headers", _missing),
    Check("mask_unreadable", "headers", _unreadable),
    Check("mask_shape", "headers", _shape),
    Check("masks_unused", "headers", _unused),
    _marking("mask_empty", 0.0, 0.0001),
    _marking("mask_small", 0.0001, FEW),
)
