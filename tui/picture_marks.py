"""What will become of a picture, drawn onto its thumbnail: mirrored, and dark where it will be cut off."""

from __future__ import annotations

import dataclasses

from loratui.engine.dataset.buckets import Bucket, fit
from loratui.engine.dataset.facts import WHOLE, Box
from loratui.tui.thumbnails import Thumbnail

_DIMMED = bytes(level // 4 for level in range(256))


def mirrored(picture: Thumbnail) -> Thumbnail:
    """Left and right exchanged."""
    stride = picture.width * 3
    rows = (picture.rgb[start : start + stride] for start in range(0, len(picture.rgb), stride))
    turned = b"".join(b"".join(row[at : at + 3] for at in range(stride - 3, -1, -3)) for row in rows)
    return dataclasses.replace(picture, rgb=turned)


def dimmed_outside(picture: Thumbnail, box: Box) -> Thumbnail:
    """Dark outside of `box`."""
    stride = picture.width * 3
    left, right = round(box.left * picture.width) * 3, round(box.right * picture.width) * 3
    top, bottom = round(box.top * picture.height), round(box.bottom * picture.height)
    rows = []
    for y in range(picture.height):
        row = picture.rgb[y * stride : (y + 1) * stride]
        dark = row.translate(_DIMMED)
        rows.append(dark[:left] + row[left:right] + dark[right:] if top <= y < bottom else dark)
    return dataclasses.replace(picture, rgb=b"".join(rows))


def trained_part(width: int, height: int, bucket: Bucket, crop: Box = WHOLE) -> Box:
    """The part of a picture of `width` × `height` px that is left after `crop` and after filling `bucket`, as shares."""
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
