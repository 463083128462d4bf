"""Images that are kept out of the training, so that the loss on them can be measured: which they are."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from loratui.engine.dataset import decoding
from loratui.engine.dataset.contents import DatasetScan, ImageEntry, concepts_of
from loratui.engine.dataset.display import DISPLAY, Room
from loratui.engine.dataset.similar import apart, mirrored
from loratui.presets.schema import Dataset

AUTO = "auto"
"""In place of names: loratui chooses."""
FEWEST = 12
"""From so many images of a concept on, `auto` holds some out: fewer cannot spare one."""
SHARE = 10
"""`auto` holds out one of so many."""
MOST = 20
"""Of a concept, `auto` holds out no more: they tell enough."""
LOOKED_AT = 200
"""Of a larger concept, `auto` chooses among so many images, evenly spread."""

_SIDE = 8
"""Of the thumbnails that are compared, px."""
_CELL = 4
"""Side of the pixels behind one of theirs, px."""


def with_held_out(found: DatasetScan, dataset: Dataset) -> DatasetScan:
    """`found` with the images that the recipe holds out marked, behind all others; the same again if they are marked already.

    So the trained images have the numbers and the order that they would have in a folder without these.
    """
    if not dataset.held_out or found.held_out:
        return found
    names = chosen(found) if dataset.held_out == (AUTO,) else frozenset(dataset.held_out)
    held = tuple(dataclasses.replace(image, held_out=True) for image in found.training if image.relative in names)
    if not held:
        return found
    rest = tuple(image for image in found.images if image.regularisation or image.relative not in names)
    return dataclasses.replace(found, images=(*rest, *held), concepts=concepts_of(rest))


def unknown(found: DatasetScan, dataset: Dataset) -> tuple[str, ...]:
    """Names in the setting that are not those of an image of the subject."""
    there = {image.relative for image in found.images if not image.regularisation}
    return tuple(name for name in dataset.held_out if name not in there and dataset.held_out != (AUTO,))


def how_many(images: Sequence[ImageEntry]) -> int:
    """How many of the images of a concept `auto` holds out."""
    return 0 if len(images) < FEWEST else min(MOST, round(len(images) / SHARE))


def chosen(found: DatasetScan) -> frozenset[str]:
    """What `auto` holds out: of each concept with enough images those that are least like any other, so that no copy of them is
    trained on. Decodes the images."""
    return frozenset(name for images in by_folder(found).values() for name in _farthest(images))


def by_folder(found: DatasetScan) -> dict[str, list[ImageEntry]]:
    """The images of each concept, those that are held out among them, by its folder."""
    folders: dict[str, list[ImageEntry]] = {}
    for image in found.images:
        if not image.regularisation:
            folders.setdefault(image.relative.rpartition("/")[0], []).append(image)
    return folders


def _farthest(images: Sequence[ImageEntry]) -> list[str]:
    """The images of one concept whose nearest other image is farthest away."""
    if not how_many(images):
        return []
    step = max(1.0, len(images) / LOOKED_AT)
    looked_at = [images[int(at * step)] for at in range(min(len(images), LOOKED_AT))]
    small = {image.relative: found for image in looked_at if (found := _thumbnail(image))}
    near = _distances(small)
    held: list[str] = []
    for _ in range(min(how_many(images), len(small) - 1)):
        left = [name for name in small if name not in held]
        held.append(max(left, key=lambda name: min(near[name][other] for other in left if other != name)))
    return held


def _distances(small: Mapping[str, bytes]) -> dict[str, dict[str, float]]:
    """How far each thumbnail is from each other one, in a mirror or not."""
    turned = {name: mirrored(one) for name, one in small.items()}
    near: dict[str, dict[str, float]] = {name: {} for name in small}
    names = list(small)
    for at, name in enumerate(names):
        for other in names[:at]:
            near[name][other] = near[other][name] = min(apart(small[name], small[other]), apart(small[name], turned[other]))
    return near


def _thumbnail(image: ImageEntry) -> bytes:
    """8 × 8 pixels of RGB; empty for an image that cannot be read, or whose name cannot be written into a recipe."""
    try:
        image.relative.encode("utf-8")
        return _read(image.path, image.width, image.height, image.bytes, image.modified_ns)
    except (decoding.ImageError, UnicodeEncodeError):
        return b""


@lru_cache(maxsize=2_000)
def _read(path: Path, width: int, height: int, size: int, modified_ns: int) -> bytes:
    del size, modified_ns  # parts of the cache's key
    side = _SIDE * _CELL
    shown = DISPLAY.shown(path, Room(side, side, shape=width / height), (255, 255, 255))
    if (shown.width, shown.height) != (side, side):
        raise decoding.ImageError("is too narrow to be compared")
    rows = [shown.rgb[3 * side * row : 3 * side * (row + 1)] for row in range(side)]
    return bytes(
        sum(rows[y][3 * x + colour] for y in range(_CELL * down, _CELL * (down + 1)) for x in _columns(across)) // _CELL**2
        for down in range(_SIDE)
        for across in range(_SIDE)
        for colour in range(3)
    )


def _columns(across: int) -> range:
    return range(_CELL * across, _CELL * (across + 1))
