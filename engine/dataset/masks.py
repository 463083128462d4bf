"""A mask as the loss sees it: how much of each cell of the latents an image's mask marks, cropped and resized with the image."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loratui.engine.dataset import decoding
from loratui.engine.dataset.buckets import Bucket, Fit
from loratui.engine.dataset.contents import ImageEntry
from loratui.presets.schema import Dataset

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image

    Shares = NDArray[Any]
    """Rows × columns, 0 (outside) to 1 (marked)."""


def path_of(image: ImageEntry, dataset: Dataset) -> Path | None:
    """The file that a recipe takes an image's mask from: the image itself for its transparency. None without a mask.

    An image that is not transparent has a file even for `alpha`: in a prepared copy its transparency has become one.
    """
    if dataset.masks == "alpha" and image.traits.alpha:
        return image.path
    mask = image.mask("folder" if dataset.masks == "alpha" else dataset.masks)
    return mask.path if mask else None


def shown_of(image: ImageEntry, dataset: Dataset) -> Path | None:
    """The file whose mask a person can look at: the one that the recipe uses, else any that the image has."""
    there = (mask.path for mask in image.masks if not mask.problem)
    return path_of(image, dataset) or next(there, image.path if image.traits.alpha else None)


def read(path: Path, *, alpha: bool) -> Image:
    """A mask as grey of 8 bits, upright: white is marked. `alpha`: of an image, what is not transparent.

    A mask file with transparent parts marks what is not transparent, any other what is bright. Raises `ImageError`.
    """
    with decoding.opened(path) as source:
        image = source.decode()
        clear = image.getchannel("A") if image.mode in ("RGBA", "LA") else None
        if clear is not None and (alpha or any(clear.histogram()[:255])):
            grey = clear
        elif alpha:
            grey = image.convert("L").point([255] * 256)
        else:
            grey = image.convert("L")
        return source.upright(grey)


def share(path: Path) -> float | None:
    """How much of an image a mask file marks, 0 to 1; None where it cannot be read."""
    try:
        counts = read(path, alpha=False).histogram()
    except decoding.ImageError:
        return None
    return sum(level * count for level, count in enumerate(counts)) / (255 * sum(counts))


def in_cells(mask: Image, fit: Fit, bucket: Bucket, width: int, height: int) -> Shares:
    """How much of each of `width` × `height` equal cells of the bucket a mask marks: exact means over its pixels.

    The mask may have more or fewer pixels than its image: it covers the same area.
    """
    import numpy as np

    values = np.asarray(mask, dtype=np.uint8)
    down = [_place(fit.top + at * bucket.height / height, fit.resized_h, mask.height) for at in range(height + 1)]
    across = [_place(fit.left + at * bucket.width / width, fit.resized_w, mask.width) for at in range(width + 1)]
    return _means(_means(values, down).T, across).T / 255


def _place(px: float, of: int, pixels: int) -> float:
    return min(1.0, px / of) * pixels


def _means(values: Shares, edges: Sequence[float]) -> Shares:
    """The mean of the rows between each two edges; a row that an edge cuts counts by its part."""
    import numpy as np

    found = []
    for low, high in itertools.pairwise(edges):
        first, last = math.floor(low), max(math.floor(low) + 1, math.ceil(high))
        rows = np.arange(first, last)
        parts = np.minimum(rows + 1, high) - np.maximum(rows, low)
        found.append(parts @ values[first:last] / parts.sum())
    return np.stack(found)
