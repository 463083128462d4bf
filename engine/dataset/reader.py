"""Walks a folder of training images: which files are images, captions, concepts and regularisation, and which are not."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loratui.engine.dataset import decoding, file_kinds, mask_files
from loratui.engine.dataset.caption_names import CaptionFiles
from loratui.engine.dataset.caption_names import suffix as _suffix
from loratui.engine.dataset.caption_reading import CaptionReader
from loratui.engine.dataset.contents import DatasetScan, ImageEntry, LeftOut, concepts_of
from loratui.engine.dataset.display import DISPLAY
from loratui.engine.dataset.file_kinds import CAPTION_SUFFIXES
from loratui.engine.dataset.listed_captions import Listed
from loratui.engine.errors import DatasetError
from loratui.engine.findings import Finding

DEEPEST = 3
"""Folders between the root and a concept's folder, as in `project/dataset/img/10_anafox woman`."""
MOST_FOLDERS = 2000
"""More are not looked into: somebody gave a whole disk."""

_HUB_FILES = "blobs"
"""Where the hub's cache keeps the files that the links of a snapshot lead to, by their hash and without an ending."""

ORPHAN = "is a caption without its image"
RESULTS = "holds what a trainer wrote, by its name: give it by itself if its images are meant"
UNNUMBERED = "is a folder without a number: rename it to N_token, N being its repeats"

_TEXTS = (CAPTION_SUFFIXES, file_kinds.LIST_SUFFIXES)

_CONCEPT = re.compile(r"([1-9]\d{0,2}|0+[1-9]\d{0,1})_(.+)")
_REGULARISATION = re.compile(
    r"(?:regs?|regulari[sz]ation)(?:[ _-].*)?|(?:class|prior)[ _-]?(?:pictures?|images?|photos?)", re.IGNORECASE
)


@dataclass(frozen=True)
class _Folder:
    path: Path
    concept: str
    repeats: int | None
    regularisation: bool


