"""An image file as the tensor that the VAE gets."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from loratui.engine.dataset.buckets import Bucket, Fit
from loratui.engine.dataset.decoding import load_rgb
from loratui.engine.dataset.ledger import LedgerEntry
from loratui.engine.families.model import SizeConditioning

_MOST_COVER = 8
"""Limit, in areas of its bucket, up to which a whole image is resized before it is cropped."""


def load_pixels(path: Path, fit: Fit, bucket: Bucket) -> Tensor:
    """(3, H, W) fp32 in [−1, 1], H × W being the bucket: upright, sRGB, resized to cover, cropped. Raises `ImageError`."""
    image = load_rgb(path)
    if fit.resized_w * fit.resized_h > _MOST_COVER * bucket.width * bucket.height:
        # A strip: what is cropped away would be far larger than what is kept.
        across, down = image.width / fit.resized_w, image.height / fit.resized_h
        box = (fit.left * across, fit.top * down, (fit.left + bucket.width) * across, (fit.top + bucket.height) * down)
        return to_tensor(image.resize((bucket.width, bucket.height), Image.Resampling.LANCZOS, box=box))
    if image.size != (fit.resized_w, fit.resized_h):
        image = image.resize((fit.resized_w, fit.resized_h), Image.Resampling.LANCZOS)
    image = image.crop((fit.left, fit.top, fit.left + bucket.width, fit.top + bucket.height))
    return to_tensor(image)


def size_conditioning_of(entry: LedgerEntry, flip: bool) -> SizeConditioning:
    """Where a training image comes from; for a mirrored one, its place in the mirrored photo."""
    fit, bucket = entry.fit, entry.bucket
    left = fit.resized_w - bucket.width - fit.left if flip else fit.left
    return SizeConditioning((entry.width, entry.height), (left, fit.top), (bucket.width, bucket.height))


def to_tensor(image: Image.Image) -> Tensor:
    """(3, H, W) fp32: byte 0 becomes −1, byte 255 becomes 1."""
    array = np.asarray(image, dtype=np.uint8)
    return torch.from_numpy(array.copy()).permute(2, 0, 1).float() / 127.5 - 1.0


def to_png(pixels: Tensor) -> bytes:
    """A PNG file without any metadata, from (3, H, W) uint8."""
    buffer = io.BytesIO()
    Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy(), "RGB").save(buffer, "PNG")
    return buffer.getvalue()
