"""Reads a folder of training pictures from file headers alone: pictures, captions, concepts, and what is left out."""

from __future__ import annotations

import dataclasses
import re
import stat
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from loratui.engine.dataset import captions, pictures
from loratui.engine.errors import DatasetError, UsageError

CAPTION_SUFFIXES = (".txt", ".caption")
"""Endings of caption files; where a picture has both, the first counts."""

_CONCEPT = re.compile(r"(\d{1,3})_(.+)")
_REGULARISATION = re.compile(r"reg(?:[ _-].*)?|regulari[sz]ation(?:[ _-].*)?|class_images", re.IGNORECASE)
_IGNORED = re.compile(r"\..*|__MACOSX|Thumbs\.db|desktop\.ini", re.IGNORECASE)


@dataclass(frozen=True)
class ImageEntry:
    """One picture to train on."""

    path: Path
    relative: str
    """Path within the folder, with `/`."""
    width: int
    """px, after rotation by EXIF; so is `height`."""
    height: int
    format: str
    caption: str | None
    """Text of its caption file; None where there is none or it is empty."""
    caption_path: Path | None
    concept: str
    """Words behind the number of its `N_token class` folder; empty in a plain folder."""
    folder_repeats: int | None
    """The N of its folder's name."""
    regularisation: bool
    bytes: int
    traits: pictures.Traits = pictures.Traits()


@dataclass(frozen=True)
class LeftOut:
    """A file or folder that is not trained on, and why: `reason` continues its name to a sentence."""

    path: Path
    relative: str
    reason: str
    picture: bool
    """Whether it looked like a picture, so that its loss matters."""


@dataclass(frozen=True)
class Concept:
    """One subject of the set: the pictures of a folder, or all of a plain folder."""

    name: str
    folder: str
    images: int
    folder_repeats: int | None
    regularisation: bool


@dataclass(frozen=True)
class Note:
    """Something in the folder that a person should know; `files` are relative paths."""

    id: str
    message: str
    files: tuple[str, ...] = ()


@dataclass(frozen=True)
class DatasetScan:
    """What a folder holds."""

    root: Path
    images: tuple[ImageEntry, ...]
    """In the order of their relative paths, regularisation pictures among them."""
    left_out: tuple[LeftOut, ...]
    concepts: tuple[Concept, ...]
    notes: tuple[Note, ...]

    @property
    def training(self) -> tuple[ImageEntry, ...]:
        """The pictures of the subject, without regularisation."""
        return tuple(image for image in self.images if not image.regularisation)

    @property
    def regularisation(self) -> tuple[ImageEntry, ...]:
        """The pictures that only remind the base of the class."""
        return tuple(image for image in self.images if image.regularisation)


def scan(path: Path) -> DatasetScan:
    """The pictures in `path`: a plain folder, an `N_token class` folder, or a folder of such folders and `reg` folders.

    Raises `DatasetError` for a folder that is missing, unreadable or without a single picture, `UsageError` for a file.
    """
    result, unread = _read(path)
    if not result.training:
        raise _nothing_found(path, result, unread)
    return result


def read_folder(path: Path) -> DatasetScan:
    """As `scan`, but a folder without a picture is a scan without pictures.

    Raises `DatasetError` for a folder that is missing or unreadable.
    """
    return _read(path)[0]


def _read(path: Path) -> tuple[DatasetScan, list[str]]:
    """The scan, and child folders with pictures that were not read."""
    reader = _Reader(_resolved(path))
    reader.read_root()
    return reader.result(), reader.unread


def verify(found: DatasetScan, budget_s: float = 10.0) -> DatasetScan:
    """`found` with its pictures decoded once, coarsely; the damaged ones are moved to `left_out`.

    Stops after `budget_s` seconds and notes how many pictures were not decoded.
    Raises `DatasetError` if no picture is left.
    """
    end = time.monotonic() + budget_s
    damaged: dict[str, str] = {}
    unchecked = 0
    for image in found.images:
        if time.monotonic() > end:
            unchecked += 1
            continue
        try:
            pictures.check_decodes(image.path)
        except pictures.PictureError as error:
            damaged[image.relative] = str(error)
    result = without(found, damaged)
    if unchecked:
        note = Note("not_decoded", f"{unchecked} of {len(found.images)} pictures were checked by their header only")
        result = dataclasses.replace(result, notes=(*result.notes, note))
    if not result.training:
        raise _nothing_found(found.root, result, ())
    return result


def without(found: DatasetScan, reasons: dict[str, str]) -> DatasetScan:
    """`found` with the pictures at these relative paths left out, each with its reason."""
    if not reasons:
        return found
    gone = tuple(
        LeftOut(image.path, image.relative, reasons[image.relative], picture=True)
        for image in found.images
        if image.relative in reasons
    )
    kept = tuple(image for image in found.images if image.relative not in reasons)
    left_out = tuple(sorted((*found.left_out, *gone), key=lambda item: item.relative))
    return dataclasses.replace(found, images=kept, left_out=left_out, concepts=concepts_of(kept))


