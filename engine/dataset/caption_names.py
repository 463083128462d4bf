"""Which caption files belong to an image: `a.txt`, and further captions in `a.2.txt`, `a.3.txt` …"""

from __future__ import annotations

import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from loratui.engine.dataset.file_kinds import CAPTION_SUFFIXES

_NUMBERED = re.compile(r"(.+)\.([1-9]\d{0,2})", re.DOTALL)


class CaptionFiles:
    """The caption files of one folder."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = frozenset(name for name in names if suffix(name) in CAPTION_SUFFIXES)
        self._by_key = {key(name): name for name in self.names}
        stems = {key(_bare(name)) for name in names if name not in self.names}
        self._further: dict[str, list[tuple[int, str]]] = defaultdict(list)
        for name in self.names:
            found = _NUMBERED.fullmatch(_bare(name))
            # `a.2.txt` is the caption of `a.2.png` where there is one.
            if found and int(found[2]) > 1 and key(_bare(name)) not in stems:
                self._further[key(found[1] + suffix(name))].append((int(found[2]), name))

    def of(self, image: str) -> list[str]:
        """Names of the caption files of `image`, the one that counts first: `a.txt`, `a.caption`, also `a.jpg.txt`.

        Names that differ only in case, or in how an accent is written, are found too.
        """
        found: list[str] = []
        for ending in CAPTION_SUFFIXES:
            for stem in (_bare(image), image):
                name = stem + ending if stem + ending in self.names else self._by_key.get(key(stem + ending))
                if name and name not in found:
                    found.append(name)
        return found

    def further(self, name: str) -> list[str]:
        """Names of the files with further captions beside the caption file `name`, in the order of their numbers."""
        return [name for _, name in sorted(self._further.get(key(name), ()))]


def numbered(main: Path, count: int, taken: Callable[[Path], bool]) -> list[Path]:
    """Files for `count` captions of one image: `main`, then those with a number that is not `taken` by another image."""
    found, number = [main], 1
    while len(found) < count:
        number += 1
        path = main.with_name(f"{main.stem}.{number}{main.suffix}")
        if not taken(path):
            found.append(path)
    return found


def spread(main: Path, caption: str, taken: Callable[[Path], bool], *, apart: bool) -> dict[Path, str]:
    """What each caption file of an image holds: all lines in `main`, or `apart`, a line in each file."""
    lines = caption.split("\n") if apart else [caption]
    return dict(zip(numbered(main, len(lines), taken), lines, strict=True))


def taken_by(images: Iterable[Path]) -> Callable[[Path], bool]:
    """Whether a caption file would belong to one of these images by its own name."""
    stems = {(path.parent, key(path.stem)) for path in images}
    return lambda path: (path.parent, key(path.stem)) in stems


def suffix(name: str) -> str:
    """The ending of a name in lower case, with its point."""
    return os.path.splitext(name)[1].lower()  # noqa: PTH122 - ten thousand names, and a path takes ten times as long


def key(name: str) -> str:
    """What two spellings of a name have in common: macOS takes accents apart, other systems do not."""
    return (name if name.isascii() else unicodedata.normalize("NFC", name)).lower()


def _bare(name: str) -> str:
    return name[: -len(suffix(name)) or None]
