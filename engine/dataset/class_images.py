"""Images of the class that the base makes before training, planned as regularisation images that are not there yet."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from loratui.engine.dataset.contents import DatasetScan, ImageEntry, concepts_of
from loratui.presets.schema import Dataset

FOLDER = "class_images"
"""Where they lie in the run's folder."""

SHOWN_AS = "made by the base"
"""Where they stand among the images of the dataset; no folder of a person's is likely to have this name."""


def with_class_images(found: DatasetScan, dataset: Dataset) -> DatasetScan:
    """`found` with as many images of the class as the recipe wants; the same again if they are in it already."""
    if not dataset.class_images or any(image.made for image in found.images):
        return found
    made = tuple(_entry(number, dataset) for number in range(dataset.class_images))
    images = tuple(sorted((*found.images, *made), key=lambda image: image.relative))
    return dataclasses.replace(found, images=images, concepts=concepts_of(images))


def class_prompt(dataset: Dataset) -> str:
    """What the images of the class show, in words."""
    return " ".join(dataset.class_prompt.replace("{class}", dataset.class_word).split())


def _entry(number: int, dataset: Dataset) -> ImageEntry:
    side = dataset.resolution
    return ImageEntry(
        path=Path(FOLDER) / f"{number:04d}.png",
        relative=f"{SHOWN_AS}/{number:04d}.png",
        width=side,
        height=side,
        format="PNG",
        caption=class_prompt(dataset),
        caption_path=None,
        concept="",
        folder_repeats=None,
        regularisation=True,
        bytes=0,
        made=True,
    )
