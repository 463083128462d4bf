"""A picture file as the tensor that the VAE gets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from loratui.engine.dataset.buckets import Bucket, Fit
from loratui.engine.dataset.ledger import LedgerEntry
from loratui.engine.dataset.pictures import load_rgb
from loratui.engine.training.families.base import Framing

_MOST_COVER = 8
"""Times its bucket that a picture is resized to as a whole before it is cropped."""


def load_pixels(path: Path, fit: Fit, bucket: Bucket) -> Tensor:
    """(3, H, W) fp32 in [−1, 1], H × W being the bucket: upright, sRGB, resized to cover, cropped.

    Raises `PictureError`.
    """
    picture = load_rgb(path)
    if fit.resized_w * fit.resized_h > _MOST_COVER * bucket.width * bucket.height:
        # A strip: what is cropped away would be far larger than what is kept.
        across, down = picture.width / fit.resized_w, picture.height / fit.resized_h
        box = (fit.left * across, fit.top * down, (fit.left + bucket.width) * across, (fit.top + bucket.height) * down)
        return to_tensor(picture.resize((bucket.width, bucket.height), Image.Resampling.LANCZOS, box=box))
    if picture.size != (fit.resized_w, fit.resized_h):
        picture = picture.resize((fit.resized_w, fit.resized_h), Image.Resampling.LANCZOS)
    picture = picture.crop((fit.left, fit.top, fit.left + bucket.width, fit.top + bucket.height))
    return to_tensor(picture)


def framing_of(entry: LedgerEntry, flip: bool) -> Framing:
    """Where a training picture comes from; of a mirrored one, where it lies in the mirrored photo."""
    fit, bucket = entry.fit, entry.bucket
    left = fit.resized_w - bucket.width - fit.left if flip else fit.left
    return Framing((entry.width, entry.height), (left, fit.top), (bucket.width, bucket.height))


def to_tensor(picture: Image.Image) -> Tensor:
    """(3, H, W) fp32: byte 0 becomes −1, byte 255 becomes 1."""
    array = np.asarray(picture, dtype=np.uint8)
    return torch.from_numpy(array.copy()).permute(2, 0, 1).float() / 127.5 - 1.0


def to_png(pixels: Tensor) -> bytes:
    """A PNG file without any metadata, from (3, H, W) uint8."""
    import io

    buffer = io.BytesIO()
    Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy(), "RGB").save(buffer, "PNG")
    return buffer.getvalue()
