"""Finds the masks of each image: the same name in a `masks` folder, or `NAME-masklabel.png` and `NAME_mask.png` beside it.

`-masklabel` is OneTrainer's name; a folder of files with the same names is what ai-toolkit (`mask_path`) and sd-scripts
(`conditioning_data_dir`) read. Masks that loratui makes lie in folders of their own (`made_masks`), so none of a person is replaced.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path, PurePath

from loratui.engine.dataset import decoding
from loratui.engine.dataset.caption_names import key, suffix
from loratui.engine.dataset.contents import ImageEntry, MaskFile
from loratui.engine.dataset.file_kinds import SUFFIXES

ENDINGS = ("-masklabel", "_mask", "-mask")
"""What follows an image's name in that of its mask, the first that is there counts."""

FOLDERS = {"folder": "masks", "person": "masks-person", "face": "masks-face"}
"""Kind of masks, as `dataset.masks` names it -> the folder that holds them."""

_FOLDER = re.compile(r"masks?(-person|-face)?", re.IGNORECASE)


def is_folder(name: str) -> bool:
    """Whether a folder of this name holds masks."""
    return _FOLDER.fullmatch(name) is not None


def _kind(name: str) -> str:
    """The kind of masks in a folder that holds some."""
    found = _FOLDER.fullmatch(name)
    return found[1][1:].lower() if found and found[1] else "folder"


def beside(names: Sequence[str]) -> set[str]:
    """Those of the names of one folder's files that are the mask of an image among them."""
    named = [name for name in names if _may_be(name)]
    stems = {key(PurePath(name).stem) for name in names} if named else set()
    return {name for name in named if any(_of(name, ending) in stems for ending in ENDINGS)}


def _may_be(name: str) -> bool:
    """Whether a file may be a mask by its name; quick, for ten thousand of them."""
    return any(ending in name.lower() for ending in ENDINGS)


def _of(name: str, ending: str) -> str:
    """Key of the image that a mask with this ending belongs to; empty for another name."""
    stem = key(PurePath(name).stem)
    return stem.removesuffix(ending) if stem.endswith(ending) else ""


def with_masks(images: Iterable[ImageEntry], root: Path, header: Callable[[Path], decoding.Header]) -> list[ImageEntry]:
    """The images with their masks, where they have some below `root`. `header` reads that of a mask, and may raise `ImageError`."""
    places: dict[str, tuple[tuple[str, Mapping[str, Path]], ...]] = {}
    found = []
    for image in images:
        folder = image.relative.rpartition("/")[0]
        if folder not in places:
            places[folder] = tuple(each for each in _places(image.path.parent, root) if each[1])
        if not places[folder]:
            found.append(image)
            continue
        stem = key(image.path.stem)
        nearest: dict[str, Path] = {}
        for kind, place in places[folder]:
            if stem in place:
                nearest.setdefault(kind, place[stem])
        masks = tuple(_read(kind, path, header) for kind, path in nearest.items())
        found.append(dataclasses.replace(image, masks=masks) if masks else image)
    return found


def _places(folder: Path, root: Path) -> Iterable[tuple[str, Mapping[str, Path]]]:
    """Where the masks of a folder's images may be, the nearest first: their kind, and key of the image's name -> mask."""
    files, folders = _listed(folder)
    yield from ((_kind(each.name), _named(each, _listed(each)[0])) for each in folders)
    named = list(filter(_may_be, files))
    for ending in ENDINGS:
        yield "folder", {stem: folder / name for name in reversed(named) if (stem := _of(name, ending))}
    if folder != root and folder.is_relative_to(root):
        for each in _listed(folder.parent)[1]:
            inner = each / folder.name
            yield _kind(each.name), _named(inner, _listed(inner)[0])
            yield _kind(each.name), _named(each, _listed(each)[0])


def _listed(folder: Path) -> tuple[list[str], list[Path]]:
    """The names of the images in a folder, and the folders of masks in it; nothing where it cannot be read."""
    files, folders = [], []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if suffix(entry.name) in SUFFIXES and not entry.name.startswith("."):
                    files.append(entry.name)
                elif is_folder(entry.name) and entry.is_dir():
                    folders.append(Path(entry.path))
    except OSError:
        return [], []
    return sorted(files), sorted(folders)


def _named(folder: Path, names: Iterable[str]) -> dict[str, Path]:
    """Files by the key of their names without the ending; of several the first."""
    named: dict[str, Path] = {}
    for name in names:
        path = folder / name
        if path.is_file():
            named.setdefault(key(path.stem), path)
    return named


def _read(kind: str, path: Path, header: Callable[[Path], decoding.Header]) -> MaskFile:
    try:
        read = header(path)
    except decoding.ImageError as error:
        return MaskFile(kind, path, 0, 0, str(error))
    return MaskFile(kind, path, read.width, read.height)
