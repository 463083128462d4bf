"""A zip of images in place of a folder: unpacked into a folder of its own, never outside it, never beyond its limits."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from loratui.engine import durable, words
from loratui.engine.cleaning import clean
from loratui.engine.dataset import caption_lists, decoding, file_kinds
from loratui.engine.dataset.file_kinds import CAPTION_SUFFIXES, LIST_SUFFIXES
from loratui.engine.disk_errors import disk_error
from loratui.engine.errors import DatasetError, UsageError
from loratui.engine.findings import Finding
from loratui.engine.limits import CHUNK_BYTES, FOLDER_FILES, IMAGE_FILE_BYTES, LIST_FILE_BYTES, NAME_BYTES
from loratui.engine.untrusted import leads_out, read_json
from loratui.engine.words import count, number

FREE_ENTRIES = 1000
LEAST_ENTRY_BYTES = 500
"""Bytes of the zip for each entry beyond those: an image has more, and each file that is made takes its time."""
MOST_BYTES = 20_000_000_000
"""Unpacked, in all."""
MOST_CAPTION_BYTES = 1_000_000
MOST_EXPANSION = 100
"""Unpacked bytes for each packed one, beyond the first `FREE_BYTES`: images hardly shrink, bombs shrink a thousandfold."""
FREE_BYTES = 10_000_000
NAMELESS = "(an entry without a name)"
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""What every packer writes unless it is told otherwise; bzip2 and LZMA take far longer to unpack."""
_OTHER_METHODS = {9: "Deflate64", 12: "bzip2", 14: "LZMA", 93: "Zstandard", 95: "xz", 98: "PPMd"}
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f]|^[A-Za-z]:")


RECORD = ".loratui-unpacked.json"
"""Beside the unpacked images: what of the zip was left out; hidden, so that a scan passes over it."""


def findings(left_out: Iterable[tuple[str, str]], *, of_a_zip: bool = True) -> Iterator[Finding]:
    """What of a zip was not unpacked, or of a list of folders not taken: a warning for each reason for which it may be missed, one
    note for all else."""
    others: list[str] = []
    missed: dict[str, list[str]] = {}
    for name, reason in left_out:
        if file_kinds.is_missed(reason):
            missed.setdefault(reason, []).append(name)
        else:
            others.append(name)
    for reason, names in missed.items():
        yield Finding.of("zip_left_out" if of_a_zip else "gathered_left_out", names, reason=reason)
    if others:
        yield Finding.of("zip_ignored" if of_a_zip else "gathered_ignored", others)


def is_archive(path: Path) -> bool:
    """Whether `path` is a zip file, by its name and its content."""
    # os.path: no error for a name that cannot be.
    return path.suffix.lower() == ".zip" and os.path.isfile(path) and zipfile.is_zipfile(path)  # noqa: PTH113 - pathlib raises for a name that is too long


def unpack(archive: Path, target: Path) -> Path:
    """Unpacks images and captions into the new folder `target`; all else is left out with a reason, see `left_out_of`.

    Returns the folder with the images: the only folder in the zip if there is but one. Nothing is there unless everything was unpacked. Names that lead out, links, encrypted entries and entries beyond the
    limits are left out; sizes are counted as they are written, whatever the zip says of them. Raises `DatasetError` for a
    zip that is damaged, or so large that no set of images is meant, and `DiskError` if the disk is full.
    """
    durable.make_directory(target.parent)
    try:
        with durable.building(target) as building:
            left_out = _unpack(archive, building)
            if left_out:
                durable.write_json(_inner(building) / RECORD, left_out, durable=False)
    except OSError as error:
        raise disk_error(error, target) from error
    return _inner(target)


def unpack_once(archive: Path, place: Path) -> Path:
    """The folder of the zip's images below `place`; unpacked only if this content was not unpacked there before.

    Raises as `unpack`.
    """
    try:
        with decoding.open_regular(archive) as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()[:12]
    except (decoding.ImageError, OSError) as error:
        raise DatasetError(f"{archive}: {error}.", "Check who may read it (ls -l).") from error
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", archive.stem)[:40].strip(".-")
    # The name begins with a word, so that a number in front of the zip's own name is not taken for repeats.
    target = place / f"unpacked-{stem or 'images'}-{digest}"
    return _inner(target) if target.is_dir() else unpack(archive, target)


def left_out_of(folder: Path) -> tuple[tuple[str, str], ...]:
    """(name in the zip, reason) of what was not unpacked into `folder`; nothing for a folder that came from no zip."""
    try:
        return tuple((str(name), str(reason)) for name, reason in read_json(folder / RECORD, LIST_FILE_BYTES))
    except (OSError, ValueError, TypeError):
        return ()


