"""Checks of how many images there are, against the recipe's range."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from loratui.engine.dataset.checks.case import Case, Check
from loratui.engine.findings import Finding
from loratui.presets.schema import Dataset

_BAND = re.compile(r"(\d+)-(\d*) (.+)")


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
    Check("too_few_images", "headers", lambda case: _only("too_few_images", case)),
    Check("too_many_images", "headers", lambda case: _only("too_many_images", case)),
)
