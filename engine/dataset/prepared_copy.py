"""A prepared copy of a folder: images with their remedies carried out, captions beside them, and a list of what was done."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from loratui.engine import durable
from loratui.engine.dataset import archives, decoding, mask_files, masks, remedies
from loratui.engine.dataset.caption_edits import by_line, with_suffix
from loratui.engine.dataset.caption_names import spread, taken_by
from loratui.engine.dataset.caption_words import whole_words
from loratui.engine.dataset.display import DISPLAY
from loratui.engine.dataset.remedies import Remedy
from loratui.engine.dataset.scan import DatasetScan, ImageEntry
from loratui.engine.disk_errors import disk_error
from loratui.engine.errors import DatasetError, UsageError
from loratui.engine.limits import LIST_FILE_BYTES
from loratui.engine.untrusted import read_json

RECORD = ".loratui-prepared.json"
"""In the copy: where it came from and what was done; hidden, so that a scan passes over it."""

FORMAT = 1


@dataclass(frozen=True)
class History:
    """Where the images of a prepared copy came from, and what became of them."""

    source: Path
    """The folder that it was made of."""
    remedies: tuple[Remedy, ...]
    """All that was chosen, with the names of the source."""
    sources: Mapping[str, str]
    """Relative path in the copy -> in the source."""
    left_out: tuple[tuple[str, str], ...]
    """(relative path in the source, reason) of what is not in the copy."""

    def of(self, relative: str) -> tuple[Remedy, ...]:
        """What was done to one image of the copy."""
        return self._by_image.get(self.sources.get(relative, ""), ())

    @cached_property
    def _by_image(self) -> Mapping[str, tuple[Remedy, ...]]:
        return remedies.by_image(self.remedies)


def copy_below(
    place: Path,
    scan: DatasetScan,
    chosen: Iterable[Remedy],
    *,
    captions: Mapping[str, str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """The prepared copy of these images, remedies and captions below `place`, to be trained on in place of the folder.

    It is made only if it is not there yet, so that the same choice always gives the same folder. `captions` as in
    `make_copy`; so what is raised.
    """
    chosen = tuple(chosen)
    known = [
        (
            i.relative,
            i.bytes,
            i.modified_ns,
            i.caption,
            (captions or {}).get(i.relative),
            *((True,) if i.apart else ()),
            *_mask_key(i),
        )
        for i in scan.images
    ]
    key = json.dumps([str(scan.root), known, remedies.to_json(chosen)], sort_keys=True)
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", scan.root.name)[:40].strip(".-") or "images"
    # The name begins with a word, so that a number in front of the folder's own name is not taken for its repeats.
    target = place / f"prepared-{stem}-{hashlib.sha256(key.encode('ascii')).hexdigest()[:12]}"
    if any(image.folder_repeats is not None and "/" not in image.relative for image in scan.images):
        target /= scan.root.name  # the folder itself is a concept, by its name
    if read_history(target) is None:
        make_copy(scan, chosen, target, progress, captions)
    return target


def _mask_key(image: ImageEntry) -> tuple[object, ...]:
    states = ((mask.path, mask.path.stat()) for mask in image.masks if mask.path.exists())
    return tuple((str(path), state.st_size, state.st_mtime_ns) for path, state in states)


def make_copy(
    scan: DatasetScan,
    chosen: Iterable[Remedy],
    target: Path,
    progress: Callable[[int, int], None] | None = None,
    captions: Mapping[str, str] | None = None,
) -> None:
    """Writes the images of `scan` with their remedies and captions into the new folder `target`.

    An image without a remedy keeps its bytes; one with some becomes a PNG without EXIF, and its mask is changed with it. The folders
    of concepts stay.
    `captions` (by relative path) take the place of what the caption files say. It is built under a hidden name and appears
    whole or not at all. Raises `DatasetError` for an image that changed or vanished, or if `target` exists, and `DiskError`.
    """
    chosen = tuple(map(remedies.checked, chosen))
    own = remedies.by_image(chosen)
    if target.exists():
        raise DatasetError(f"{target}: this already exists.", "Give another name, or remove it.")
    names = {image.relative for image in scan.images}
    gone = {remedy.relative for remedy in chosen if remedy.kind == "leave_out"} & names
    kept = [image for image in scan.images if image.relative not in gone]
    try:
        durable.make_directory(target.parent)
        with durable.building(target) as building:
            rows = []
            taken = taken_by(building / image.relative for image in kept)
            for at, image in enumerate(kept):
                text = (captions or {}).get(image.relative, image.caption or "")
                rows.append(_copy(image, own.get(image.relative, ()), text, building, taken))
                if progress:
                    progress(at + 1, len(kept))
            durable.write_json(building / RECORD, _record(scan, chosen, rows, gone), durable=False)
    except decoding.ImageError as error:
        raise DatasetError(str(error), "The folder changed while it was copied; start again.") from error
    except OSError as error:
        raise disk_error(error, target) from error


def read_history(folder: Path) -> History | None:
    """What is known of a prepared copy; None for a folder that is none.

    Dropping one of its remedies and copying the source anew undoes it. Raises `UsageError` for a damaged list.
    """
    try:
        table = read_json(folder / RECORD, LIST_FILE_BYTES)
        return History(
            Path(table["source"]),
            remedies.from_json(table["remedies"]),
            _sources(table),
            tuple((row["relative"], row["reason"]) for row in table["left_out"]),
        )
    except UsageError:
        raise
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _sources(table: Mapping[str, Any]) -> dict[str, str]:
    """Copied file -> file it was made from; earlier lists have other keys."""
    rows, name = (table["images"], "image") if "images" in table else (table["pictures"], "picture")
    return {row[name]: row["source"] for row in rows}


def _record(scan: DatasetScan, chosen: tuple[Remedy, ...], rows: list[dict[str, str]], gone: Iterable[str]) -> dict[str, Any]:
    earlier = read_history(scan.root)
    left_out = [(item.relative, item.reason) for item in scan.left_out]
    left_out += [*archives.left_out_of(scan.root), *(earlier.left_out if earlier else ())]
    left_out += [(name, "was left out by choice") for name in sorted(gone)]
    return {
        "format": FORMAT,
        "source": str(scan.root),
        "remedies": remedies.to_json(chosen),
        "images": rows,
        "left_out": [{"relative": relative, "reason": reason} for relative, reason in left_out],
    }


def _copy(
    image: ImageEntry, own: tuple[Remedy, ...], text: str, building: Path, taken: Callable[[Path], bool]
) -> dict[str, str]:
    relative = Path(image.relative)
    folder = building / relative.parent
    durable.make_directory(folder)
    if own:
        path = _free(folder, relative, ".png")
        try:
            DISPLAY.check(image.path)  # a decoder that crashes shall not do so in the app
            rendered = remedies.render(image.path, own)
        except decoding.ImageError as error:
            raise decoding.ImageError(f"{image.relative}: {error}.") from error
        rendered.info.clear()  # neither a profile, which no longer holds, nor comments
        with durable.new_file(path) as file:
            rendered.save(file, "PNG")
    else:
        path = _free(folder, relative, relative.suffix)
        try:
            with decoding.open_regular(image.path) as source, durable.new_file(path) as copy:
                shutil.copyfileobj(source, copy)
        except decoding.ImageError as error:
            raise decoding.ImageError(f"{image.relative}: {error}.") from error
    caption = _caption(text, own)
    for place, line in spread(path.with_suffix(".txt"), caption, taken, apart=image.apart).items():
        if line:
            durable.write_file(place, line.encode("utf-8") + b"\n", durable=False)
    _copy_masks(image, own, path)
    return {"image": path.relative_to(building).as_posix(), "source": image.relative}


def _copy_masks(image: ImageEntry, own: tuple[Remedy, ...], copied: Path) -> None:
    """The masks of an image beside its copy. Transparency, which no remedy leaves, becomes such a mask."""
    found = {mask.kind: mask.path for mask in image.masks if not mask.problem}
    if own and image.traits.alpha:
        found.setdefault("folder", image.path)
    for kind, path in found.items():
        folder = copied.parent / mask_files.FOLDERS[kind]
        durable.make_directory(folder)
        if own:
            DISPLAY.check(path)
            changed = remedies.transformed(masks.read(path, alpha=path == image.path), own)
            changed.info.clear()
            with durable.new_file(folder / f"{copied.stem}.png") as file:
                changed.save(file, "PNG")
        else:
            with decoding.open_regular(path) as source, durable.new_file(folder / f"{copied.stem}{path.suffix}") as copy:
                shutil.copyfileobj(source, copy)


def _caption(caption: str, own: tuple[Remedy, ...]) -> str:
    flatten = next((r for r in own if r.kind == "flatten"), None)
    background = f"{flatten.background_name} background" if flatten else ""
    if not caption or not background or whole_words(background).search(caption):
        return caption
    return by_line(caption, lambda line: with_suffix(line, background))


def _free(folder: Path, relative: Path, suffix: str) -> Path:
    """A name whose stem is not taken, since captions go by the stem: `a.png`, else `a-jpg.png`, `a-jpg-2.png` …"""
    stems = {path.stem for path in folder.iterdir()}
    stem = relative.stem
    number = 1
    while stem in stems:
        ending = relative.suffix.lstrip(".").lower()
        stem = f"{relative.stem}-{ending}" if number == 1 else f"{relative.stem}-{ending}-{number}"
        number += 1
    return folder / f"{stem}{suffix}"
