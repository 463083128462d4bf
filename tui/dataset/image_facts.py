"""What is to be said of one image beside it: how it is stored, at which size it is trained, its mask and its faces."""

from __future__ import annotations

from collections.abc import Iterator

from loratui.engine.dataset import masks
from loratui.engine.dataset.buckets import BucketRule, assign
from loratui.engine.dataset.facts import WHOLE, ImageFacts
from loratui.engine.dataset.remedies import Remedy
from loratui.engine.dataset.scan import ImageEntry
from loratui.presets.schema import Settings
from loratui.tui import text
from loratui.tui.dataset import image_marks


def details(image: ImageEntry, own: tuple[Remedy, ...], settings: Settings) -> Iterator[str]:
    """Lines about an image, with its remedies."""
    traits = image.traits
    yield f"{image.width} × {image.height} px, {image.format}, {text.size(image.bytes)}"
    rule = BucketRule.of(settings.dataset)
    width, height = image_marks.size_after(image, own)
    bucket = assign(width, height, rule)
    part = image_marks.trained_part(width, height, bucket, WHOLE)
    lost = 1 - part.area
    cut = f"; {lost:.0%} is cut off at the edges" if lost >= 0.01 else ""
    blown = "; enlarged" if width < bucket.width or height < bucket.height else ""
    yield f"trained at {bucket.width} × {bucket.height}{cut}{blown}"
    if said := _mask(image, settings):
        yield said
    colour = f"{traits.mode}, {traits.bits} bits"
    notes = [
        words
        for words, so in (
            ("transparent", traits.alpha),
            ("colour profile", traits.profile),
            ("animated", traits.animated),
            (f"EXIF turns it ({traits.orientation})", traits.orientation != 1),
            ("holds the place where it was taken", traits.gps),
            (f"JPEG quality about {traits.jpeg_quality}", traits.jpeg_quality is not None),
        )
        if so
    ]
    yield ", ".join([f"colour {colour}", *notes])


def _mask(image: ImageEntry, settings: Settings) -> str:
    """What is to be said of an image's mask; empty where there is none and none is wanted."""
    used = masks.path_of(image, settings.dataset)
    if used is not None:
        where = "its transparency" if used == image.path else used.name
        return f"mask: {where}; what it leaves out weighs {settings.dataset.mask_outside:g} (m shows it)"
    if settings.dataset.masks != "off":
        return "mask: none; all of it counts"
    there = masks.shown_of(image, settings.dataset)
    return f"mask: {there.name}, not used (m shows it)" if there and there != image.path else ""


def faces(facts: ImageFacts | None) -> str:
    """What was measured of its pixels, and which faces were found."""
    if facts is None:
        return "pixels and faces: not checked yet (d in the dataset)"
    blur = f"blur {facts.blur:.2f} of 1"
    if facts.faces is None:
        return f"{blur}; faces: not checked"
    sizes = ", ".join(f"{face.box.area:.0%} of the image" for face in facts.faces[:4])
    return f"{blur}; {text.count(len(facts.faces), 'face')}{f' ({sizes})' if sizes else ''}"
