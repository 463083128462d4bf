"""The folders of another tool's list as one folder: links to their images, with the captions that the list gives them.

It takes the place of the list, as an unpacked zip does: captions are saved in it, never beside the person's own images.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from loratui.engine import durable
from loratui.engine.dataset import archives, caption_names, captions, file_kinds, folder_lists, mask_files
from loratui.engine.dataset.contents import ImageEntry
from loratui.engine.dataset.folder_lists.source import FolderList, Source
from loratui.engine.dataset.reader import MOST_FOLDERS, FolderReader
from loratui.engine.disk_errors import disk_error
from loratui.engine.errors import DatasetError
from loratui.engine.findings import Finding
from loratui.engine.limits import FOLDER_FILES, LIST_FILE_BYTES
from loratui.engine.untrusted import Unreadable, inside, read_json, read_small
from loratui.engine.words import count

RECORD = ".loratui-gathered.json"
"""In the gathered folder: which list it was made of, and what means something else here."""
SHARED = "captions.json"
"""Several captions that all images of a folder share; one file for each would be thousands."""
_NOTES = ("caption_list", "caption_list.columns", "caption_list_differs", "caption_list_gone", "caption_list_unreadable")
"""Findings of the folders that are not found again in the gathered one, since it has a caption file in place of a list."""
_MOST_DEPTH = 8
_LONGEST_STEM = 200
"""Bytes: the names of folders come in front, and endings behind."""
_UNSAFE = re.compile(r"[^\w .()-]+")


@dataclass
class _Taken:
    """An image of a source, and the captions that it gets."""

    image: ImageEntry
    name: str
    texts: tuple[str, ...] | None
    """None where its caption file is copied as it is."""


@dataclass
class _Folder:
    source: Source
    path: Path
    images: list[_Taken] = field(default_factory=list)
    notes: list[Finding] = field(default_factory=list)


def opened(path: Path, place: Path) -> Path:
    """The folder of images behind what a person gave: itself, or a zip or a list of folders of another tool as a folder below `place`.

    Raises `DatasetError` for a zip or list of which nothing can be used, and `DiskError`.
    """
    if archives.is_archive(path):
        return archives.unpack_once(path, place)
    return gather(path, place) if folder_lists.is_list(path) else path


def findings(root: Path) -> Iterator[Finding]:
    """What is to be said of a folder that was gathered; nothing for any other."""
    try:
        table = read_json(root / RECORD, LIST_FILE_BYTES)
        folders, changed = [str(name) for name in table["folders"]], [str(words) for words in table["changed"]]
        path, tool = str(table["list"]), str(table["tool"])
        notes = [Finding.of(key, files, **figures) for key, files, figures in table["notes"] if key in _NOTES]
    except (OSError, ValueError, KeyError, TypeError):
        return
    yield Finding.of("gathered", folders=folders, list=path, tool=tool)
    if changed:
        yield Finding.of("gathered_changed", changed=changed, list=path, tool=tool)
    yield from notes


def gather(path: Path, place: Path) -> Path:
    """The folder of a list below `place`; made anew only if the list, an image or a caption has changed."""
    try:
        listed = folder_lists.read(path)
    except Unreadable as error:
        raise DatasetError(f"{path}: {error.strerror}.", "Give the folder of images itself.") from error
    if listed is None:
        raise DatasetError(f"{path}: lists no folders of images.", "Give the folder of images itself.")
    left_out = list(listed.left_out)
    folders = [found for source in listed.sources if (found := _folder(source, path.parent.resolve(), left_out))]
    if not any(folder.images and not folder.source.regularisation for folder in folders):
        reasons = "; ".join(f"{name} {reason}" for name, reason in left_out[:3]) or "it names no folder with images"
        raise DatasetError(f"{path}: no image can be used: {reasons}.", "Correct the folders in it, or give one of them.")
    known = [(f.source.name, f.source.repeats, f.source.regularisation, _known(one)) for f in folders for one in f.images]
    digest = hashlib.sha256(json.dumps([str(path.resolve()), known, left_out, listed.changed]).encode("ascii")).hexdigest()[:12]
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", path.stem)[:40].strip(".-") or "list"
    target = place / f"gathered-{stem}-{digest}"
    if not target.is_dir():
        try:
            durable.make_directory(target.parent)
            with durable.building(target) as building:
                _write(building, folders, listed, path, left_out)
        except OSError as error:
            raise disk_error(error, target) from error
    return target


def _known(one: _Taken) -> tuple[Any, ...]:
    """All that a gathered image depends on."""
    image = one.image
    masks = [str(mask.path) for mask in image.masks]
    return (one.name, str(image.path), image.bytes, image.modified_ns, image.caption, one.texts, masks)


def _folder(source: Source, beside: Path, left_out: list[tuple[str, str]]) -> _Folder | None:
    place = _place(source.folder, beside)
    if place is None:
        left_out.append((source.name, f"is not here: {source.folder or 'no folder is named'}"))
        return None
    prompts = source.texts
    if source.captions == "prompt_file":
        prompts = _prompts(source, beside, left_out)
    found, taken = _Folder(source, place), set[str]()
    for folder in islice(_below(place, source.deep), MOST_FOLDERS):
        read = FolderReader(folder, alone=True).read()
        within = folder.relative_to(place).as_posix()
        for item in read.left_out:
            left_out.append((str(Path(source.name, within, item.relative)), item.reason))
        found.notes += (note for note in read.notes if note.key in _NOTES)
        for image in read.images:
            name = _free(f"{within.replace('/', '-')}-{image.relative}" if within != "." else image.relative, taken)
            found.images.append(_Taken(image, name, _texts(image, source, prompts)))
    return found


def _texts(image: ImageEntry, source: Source, prompts: tuple[str, ...]) -> tuple[str, ...] | None:
    """The captions of an image; None where its caption file says the same."""
    if source.captions == "filename":
        own = [image.path.stem.replace("_", " ")]
    elif source.captions in ("fixed", "prompt_file"):
        return prompts
    else:
        lines = captions.lines(image.caption or "")
        if image.caption_path and len(lines) < 2 and not source.prefix and not source.suffix:
            return None
        own = lines if source.lines == "each" or image.apart else [captions.whole(image.caption or "")]
        own = lines[:1] if source.lines == "first" else own
    return tuple(f"{source.prefix} {text} {source.suffix}".strip() for text in own)


def _prompts(source: Source, beside: Path, left_out: list[tuple[str, str]]) -> tuple[str, ...]:
    written = source.texts[0].replace("\\", "/")
    for path in (beside / written, beside / Path(written).name):
        if path.suffix.lower() in file_kinds.CAPTION_SUFFIXES and path.is_file():
            try:
                return tuple(captions.lines(captions.decode(read_small(path, captions.LONGEST_BYTES + 1)).text))
            except Unreadable as error:
                left_out.append((f"{source.name}: {path.name}", f"cannot be read: {error.strerror}"))
                return ()
    left_out.append((f"{source.name}: {Path(written).name}", "is not here, so its images have no captions"))
    return ()


def _place(written: str, beside: Path) -> Path | None:
    """The folder that a list means: by its path, else by the last parts of it beside the list, which another machine may have written."""
    parts = [part for part in written.replace("\\", "/").split("/") if part not in ("", ".")]
    tails = [parts[first:] for first in range(max(0, len(parts) - 3), len(parts))]
    near = [inside(beside, "/".join(tail)) for tail in tails]
    # FluxGym keeps `outputs/NAME/dataset.toml` for `datasets/NAME`.
    near += [inside(above, "/".join(tail)) for above in list(beside.parents)[:2] for tail in tails if len(tail) > 1]
    try:
        places = (beside / Path(written).expanduser(), *near)
        return next((path.resolve() for path in places if written and path and path.is_dir()), None)
    except (OSError, RuntimeError, ValueError):  # a name that no file can have, ~ of somebody unknown
        return None


def _below(folder: Path, deep: bool, depth: int = 0) -> Iterator[Path]:
    yield folder
    if deep and depth < _MOST_DEPTH:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
        for name in names:
            if not file_kinds.why_passed_over(name) and not mask_files.is_folder(name):
                yield from _below(folder / name, deep, depth + 1)


def _free(name: str, taken: set[str]) -> str:
    """A name whose stem no other image has: captions go by the stem."""
    stem, suffix = name[: -len(caption_names.suffix(name)) or None], Path(name).suffix
    stem = stem if len(os.fsencode(stem)) <= _LONGEST_STEM else stem[-_LONGEST_STEM // 4 :]
    number, free = 1, stem
    while caption_names.key(free) in taken:
        number += 1
        free = f"{stem}-{number}"
    taken.add(caption_names.key(free))
    return f"{free}{suffix}"


def _write(building: Path, folders: list[_Folder], listed: FolderList, path: Path, left_out: list[tuple[str, str]]) -> None:
    if sum(len(folder.images) for folder in folders) > FOLDER_FILES:
        raise DatasetError(f"{path}: its folders hold more than {count(FOLDER_FILES, 'image')}.", "Give one of them.")
    alone = len(folders) == 1 and folders[0].source.repeats == 1 and not folders[0].source.named
    for folder in folders:
        source = folder.source
        name = f"{source.repeats}_{_UNSAFE.sub('-', source.name).strip(' .') or 'images'}"
        place = building / "reg" / name if source.regularisation else building if alone else building / name
        durable.make_directory(place)
        _fill(place, folder)
    record: dict[str, Any] = {"list": path.name, "tool": listed.tool, "changed": listed.changed}
    record["folders"] = [f"{f.source.name} ({len(f.images)} × {f.source.repeats})" for f in folders]
    record["notes"] = [(n.key, [f"{f.source.name}/{name}" for name in n.files], n.parameters) for f in folders for n in f.notes]
    durable.write_json(building / RECORD, record, durable=False)
    durable.write_json(building / archives.RECORD, left_out, durable=False)


def _fill(place: Path, folder: _Folder) -> None:
    shared: dict[str, tuple[str, ...]] = {}
    taken = caption_names.taken_by(place / one.name for one in folder.images)
    for one in folder.images:
        target = place / one.name
        durable.link(target, one.image.path)
        for mask in one.image.masks:
            beside = target.parent / mask_files.FOLDERS[mask.kind]
            durable.make_directory(beside)
            durable.link(beside / f"{target.stem}{mask.path.suffix}", mask.path)
        if one.texts is None and one.image.caption_path:
            data = read_small(one.image.caption_path, captions.LONGEST_BYTES + 1)
            durable.write_file(target.with_suffix(".txt"), data, durable=False)
        elif one.texts and len(one.texts) > 1 and folder.source.captions != "files":
            shared[one.name] = one.texts
        elif one.texts:
            texts = caption_names.spread(target.with_suffix(".txt"), "\n".join(one.texts), taken, apart=True)
            for file, text in texts.items():
                durable.write_file(file, text.encode("utf-8", "replace") + b"\n", durable=False)
    if shared:
        durable.write_json(place / SHARED, shared, durable=False)
