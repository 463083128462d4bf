"""Reads a folder of training images from file headers alone: images, captions, concepts, and what is left out."""

from __future__ import annotations

import dataclasses
import time
from functools import lru_cache
from pathlib import Path

from loratui.engine.dataset import decoding, file_kinds
from loratui.engine.dataset.contents import DatasetScan as DatasetScan  # everybody takes these from here
from loratui.engine.dataset.contents import ImageEntry as ImageEntry
from loratui.engine.dataset.contents import without as without
from loratui.engine.dataset.display import DISPLAY
from loratui.engine.dataset.reader import RESULTS, FolderReader
from loratui.engine.errors import DatasetError, UsageError
from loratui.engine.findings import Finding
from loratui.engine.words import number


def scan(path: Path) -> DatasetScan:
    """The images in `path`: a plain folder, an `N_token class` folder, or a folder of such folders and `reg` folders.

    Raises `DatasetError` for a folder that is missing, unreadable or without a single image, and for an archive;
    `UsageError` for any other file.
    """
    result = read_folder(path)
    if not result.training:
        raise _nothing_found(path, result)
    return result


def read_folder(path: Path) -> DatasetScan:
    """As `scan`, but a folder without an image is a scan without images.

    Raises `DatasetError` for a folder that is missing or unreadable.
    """
    return FolderReader(_resolved(path)).read()


def verify(found: DatasetScan, budget_s: float = 10.0) -> DatasetScan:
    """As `decoded`. Raises `DatasetError` if no image is left."""
    result = decoded(found, budget_s)
    if not result.training:
        raise _nothing_found(found.root, result)
    return result


def decoded(found: DatasetScan, budget_s: float = 10.0) -> DatasetScan:
    """`found` with its images decoded once, coarsely; the damaged ones are moved to `left_out`.

    Stops after `budget_s` seconds and notes how many images were not decoded. What was decoded before, and has not
    changed since, is not decoded again.
    """
    end = time.monotonic() + budget_s
    damaged: dict[str, str] = {}
    unchecked = 0
    for image in found.images:
        if time.monotonic() > end:
            unchecked += 1
        elif fault := _fault(image.path, image.bytes, image.modified_ns):
            damaged[image.relative] = fault
    result = without(found, damaged)
    if unchecked:
        note = Finding.of("not_decoded", unchecked=unchecked, images=len(found.images))
        result = dataclasses.replace(result, notes=(*(n for n in result.notes if n.code != note.code), note))
    return result


@lru_cache(maxsize=20_000)
def _fault(path: Path, size: int, modified_ns: int) -> str:  # noqa: ARG001 - part of the cache's key
    try:
        DISPLAY.check(path)
    except decoding.ImageError as error:
        return str(error)
    return ""


def _resolved(path: Path) -> Path:
    try:
        root = path.expanduser().resolve(strict=True)
    except (OSError, RuntimeError, ValueError):  # ValueError: a NUL or half a surrogate in the name
        raise DatasetError(f"{path}: no such folder.", "Check the path and give a folder of images.") from None
    if root.is_file() and root.suffix.lower() == ".zip":  # a whole one was unpacked before anybody asks here
        raise DatasetError(f"{path}: this zip is damaged, or its end is missing.", "Pack or copy it again.")
    if root.is_file() and root.suffix.lower() in file_kinds.ARCHIVES:
        raise DatasetError(f"{path}: this archive is not read.", "Unpack it and give the folder, or pack it as a zip.")
    if not root.is_dir():
        raise UsageError(f"{path}: this is a file, not a folder.", f"Give the folder that holds it: {root.parent}.")
    return root


def _nothing_found(path: Path, found: DatasetScan) -> DatasetError:
    broken = [item for item in found.left_out if item.image]
    if broken:
        first = broken[0]
        more = f" ({number(len(broken) - 1)} more like it)" if len(broken) > 1 else ""
        return DatasetError(f"{path}: no image can be used: {first.relative} {first.reason}{more}.", "Replace them.")
    if found.regularisation:
        return DatasetError(f"{path}: there are only regularisation images.", "Add images of the subject.")
    results = next((item for item in found.left_out if item.reason == RESULTS), None)
    if results:
        return DatasetError(f"{path}: there are only images that a trainer wrote.", f"To train on them, give {results.path}.")
    what = "the folder is empty" if not found.left_out else "there are no images in this folder"
    return DatasetError(f"{path}: {what}.", "Put JPEG, PNG or WebP images into it.")