def _unpack(archive: Path, building: Path) -> list[tuple[str, str]]:
    left_out: list[tuple[str, str]] = []
    size = archive.stat().st_size
    budget = min(MOST_BYTES, FREE_BYTES + MOST_EXPANSION * size)
    with _opened(archive) as packed:
        entries = packed.infolist()
        most = min(FOLDER_FILES, max(FREE_ENTRIES, size // LEAST_ENTRY_BYTES))
        if len(entries) > most:
            raise DatasetError(
                f"{archive}: holds {count(len(entries), 'file')}, more than {number(most)} in a zip of {words.size(size)}.",
                "Unpack it yourself and give the folder.",
            )
        if sum(entry.compress_size for entry in entries) > size:
            raise DatasetError(f"{archive}: its files overlap, as in a zip bomb.", "Pack it again.")
        for entry in entries:
            if entry.filename.endswith("/"):
                continue
            reason = _refusal(entry)
            if not reason:
                written, reason = _write(packed, entry, building, budget)
                budget -= written
            if reason:
                left_out.append((clean(entry.filename) or NAMELESS, reason))
    return left_out


@contextmanager
def _opened(archive: Path) -> Iterator[zipfile.ZipFile]:
    try:
        packed = zipfile.ZipFile(archive)
    except Exception as error:  # directories of hostile zips make it stumble over almost anything
        raise DatasetError(f"{archive}: this zip is damaged: {clean(error, 200)}.", "Pack or copy it again.") from error
    with packed:
        yield packed


def _refusal(entry: zipfile.ZipInfo) -> str:
    """Why an entry is not unpacked, from its header alone; empty if it may be."""
    name = entry.filename.replace("\\", "/")
    path = _place(entry)
    suffix = path.suffix.lower()
    mode = entry.external_attr >> 16
    if not name:
        return "has no name"
    if leads_out(path.as_posix()) or _UNSAFE.search(name) or not path.name:
        return "has a name that leads out of the folder, or control characters in it"
    if any(len(os.fsencode(part)) > NAME_BYTES for part in path.parts) or len(path.parts) > 8:
        return "has too long a name or lies too deep"
    passed_over = next(filter(None, map(file_kinds.why_passed_over, path.parts)), "")
    if passed_over:
        return passed_over
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        return "is a link or no plain file"
    if entry.flag_bits & 0x1:
        return "is encrypted"
    if entry.compress_type not in _METHODS:
        return f"is packed with {_OTHER_METHODS.get(entry.compress_type, 'a rare method')}, which is not read"
    if suffix not in (*CAPTION_SUFFIXES, *LIST_SUFFIXES) and not decoding.is_read(suffix):
        return file_kinds.why_not_read(suffix)
    if entry.file_size > _limit(suffix):
        return f"is larger than {words.size(_limit(suffix))}"
    return ""


def _place(entry: zipfile.ZipInfo) -> PurePosixPath:
    """Where an entry is unpacked, without what the eye does not see: such a name would be shown wrong ever after."""
    return PurePosixPath(*map(clean, PurePosixPath(entry.filename.replace("\\", "/")).parts))


def _limit(suffix: str) -> int:
    if suffix in LIST_SUFFIXES:
        return caption_lists.MOST_BYTES
    return MOST_CAPTION_BYTES if suffix in CAPTION_SUFFIXES else IMAGE_FILE_BYTES


def _write(packed: zipfile.ZipFile, entry: zipfile.ZipInfo, building: Path, budget: int) -> tuple[int, str]:
    """Bytes written, and why the entry was not kept; empty if it was."""
    path = building / _place(entry)
    limit = min(budget, _limit(path.suffix.lower()))
    written = 0
    try:
        durable.make_directory(path.parent)
        file = durable.new_file(path)
    except (FileExistsError, UsageError):  # the latter where a file stands in a folder's place
        return 0, "is in the zip twice"
    try:
        with file:
            for chunk in _chunks(packed, entry, limit + 1):
                written += len(chunk)
                if written <= limit:
                    file.write(chunk)
    except _DamagedEntryError as error:
        path.unlink()
        return written, f"is damaged: {error}"
    if written > limit:
        path.unlink()
        if limit == budget:
            raise DatasetError(
                f"{packed.filename}: grows beyond {MOST_EXPANSION} times its size when it is unpacked, at {clean(entry.filename, 200)}.",
                "Unpack it yourself, if you trust it, and give the folder.",
            )
        return written, f"is larger than {words.size(limit)}"
    return written, ""


def _chunks(packed: zipfile.ZipFile, entry: zipfile.ZipInfo, most: int) -> Iterator[bytes]:
    """The content of an entry, `most` bytes of it. Raises `_DamagedEntryError` for all that reading it stumbles over."""
    try:
        with packed.open(entry) as source:
            while most and (chunk := source.read(min(CHUNK_BYTES, most))):
                most -= len(chunk)
                yield chunk
    except Exception as error:  # unpackers have error classes of their own, and a place may lie before the file
        raise _DamagedEntryError(error) from error


class _DamagedEntryError(Exception):
    """An entry that cannot be unpacked."""


def _inner(folder: Path) -> Path:
    """The folder that really holds the images, where the zip has one folder around them."""
    for _ in range(3):
        entries = [entry for entry in folder.iterdir() if entry.name != RECORD]
        if len(entries) != 1 or not entries[0].is_dir():
            break
        folder = entries[0]
    return folder
