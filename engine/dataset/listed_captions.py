"""Gives the images of a folder the captions of the lists in it, and says where a list and a caption file differ."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from loratui.engine.dataset import caption_lists, file_kinds
from loratui.engine.dataset.caption_lists import CaptionList
from loratui.engine.dataset.caption_names import key, suffix
from loratui.engine.dataset.contents import ImageEntry, LeftOut
from loratui.engine.findings import Finding
from loratui.engine.untrusted import Unreadable

MOST_LISTS = 20
"""More lists are not read: a folder with so many JSON files has one for each image."""

NO_CAPTIONS = "holds no captions of images that are here"


class Listed:
    """The captions of lists for the images of one scan. What it came upon is in `left_out` and `notes`."""

    def __init__(self, root: Path, images: Sequence[ImageEntry]) -> None:
        self._root = root
        self._images = list(images)
        self._tails: dict[str, list[int]] = defaultdict(list)
        """The last parts of an image's path, with and without its ending -> images."""
        for at, image in enumerate(images):
            parts = key(image.relative).split("/")
            for first in range(len(parts)):
                tail = "/".join(parts[first:])
                self._tails[tail].append(at)
                self._tails[tail[: -len(suffix(tail)) or None]].append(at)
        self.left_out: list[LeftOut] = []
        self.notes: list[Finding] = []

    def applied(self, lists: Iterable[Path]) -> list[ImageEntry]:
        """The images with the captions of these files. A caption file counts before a list; of lists the first in the order
        of `file_kinds.LIST_SUFFIXES` and of their names."""
        order = sorted(lists, key=lambda path: (file_kinds.LIST_SUFFIXES.index(suffix(path.name)), str(path)))
        likely = sorted(order, key=lambda path: not caption_lists.says_list(path.name))[:MOST_LISTS]
        for path in order:
            self._take(path, read=path in likely)
        return self._images

    def _take(self, path: Path, *, read: bool) -> None:
        relative = path.relative_to(self._root).as_posix()
        reason = file_kinds.why_not_read(suffix(path.name))
        if read:
            try:
                found = caption_lists.read(path)
            except Unreadable as error:
                reason = f"cannot be read as a list of captions: it {error.strerror}"
                if caption_lists.says_list(path.name):
                    self.notes.append(Finding.of("caption_list_unreadable", (relative,), reason=str(error.strerror)))
            else:
                matched = {name: at for name in found.captions if (at := self._of(name, relative)) is not None}
                if matched:
                    self._give(found, relative, matched)
                    return
                if found.captions and caption_lists.says_list(path.name):
                    reason = NO_CAPTIONS
                    self._tell_gone(found, relative, matched)
        self.left_out.append(LeftOut(path, relative, reason, image=False))

    def _of(self, name: str, list_relative: str) -> int | None:
        """The image that a list means by a name: by all of it, or by as many of its last parts as there are here."""
        parts = [part for part in key(name).replace("\\", "/").split("/") if part not in ("", ".")]
        below = list_relative.rpartition("/")[0]
        for first in range(max(0, len(parts) - 8), len(parts)):
            found = [at for at in self._tails.get("/".join(parts[first:]), ()) if self._is_below(at, below)]
            if found:
                same = [at for at in found if key(self._images[at].relative) == "/".join([*filter(None, [below]), *parts])]
                return (same or found)[0] if len(found) == 1 or same else None
        return None

    def _is_below(self, at: int, folder: str) -> bool:
        return not folder or self._images[at].relative.startswith(f"{folder}/")

    def _give(self, found: CaptionList, relative: str, matched: Mapping[str, int]) -> None:
        used, other = [], []
        for name, at in matched.items():
            image, texts = self._images[at], found.captions[name]
            if not image.caption:
                self._images[at] = replace(image, caption="\n".join(texts), apart=len(texts) > 1, caption_list=relative)
                used.append(image.relative)
            elif image.caption != "\n".join(texts):
                other.append(image.relative)
        if used:
            code = "caption_list.columns" if found.unused else "caption_list"
            self.notes.append(Finding.of(code, sorted(used), list=relative, unused=list(found.unused)))
        if other:
            self.notes.append(Finding.of("caption_list_differs", sorted(other), list=relative))
        if not used and not other:
            self.left_out.append(LeftOut(self._root / relative, relative, "says what the caption files say", image=False))
        self._tell_gone(found, relative, matched)

    def _tell_gone(self, found: CaptionList, relative: str, matched: Mapping[str, int]) -> None:
        gone = [name for name in found.captions if name not in matched]
        if gone:
            shown = PurePosixPath(gone[0].replace("\\", "/")).name
            self.notes.append(Finding.of("caption_list_gone", (relative,), names=len(gone), example=shown[:60]))
