"""Saves captions beside their images, all of them or none, and keeps what was there before."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from loratui.engine import durable
from loratui.engine.dataset import captions
from loratui.engine.dataset.caption_names import spread, taken_by
from loratui.engine.dataset.scan import DatasetScan, ImageEntry
from loratui.engine.disk_errors import disk_error
from loratui.engine.errors import DatasetError, DiskError
from loratui.engine.words import count

KEPT = ".captions-before"
"""Folder of the old captions, one numbered folder for each save; hidden, so that a scan passes over it."""

_NUMBERED = re.compile(r"\d{4,}")
_COPY = "Save them into a prepared copy."


@dataclass(frozen=True)
class Saved:
    """One save."""

    written: int
    kept: Path
    """Where the old captions are."""


def is_writable(scan: DatasetScan) -> bool:
    """Whether captions can be saved beside the images; if not, a prepared copy is the place for them."""
    folders = {image.path.parent for image in scan.images}
    return all(os.access(folder, os.W_OK | os.X_OK) and folder.resolve() == folder for folder in folders)


def save(scan: DatasetScan, changed: Mapping[str, str]) -> Saved:
    """Writes the captions of these images (by relative path) as UTF-8, beside them.

    An image with a caption file keeps its name; a new one is `NAME.txt`. Where an image keeps its captions `apart`, each line has a
    file: `NAME.txt`, `NAME.2.txt` …; those that are left over go. Each file is written beside and renamed into
    place. The old ones lie in a numbered folder before the first is replaced, and come back if one cannot be written.
    Raises `DatasetError` for an image that is not in the scan, and `DiskError` if the folder cannot be written.
    """
    images = {image.relative: image for image in scan.images}
    unknown = [name for name in changed if name not in images]
    if unknown:
        raise DatasetError(f"{unknown[0]}: this folder has no such image.", "Read the folder again.")
    taken = taken_by(image.path for image in scan.images)
    texts: dict[Path, str] = {}
    of_image: dict[Path, Path] = {}
    for name, text in changed.items():
        image = images[name]
        files = spread(caption_path(image), captions.normalised(text), taken, apart=image.apart)
        texts |= files
        of_image |= dict.fromkeys(files, image.path)
    targets = {path: _bytes(text) for path, text in texts.items()}
    spare = [path for name in changed for path in images[name].further if path not in targets]
    elsewhere = next((path for path in (*targets, *spare) if path.parent.resolve() != path.parent), None)
    if elsewhere:
        raise DiskError(f"{elsewhere}: this folder is a link, and nothing is written through one.", _COPY)
    try:
        kept = _keep(scan.root, [*targets, *spare])
        try:
            for path, data in targets.items():
                durable.write_file(path, data, mode=_mode(path, of_image[path]))
            for path in spare:
                path.unlink(missing_ok=True)
        except (DiskError, OSError):
            _bring_back(scan.root, kept, [*targets, *spare])
            raise
    except (DiskError, OSError) as error:
        told = error if isinstance(error, DiskError) else disk_error(error, error.filename or scan.root)
        raise DiskError(told.message, _COPY) from error
    return Saved(len(changed), kept)


def caption_path(image: ImageEntry) -> Path:
    """The file that holds, or would hold, the caption of an image."""
    return image.caption_path or image.path.with_suffix(".txt")


def _mode(path: Path, image: Path) -> int:
    """Who may read and write a caption: whoever may the one before, or else the image. The folder is the person's own."""
    try:
        return path.stat().st_mode & 0o777
    except OSError:
        return image.stat().st_mode & 0o666


def _bytes(text: str) -> bytes:
    lines = captions.normalised(text)
    data = lines.encode("utf-8", errors="replace")
    if len(data) > captions.LONGEST_BYTES:
        raise DatasetError(
            f"This caption has {count(len(data), 'byte')}: {captions.whole(lines)[:40]}…",
            "Shorten it; no text encoder reads so much.",
        )
    return data + b"\n"


def _keep(root: Path, paths: list[Path]) -> Path:
    """Gives the caption files that exist a second name in a new numbered folder."""
    numbered = _saves(root)
    number = int(numbered[-1].name) + 1 if numbered else 1
    durable.make_directory(root / KEPT)
    folder = root / KEPT / f"{number:04d}"
    with durable.building(folder) as building:
        for path in paths:
            copy = building / path.relative_to(root)
            if os.path.lexists(path):
                durable.make_directory(copy.parent)
                durable.keep_as(path, copy)
    return folder


def _bring_back(root: Path, kept: Path, paths: Iterable[Path]) -> None:
    for path in paths:
        copy = kept / path.relative_to(root)
        if os.path.lexists(copy):
            durable.move(copy, path)
        else:
            path.unlink(missing_ok=True)
    shutil.rmtree(kept, ignore_errors=True)


def _saves(root: Path) -> list[Path]:
    try:
        found = [path for path in (root / KEPT).iterdir() if _NUMBERED.fullmatch(path.name) and path.is_dir()]
    except OSError:
        return []
    return sorted(found, key=lambda path: int(path.name))
