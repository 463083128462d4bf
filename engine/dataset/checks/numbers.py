"""Checks of how many images there are, against the recipe's range."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from loratui.engine.dataset.checks.case import Case, Check, Hit
from loratui.engine.words import are

_BAND = re.compile(r"(\d+)-(\d*) (.+)")


def image_band(bands: str, images: int) -> str:
    """What `1-9 few; 10-20 good; 21- many` says of a number of images; empty if nothing."""
    for part in bands.split(";"):
        match = _BAND.fullmatch(part.strip())
        if match and int(match[1]) <= images <= (int(match[2]) if match[2] else math.inf):
            return match[3]
    return ""


def _range(case: Case) -> tuple[int, int, int, str]:
    images = len(case.scan.training)
    dataset = case.settings.dataset
    band = image_band(dataset.image_bands, images)
    return images, *dataset.images_wanted, f": {band}" if band else ""


def _images_are(images: int) -> str:
    return are(images, "image")


def _too_few(case: Case) -> Iterator[Hit]:
    images, least, most, meaning = _range(case)
    if 0 < images < least:
        yield Hit(f"{_images_are(images)} less than the {least} to {most} that this recipe works with{meaning}.")


def _too_many(case: Case) -> Iterator[Hit]:
    images, least, most, meaning = _range(case)
    if images > most:
        yield Hit(f"{_images_are(images)} more than the {least} to {most} that this recipe works with{meaning}.")


CHECKS = (
    Check(
        "too_few_images",
        "warning",
        "headers",
        "Few images make a stiff LoRA that repeats them (guides 000 and 001).",
        "Add good, varied images, or expect a stiffer LoRA.",
        _too_few,
    ),
    Check(
        "too_many_images",
        "warning",
        "headers",
        "Quality counts more than number; weak images dilute the good ones (guides 000, 001 and 003).",
        "Keep the best.",
        _too_many,
    ),
)
