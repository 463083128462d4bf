"""A prepared copy of a folder: pictures with their remedies carried out, captions beside them, and a list of what was done."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loratui.engine.dataset import pictures, remedies
from loratui.engine.dataset.caption_edits import with_suffix
from loratui.engine.dataset.remedies import Remedy
from loratui.engine.dataset.scan import DatasetScan, ImageEntry
from loratui.engine.errors import DatasetError, DiskError, UsageError

RECORD = ".loratui-prepared.json"
"""In the copy: where it came from and what was done; hidden, so that a scan passes over it."""

FORMAT = 1


@dataclass(frozen=True)
class Copied:
    """A prepared copy."""

    folder: Path
    pictures: int
    changed: int
    left_out: tuple[str, ...]


def make_copy(
    scan: DatasetScan, chosen: Iterable[Remedy], target: Path, progress: Callable[[int, int], None] | None = None
) -> Copied:
    """Writes the pictures of `scan` with their remedies and captions into the new folder `target`.

    A picture without a remedy keeps its bytes; one with some becomes a PNG without EXIF. The folders of concepts stay.
    It is built under a hidden name and appears whole or not at all. Raises `DatasetError` for a picture that changed or
    vanished, or if `target` exists, and `DiskError`.
    """
    chosen = tuple(map(remedies.checked, chosen))
    own = remedies.by_picture(chosen)
    if target.exists():
        raise DatasetError(f"{target}: there is something already.", "Give another name, or remove it.")
    gone = {name for name, list_ in own.items() if any(r.kind == "leave_out" for r in list_)}
    kept = [image for image in scan.images if image.relative not in gone]
    try:
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        building = Path(tempfile.mkdtemp(prefix=".preparing-", dir=target.parent))
        try:
            rows = []
            for at, image in enumerate(kept):
                rows.append(_copy(image, own.get(image.relative, ()), building))
                if progress:
                    progress(at + 1, len(kept))
            _write(building / RECORD, json.dumps(_record(scan, chosen, rows), indent=1).encode("ascii"))
            building.rename(target)
        finally:
            shutil.rmtree(building, ignore_errors=True)
    except pictures.PictureError as error:
        raise DatasetError(str(error), "The folder changed while it was copied; start again.") from error
    except OSError as error:
        raise DiskError(
            f"{target}: cannot be written: {error.strerror}.", "Free some space or choose another place."
        ) from error
    changed = sum(image.relative in own for image in kept)
    return Copied(target, len(kept), changed, tuple(sorted(gone & {image.relative for image in scan.images})))


def read_record(folder: Path) -> tuple[Path, tuple[Remedy, ...]] | None:
    """Where a prepared copy came from, and its remedies; None for a folder that is none.

    Dropping one of them and copying anew undoes it. Raises `UsageError` for a damaged list.
    """
    try:
        table = json.loads((folder / RECORD).read_text(encoding="ascii"))
        return Path(table["source"]), remedies.from_json(table["remedies"])
    except UsageError:
        raise
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _record(scan: DatasetScan, chosen: tuple[Remedy, ...], rows: list[dict[str, str]]) -> dict[str, Any]:
    return {"format": FORMAT, "source": str(scan.root), "remedies": remedies.to_json(chosen), "pictures": rows}


def _copy(image: ImageEntry, own: tuple[Remedy, ...], building: Path) -> dict[str, str]:
    relative = Path(image.relative)
    folder = building / relative.parent
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if own:
        path = _free(folder, relative, ".png")
        try:
            picture = remedies.render(image.path, own)
        except pictures.PictureError as error:
            raise pictures.PictureError(f"{image.relative}: {error}.") from error
        picture.info.clear()  # neither a profile, which no longer holds, nor comments
        picture.save(path, "PNG")
        path.chmod(0o600)
    else:
        path = _free(folder, relative, relative.suffix)
        try:
            with pictures.open_regular(image.path) as source, path.open("xb") as copy:
                os.fchmod(copy.fileno(), 0o600)
                shutil.copyfileobj(source, copy)
        except pictures.PictureError as error:
            raise pictures.PictureError(f"{image.relative}: {error}.") from error
    caption = _caption(image, own)
    if caption:
        _write(path.with_suffix(".txt"), caption.encode("utf-8") + b"\n")
    return {"picture": path.relative_to(building).as_posix(), "source": image.relative}


def _caption(image: ImageEntry, own: tuple[Remedy, ...]) -> str:
    caption = image.caption or ""
    flatten = next((r for r in own if r.kind == "flatten"), None)
    background = f"{flatten.background_name} background" if flatten else ""
    if not caption or not background or background in caption.lower():
        return caption
    return with_suffix(caption, background)


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


def _write(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