@dataclass(frozen=True)
class _Folder:
    """A folder whose pictures are read, and what they have in common."""

    path: Path
    concept: str
    repeats: int | None
    regularisation: bool


class _Reader:
    """Collects the parts of a scan; lives for one scan."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.images: list[ImageEntry] = []
        self.left_out: list[LeftOut] = []
        self.notes: list[Note] = []
        self.unread: list[str] = []
        """Child folders with pictures that were not read."""

    def read_root(self) -> None:
        """Reads the root and, one level down, its concept and regularisation folders."""
        match = _CONCEPT.fullmatch(self.root.name)
        named = match is not None and int(match[1]) > 0
        own = _Folder(self.root, match[2] if match and named else "", int(match[1]) if match and named else None, False)
        children = self._read_folder(own)
        for child in children:
            relative = self._relative(child)
            concept = _CONCEPT.fullmatch(child.name)
            if _REGULARISATION.fullmatch(child.name):
                self._read_regularisation(child)
            elif concept and int(concept[1]) > 0:
                deeper = self._read_folder(_Folder(child, concept[2], int(concept[1]), False))
                self._skip(deeper)
            elif self._has_pictures(child):
                self.unread.append(relative)
                self._leave_out(child, "is a folder without a number: rename it to N_token, N being its repeats", picture=True)

    def result(self) -> DatasetScan:
        """The scan, in a stable order."""
        images = tuple(sorted(self.images, key=lambda image: image.relative))
        left_out = tuple(sorted(self.left_out, key=lambda item: item.relative))
        return DatasetScan(self.root, images, left_out, concepts_of(images), (*self.notes, *_notes(images)))

    def _read_regularisation(self, folder: Path) -> None:
        for child in self._read_folder(_Folder(folder, "", None, True)):
            match = _CONCEPT.fullmatch(child.name)
            concept = _Folder(child, match[2] if match else child.name, int(match[1]) if match else None, True)
            self._skip(self._read_folder(concept))

    def _skip(self, folders: Iterable[Path]) -> None:
        for folder in folders:
            if self._has_pictures(folder):
                self._leave_out(folder, "is a folder too deep to be read", picture=True)

    def _read_folder(self, folder: _Folder) -> list[Path]:
        """Reads the files of one folder and returns its child folders."""
        try:
            entries = sorted(folder.path.iterdir())
        except OSError as error:
            if folder.path == self.root:
                raise DatasetError(
                    f"{self.root}: the folder cannot be read: {error.strerror}.", "Check who may read it (ls -ld)."
                ) from error
            self._leave_out(folder.path, f"cannot be read: {error.strerror}", picture=True)
            return []
        children: list[Path] = []
        files: list[Path] = []
        for entry in entries:
            if _IGNORED.fullmatch(entry.name):
                continue
            kind = self._kind(entry)
            if kind == "folder":
                children.append(entry)
            elif kind == "file":
                files.append(entry)
            elif kind:
                self._leave_out(entry, kind, picture=entry.suffix.lower() in pictures.SUFFIXES)
        self._read_files(folder, files)
        return children

    def _kind(self, path: Path) -> str:
        """`file`, `folder`, or why neither."""
        try:
            state = path.lstat()
            if stat.S_ISLNK(state.st_mode):
                target = path.resolve(strict=True)
                if not target.is_relative_to(self.root):
                    return "is a link that leads out of the folder"
                if target.is_dir():
                    return "is a link to a folder"
                state = target.stat()
        except (OSError, RuntimeError):  # RuntimeError: a loop of links, before Python 3.13
            return "is a link that leads nowhere, or cannot be read"
        if stat.S_ISDIR(state.st_mode):
            return "folder"
        return "file" if stat.S_ISREG(state.st_mode) else "is a pipe, socket or device"

    def _read_files(self, folder: _Folder, files: Sequence[Path]) -> None:
        caption_files = {p.name: p for p in files if p.suffix.lower() in CAPTION_SUFFIXES}
        by_lower = {name.lower(): name for name in caption_files}
        used: set[str] = set()
        for path in files:
            suffix = path.suffix.lower()
            if path.name in caption_files:
                continue
            if not pictures.is_read(suffix):
                self._leave_out(path, pictures.why_not_read(suffix), picture=suffix in pictures.UNREAD)
                continue
            candidates = _caption_names(path, caption_files, by_lower)
            used.update(candidates)
            self._read_picture(folder, path, [caption_files[name] for name in candidates])
        for name in caption_files.keys() - used:
            self._leave_out(caption_files[name], "is a caption without its picture", picture=False)

    def _read_picture(self, folder: _Folder, path: Path, caption_files: Sequence[Path]) -> None:
        try:
            header = pictures.read_header(path)
            size = path.stat().st_size
        except pictures.PictureError as error:
            self._leave_out(path, str(error), picture=True)
            return
        except OSError as error:
            self._leave_out(path, f"cannot be read: {error.strerror}", picture=True)
            return
        caption = self._read_caption(caption_files[0]) if caption_files else None
        if len(caption_files) > 1:
            other = caption_files[1].name
            self._note("two_captions", f"has two caption files; {caption_files[0].name} counts, {other} does not", path)
        self.images.append(
            ImageEntry(
                path=path,
                relative=self._relative(path),
                width=header.width,
                height=header.height,
                format=header.format,
                caption=caption or None,
                caption_path=caption_files[0] if caption_files else None,
                concept=folder.concept,
                folder_repeats=folder.repeats,
                regularisation=folder.regularisation,
                bytes=size,
                traits=header.traits,
            )
        )

    def _read_caption(self, path: Path) -> str:
        try:
            with pictures.open_regular(path) as file:
                decoded = captions.decode(file.read(captions.LONGEST_BYTES + 1))
        except (pictures.PictureError, OSError) as error:
            self._note("caption_unreadable", f"cannot be used as a caption: {error}", path)
            return ""
        if not decoded.text:
            self._note("caption_empty", "is an empty caption", path)
        if decoded.encoding in ("cp1252", "utf-16"):
            self._note("caption_encoding", f"is not UTF-8 and was read as {decoded.encoding}", path)
        if decoded.cut:
            self._note("caption_too_long", f"is longer than {captions.LONGEST_BYTES // 1024} KiB and was cut", path)
        return decoded.text

    def _has_pictures(self, folder: Path) -> bool:
        try:
            return any(p.suffix.lower() in pictures.SUFFIXES for p in folder.iterdir())
        except OSError:
            return True

    def _leave_out(self, path: Path, reason: str, *, picture: bool) -> None:
        self.left_out.append(LeftOut(path, self._relative(path), reason, picture))

    def _note(self, id: str, message: str, path: Path) -> None:
        self.notes.append(Note(id, message, (self._relative(path),)))

    def _relative(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix() if path != self.root else "."


def _caption_names(picture: Path, caption_files: Mapping[str, Path], by_lower: Mapping[str, str]) -> list[str]:
    """Names of the caption files that belong to `picture`: `a.txt`, `a.caption`, also `a.jpg.txt`.

    `by_lower` finds names whose case differs.
    """
    found: list[str] = []
    for suffix in CAPTION_SUFFIXES:
        for stem in (picture.stem, picture.name):
            exact = stem + suffix
            name = exact if exact in caption_files else by_lower.get(exact.lower())
            if name and name not in found:
                found.append(name)
    return found


def concepts_of(images: Sequence[ImageEntry]) -> tuple[Concept, ...]:
    """The concepts of pictures: one for each folder, the subject's before regularisation."""
    groups: dict[tuple[bool, str, str], list[ImageEntry]] = {}
    for image in images:
        folder = image.relative.rpartition("/")[0]
        groups.setdefault((image.regularisation, folder, image.concept), []).append(image)
    return tuple(
        Concept(concept, folder, len(members), members[0].folder_repeats, regularisation)
        for (regularisation, folder, concept), members in sorted(groups.items())
    )