class FolderReader:
    """Collects the parts of a scan; lives for one scan."""

    def __init__(self, root: Path, *, alone: bool = False) -> None:
        """With `alone`, no folder below `root` is looked into."""
        self.root = root
        self._alone = alone
        self._prefix = len(str(root)) + (str(root) != os.sep)
        """Characters of a path before its part within the root."""
        self._images: list[ImageEntry] = []
        self._left_out: list[LeftOut] = []
        self._notes: dict[tuple[str, tuple[tuple[str, Any], ...]], dict[str, None]] = {}
        """Key and figures of a finding -> the files that it names."""
        self._unnumbered: list[Path] = []
        """Folders below the root with images, but neither a number nor a name that says what they are."""
        self._folders = 0
        self._linked_folders: dict[tuple[int, int], str] = {}
        """Device and inode of folders outside the root -> the link by which they are read."""
        self._captions = CaptionReader(self._note)
        self._lists: list[Path] = []
        """Files that may be lists of captions."""

    def read(self) -> DatasetScan:
        """What the root holds.

        The root's own images, and below it every `N_token class` and regularisation folder. Only where that gives no
        image of a subject, folders without a number are read too. Raises `DatasetError` if the root cannot be read.
        """
        children = self._read_folder(_named(self.root, regularisation=False))
        for child in () if self._alone else children:
            self._look_into(child, DEEPEST)
        subject = any(not image.regularisation for image in self._images)
        wanted = [path for path in self._unnumbered if not subject and not self._holds_results(path)]
        for path in self._unnumbered:
            if path in wanted:
                concept = path.name if len(wanted) > 1 else ""
                self._read_folder(_Folder(path, concept, None, False))
            elif self._holds_results(path):
                self._leave_out(path, RESULTS, image=False)
            else:
                self._leave_out(path, UNNUMBERED, image=True)
        if len(wanted) > 1:
            names = tuple(map(self._relative, wanted))
            self._notes["unnumbered", ()] = dict.fromkeys(names)
        listed = Listed(self.root, self._captions.settled(self._images))
        captioned = listed.applied(self._lists)
        masked = mask_files.with_masks(captioned, self.root, lambda path: decoding.read_header(path, DISPLAY.header))
        images = tuple(sorted(masked, key=lambda image: image.relative))
        left_out = tuple(sorted((*self._left_out, *listed.left_out), key=lambda item: item.relative))
        self._notes["same_stem", ()] = dict.fromkeys(_same_stems(images))
        notes = tuple(Finding.of(key, files, **dict(figures)) for (key, figures), files in self._notes.items() if files)
        return DatasetScan(self.root, images, left_out, concepts_of(images), (*notes, *listed.notes))

    def _look_into(self, folder: Path, depth: int) -> None:
        """Reads a folder below the root if its name says what it is; else looks for such folders in it."""
        if mask_files.is_folder(folder.name):
            self._leave_out(folder, file_kinds.MASKS, image=False)
        elif _REGULARISATION.fullmatch(folder.name):
            for child in self._read_folder(_Folder(folder, "", None, True)):
                self._skip(self._read_folder(_named(child, regularisation=True)))
        elif _CONCEPT.fullmatch(folder.name):
            self._skip(self._read_folder(_named(folder, regularisation=False)))
        elif self._counted(folder):
            entries = self._entries(folder)
            if any(_is_image(entry.name) for entry in entries):
                self._unnumbered.append(folder)
            children = [Path(entry.path) for entry in entries if entry.is_dir() and self._kind(entry) == "folder"]
            seen = [child for child in children if not file_kinds.why_passed_over(child.name)]
            if depth > 1:
                for child in seen:
                    self._look_into(child, depth - 1)
            else:
                self._skip(seen)

    def _counted(self, folder: Path) -> bool:
        self._folders += 1
        if self._folders == MOST_FOLDERS + 1:
            self._leave_out(folder, f"and what follows was not looked into: there are over {MOST_FOLDERS} folders", image=True)
        return self._folders <= MOST_FOLDERS

    def _skip(self, folders: Sequence[Path]) -> None:
        for folder in folders:
            if mask_files.is_folder(folder.name):
                self._leave_out(folder, file_kinds.MASKS, image=False)
            elif any(_is_image(entry.name) for entry in self._entries(folder)):
                self._leave_out(folder, "is a folder too deep to be read", image=True)

    def _entries(self, folder: Path) -> list[os.DirEntry[str]]:
        """What lies in a folder, by name; nothing, and said so, where that cannot be read."""
        try:
            with os.scandir(folder) as found:
                return sorted(found, key=lambda entry: entry.name)
        except OSError as error:
            if folder == self.root:
                raise DatasetError(
                    f"{self.root}: the folder cannot be read: {error.strerror}.", "Check who may read it (ls -ld)."
                ) from error
            self._leave_out(folder, f"cannot be read: {error.strerror}", image=True)
            return []

    def _read_folder(self, folder: _Folder) -> list[Path]:
        children: list[Path] = []
        files: list[str] = []
        for entry in self._entries(folder.path):
            name = entry.name
            passed_over = file_kinds.why_passed_over(name)
            if passed_over:
                if not file_kinds.is_own(name):
                    self._leave_out(Path(entry.path), passed_over, image=False)
                continue
            kind = self._kind(entry)
            if kind == "file":
                files.append(name)
            elif kind != "folder":
                self._leave_out(Path(entry.path), kind, image=_is_image(name) or _is_concept(name))
            elif _suffix(name) in file_kinds.SUFFIXES or _suffix(name) in CAPTION_SUFFIXES:
                self._leave_out(Path(entry.path), "is a folder, in spite of its name", image=True)
            else:
                children.append(Path(entry.path))
        self._read_files(folder, files)
        return children

    def _kind(self, entry: os.DirEntry[str]) -> str:
        """`file`, `folder`, or why neither."""
        if entry.is_symlink():
            return self._linked(entry.path)
        if entry.is_dir(follow_symlinks=False):
            return "folder"
        return "file" if entry.is_file(follow_symlinks=False) else "is a pipe, socket or device"

    def _linked(self, path: str) -> str:
        """What a link of the person's own leads to: `file`, `folder`, or why it is not followed.

        Hub snapshots are links, and so are selections made with `ln -s`. A folder is read once, whatever leads to it.
        """
        try:
            target = Path(path).resolve(strict=True)
            state = target.stat()
        except (OSError, RuntimeError):  # RuntimeError: a loop of links, before Python 3.13
            return "is a link that leads nowhere, or in a circle"
        if stat.S_ISREG(state.st_mode):
            # Images are known by their content. Any file can be read as a text, and what is in it would be trained.
            text = any(_suffix(path) in kind and _suffix(target.name) not in kind for kind in _TEXTS)
            return "is a link to a file that is no caption" if text and target.parent.name != _HUB_FILES else "file"
        if not stat.S_ISDIR(state.st_mode):
            return "is a link to a pipe, socket or device"
        if target == self.root or target in self.root.parents:
            return "is a link to a folder that it lies in"
        if target.is_relative_to(self.root):
            return "is a link to a folder that is read under its own name"
        first = self._linked_folders.setdefault((state.st_dev, state.st_ino), path)
        return "folder" if first == path else f"is a link to the same folder as {self._relative(Path(first))}"

    def _read_files(self, folder: _Folder, names: Sequence[str]) -> None:
        caption_files = CaptionFiles(names)
        stems = {stem for name in names if _is_image(name) for stem in (name, name[: -len(_suffix(name))])}
        used: set[str] = set()
        masks = mask_files.beside([name for name in names if name not in caption_files.names])
        for name in names:
            if name in caption_files.names:
                continue
            if name in masks:
                self._leave_out(folder.path / name, file_kinds.MASK, image=False)
                continue
            path, suffix = folder.path / name, _suffix(name)
            if suffix in file_kinds.LIST_SUFFIXES:
                if name[: -len(suffix)] in stems:
                    self._leave_out(path, file_kinds.OF_ONE, image=False)
                else:
                    self._lists.append(path)
                continue
            candidates = caption_files.of(name)
            further = caption_files.further(candidates[0]) if candidates else []
            if decoding.is_read(suffix):
                self._read_image(folder, path, candidates, further)
            else:
                self._leave_out(path, file_kinds.why_not_read(suffix), image=suffix in file_kinds.UNREAD)
                if suffix not in file_kinds.UNREAD:
                    continue
            used.update(candidates, further)
        for name in caption_files.names - used:
            reason = file_kinds.PROMPTS if file_kinds.is_no_caption(name) else ORPHAN
            self._leave_out(folder.path / name, reason, image=False)

    def _read_image(self, folder: _Folder, path: Path, caption_names: Sequence[str], further: Sequence[str]) -> None:
        try:
            header = decoding.read_header(path, DISPLAY.header)
        except decoding.ImageError as error:
            self._leave_out(path, str(error), image=True)
            return
        except OSError as error:
            self._leave_out(path, f"cannot be read: {error.strerror}", image=True)
            return
        except Exception as error:  # whatever one image does, the others are read
            self._leave_out(path, f"cannot be read as an image: {type(error).__name__}", image=True)
            return
        if len(caption_names) > 1:
            counts, other = (name.removeprefix(path.stem) for name in caption_names[:2])
            self._note("two_captions", path, counts=counts, other=other)
        image = ImageEntry(
            path=path,
            relative=self._relative(path),
            width=header.width,
            height=header.height,
            format=header.format,
            caption=None,
            caption_path=None,
            concept=folder.concept,
            folder_repeats=folder.repeats,
            regularisation=folder.regularisation,
            bytes=header.bytes,
            traits=header.traits,
        )
        if caption_names:
            files = [folder.path / name for name in (caption_names[0], *further)]
            image = self._captions.captioned(image, files[0], files[1:])
        self._images.append(image)

    def _leave_out(self, path: Path, reason: str, *, image: bool) -> None:
        self._left_out.append(LeftOut(path, self._relative(path), reason, image))

    def _note(self, key: str, path: Path, **figures: Any) -> None:
        self._notes.setdefault((key, tuple(figures.items())), {})[self._relative(path)] = None

    def _relative(self, path: Path) -> str:
        return str(path)[self._prefix :] or "."

    def _holds_results(self, folder: Path) -> bool:
        return any(file_kinds.holds_results(part) for part in folder.relative_to(self.root).parts)


def _named(folder: Path, *, regularisation: bool) -> _Folder:
    """A folder with the number and the words of its name, `N_token class`; both are missing from any other name.

    Below a regularisation folder any name says what its images show.
    """
    match = _CONCEPT.fullmatch(folder.name)
    if match:
        return _Folder(folder, match[2], int(match[1]), regularisation)
    return _Folder(folder, folder.name if regularisation else "", None, regularisation)


def _is_image(name: str) -> bool:
    suffix = _suffix(name)
    return (suffix in file_kinds.SUFFIXES or suffix in file_kinds.UNREAD) and not file_kinds.why_passed_over(name)


def _is_concept(name: str) -> bool:
    named = _CONCEPT.fullmatch(name) or _REGULARISATION.fullmatch(name)
    return named is not None and _suffix(name) not in CAPTION_SUFFIXES


def _same_stems(images: Sequence[ImageEntry]) -> Iterator[str]:
    sharing: dict[Path, list[str]] = {}
    for image in images:
        if image.caption_path:
            sharing.setdefault(image.caption_path, []).append(image.relative)
    return (name for group in sharing.values() if len(group) > 1 for name in group)
