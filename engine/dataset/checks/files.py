"""Checks of the files of a set: how many images, what is not trained on, and files that are there twice."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator

from loratui.engine.dataset import file_kinds
from loratui.engine.dataset.checks.case import Case, Check, noted, some
from loratui.engine.dataset.contents import LeftOut
from loratui.engine.dataset.reader import ORPHAN
from loratui.engine.findings import Finding
from loratui.engine.words import listed
from loratui.presets.schema import Dataset

_BAND = re.compile(r"(\d+)-(\d*) (.+)")


def _empty(case: Case) -> Iterator[Finding]:
    if not case.scan.training:
        yield Finding.of("no_pictures")


def _left_out(case: Case) -> Iterator[Finding]:
    for reason, names in _by_reason(item for item in case.scan.left_out if item.image).items():
        yield Finding.of("left_out", names, reason=reason)


def _ignored(case: Case) -> Iterator[Finding]:
    known = {ORPHAN, *((file_kinds.MASK, file_kinds.MASKS) if case.settings.dataset.masks != "off" else ())}
    others = [item for item in case.scan.left_out if not item.image and item.reason not in known]
    reasons = "; ".join(f"{listed(names, 3)}: {reason}" for reason, names in _by_reason(others).items())
    return some("ignored", (item.relative for item in others), reasons=reasons)


def _by_reason(items: Iterable[LeftOut]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for item in items:
        found.setdefault(item.reason, []).append(item.relative)
    return found


def _orphans(case: Case) -> Iterator[Finding]:
    return some("caption_orphan", (item.relative for item in case.scan.left_out if item.reason == ORPHAN))


def image_band(bands: str, images: int) -> str:
    """What `1-9 few; 10-20 good; 21- many` says of a number of images; empty if nothing."""
    for part in bands.split(";"):
        match = _BAND.fullmatch(part.strip())
        if match and int(match[1]) <= images <= (int(match[2]) if match[2] else math.inf):
            return match[3]
    return ""


def of_number(images: int, dataset: Dataset, limit_of: str = "") -> Iterator[Finding]:
    """What is to be said of a number of images, whether or not they are there."""
    least, most = dataset.images_wanted
    code = "too_few_images" if 0 < images < least else "too_many_images" if images > most else ""
    if code:
        band = image_band(dataset.image_bands, images)
        meaning = f": {band}" if band else ""
        yield Finding.of(code, images=images, least=least, most=most, band=meaning, limit_of=limit_of)


def _only(code: str, case: Case) -> Iterator[Finding]:
    return (finding for finding in of_number(len(case.scan.training), case.settings.dataset) if finding.code == code)


CHECKS = (
    Check("no_pictures", "headers", _empty),
    Check("left_out", "headers", _left_out),
    Check("ignored", "headers", _ignored),
    Check("caption_orphan", "headers", _orphans),
    *(Check(code, "headers", noted(code)) for code in ("same_stem", "not_decoded", "unnumbered")),
    Check("copies", "bytes", lambda case: (Finding.of("copies", group) for group in case.copies or ())),
    Check("too_few_images", "headers", lambda case: _only("too_few_images", case)),
    Check("too_many_images", "headers", lambda case: _only("too_many_images", case)),
)