def _notes(images: Sequence[ImageEntry]) -> list[Note]:
    stems: dict[str, list[str]] = {}
    for image in images:
        stems.setdefault(image.relative.rpartition(".")[0], []).append(image.relative)
    return [
        Note("same_stem", "differ only in their ending and share a caption", tuple(names))
        for names in stems.values()
        if len(names) > 1
    ]


def _resolved(path: Path) -> Path:
    try:
        root = path.expanduser().resolve(strict=True)
    except (OSError, RuntimeError):
        raise DatasetError(f"{path}: there is no such folder.", "Check the path; a folder of pictures is meant.") from None
    if not root.is_dir():
        raise UsageError(f"{path}: this is a file, not a folder.", f"Give the folder that holds it: {path.parent}.")
    return root


def _nothing_found(path: Path, found: DatasetScan, unread: Sequence[str]) -> DatasetError:
    if unread:
        return DatasetError(
            f"{path}: there are no pictures in the folder itself.",
            f"Give the folder with the pictures: {path / unread[0]}.",
        )
    broken = [item for item in found.left_out if item.picture]
    if broken:
        first = broken[0]
        more = f" ({len(broken) - 1} more like it)" if len(broken) > 1 else ""
        return DatasetError(f"{path}: no picture can be used: {first.relative} {first.reason}{more}.", "Replace them.")
    if found.regularisation:
        return DatasetError(f"{path}: there are only regularisation pictures.", "Add pictures of the subject.")
    what = "the folder is empty" if not found.left_out else "there are no pictures in this folder"
    return DatasetError(f"{path}: {what}.", "Put JPEG, PNG or WebP pictures into it.")
