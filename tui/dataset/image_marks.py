"""What will become of an image: in a word below its tile, and drawn onto its thumbnail, dark where it will be cut off."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from loratui.engine.dataset.buckets import Bucket, BucketRule, assign, fit
from loratui.engine.dataset.display import Grey
from loratui.engine.dataset.facts import WHOLE, Box
from loratui.engine.dataset.remedies import Remedy
from loratui.engine.dataset.scan import ImageEntry
from loratui.engine.findings import Severity
from loratui.tui.dataset.edits import DatasetEdits
from loratui.tui.terminal.thumbnails import Thumbnail
from loratui.tui.widgets.image_grid import TILE_WIDTH, Label

_DIMMED = bytes(level // 4 for level in range(256))
_OUTSIDE = (110, 0, 40)
"""Added to what a mask leaves out, which is dimmed too."""


@dataclass(frozen=True, slots=True)
class Marks:
    """What is drawn onto an image."""

    flipped: bool
    trained: Box
    """What is left after cropping and filling the bucket."""
    mask: Grey | None = None
    """Shown over the image, if any."""

    @classmethod
    def of(cls, image: ImageEntry, own: tuple[Remedy, ...], rule: BucketRule, mask: Grey | None = None) -> Marks:
        """The marks of an image with these remedies, and its mask if that is to be seen."""
        crop = next((remedy.box for remedy in own if remedy.kind == "crop" and remedy.box is not None), WHOLE)
        bucket = assign(*size_after(image, own), rule)
        flipped = any(remedy.kind == "mirror" for remedy in own)
        return cls(flipped, trained_part(image.width, image.height, bucket, crop), mask)

    def __call__(self, image: Thumbnail) -> Thumbnail:
        """The image with them."""
        shown = tinted_outside(image, self.mask) if self.mask else image
        turned = mirrored(shown) if self.flipped else shown
        return dimmed_outside(turned, self.trained) if self.trained.area < 0.995 else turned


def mirrored(image: Thumbnail) -> Thumbnail:
    """Left and right exchanged."""
    stride = image.width * 3
    rows = (image.rgb[start : start + stride] for start in range(0, len(image.rgb), stride))
    turned = b"".join(b"".join(row[at : at + 3] for at in range(stride - 3, -1, -3)) for row in rows)
    return dataclasses.replace(image, rgb=turned)


def tinted_outside(image: Thumbnail, mask: Grey) -> Thumbnail:
    """Dark and red where a mask of the same upright image is black, and half of that where it is grey."""
    across = [x * mask.width // image.width for x in range(image.width)]
    out = bytearray(image.rgb)
    for y in range(image.height):
        row = mask.levels[(start := y * mask.height // image.height * mask.width) : start + mask.width]
        for x, at in enumerate(across):
            inside, place = row[at], (y * image.width + x) * 3
            if inside < 255:
                for channel, tint in enumerate(_OUTSIDE):
                    level = out[place + channel]
                    out[place + channel] = (level * inside + (level // 4 + tint) * (255 - inside)) // 255
    return dataclasses.replace(image, rgb=bytes(out))


def dimmed_outside(image: Thumbnail, box: Box) -> Thumbnail:
    """Dark outside of `box`."""
    stride = image.width * 3
    left, right = round(box.left * image.width) * 3, round(box.right * image.width) * 3
    top, bottom = round(box.top * image.height), round(box.bottom * image.height)
    rows = []
    for y in range(image.height):
        row = image.rgb[y * stride : (y + 1) * stride]
        dark = row.translate(_DIMMED)
        rows.append(dark[:left] + row[left:right] + dark[right:] if top <= y < bottom else dark)
    return dataclasses.replace(image, rgb=b"".join(rows))


def trained_part(width: int, height: int, bucket: Bucket, crop: Box = WHOLE) -> Box:
    """The part of an image of `width` × `height` px that is left after `crop` and after filling `bucket`, as shares."""
    inner_w, inner_h = max(1, round(crop.width * width)), max(1, round(crop.height * height))
    place = fit(inner_w, inner_h, bucket)
    left, top = place.left / place.resized_w, place.top / place.resized_h
    right, bottom = left + bucket.width / place.resized_w, top + bucket.height / place.resized_h
    return Box(
        crop.left + left * crop.width,
        crop.top + top * crop.height,
        crop.left + right * crop.width,
        crop.top + bottom * crop.height,
    )


def size_after(image: ImageEntry, own: tuple[Remedy, ...]) -> tuple[int, int]:
    """Width and height in px after its remedies."""
    width, height = image.width, image.height
    for remedy in own:
        if remedy.kind == "crop" and remedy.box is not None:
            width, height = max(1, round(remedy.box.width * width)), max(1, round(remedy.box.height * height))
        elif remedy.kind == "shrink" and max(width, height) > remedy.longest_px:
            scale = remedy.longest_px / max(width, height)
            width, height = max(1, round(width * scale)), max(1, round(height * scale))
    return width, height


def tile_label(name: str, prepared: DatasetEdits, worst: Mapping[str, Severity], rule: BucketRule) -> Label:
    """What stands below a tile: left out and why, or how grave its findings are, and the size it is trained at."""
    image = prepared.names.get(name)
    if image is None:
        reason = next((item.reason for item in prepared.unusable if item.relative == name), "")
        return Label("✖", "out", reason)
    reason = prepared.reason_left_out(name)
    if reason:
        return Label("–", "out", reason)
    own = prepared.remedies_of(name)
    bucket = assign(*size_after(image, own), rule)
    before = "class" if image.regularisation else f"{image.width}×{image.height}"
    after = f"→{bucket.width}×{bucket.height}"
    line = f"{before}{after}" if len(before + after) < TILE_WIDTH else after  # what it is trained at tells more
    if name in prepared.chosen.captions:
        return Label("✎", "note", line)
    severity = worst.get(name)
    if severity is not None:
        signs: dict[Severity, tuple[str, str]] = {"error": ("✖", "error"), "warning": ("!", "warning"), "info": ("·", "note")}
        return Label(*signs[severity], line)
    return Label("◆" if own else " ", "note" if own else "", line)
