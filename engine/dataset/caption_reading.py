"""Reads the caption files of a folder of images: their bytes, and the encoding that is likeliest for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from loratui.engine.dataset import captions, decoding, encodings
from loratui.engine.dataset.captions import Decoded
from loratui.engine.dataset.contents import ImageEntry

_UNSETTLED = "latin-1"
"""Takes any bytes: what is read as this is no UTF-8."""
_MOST_FOREIGN_BYTES = 1 << 24
"""Of captions that are no UTF-8; beyond it the encoding of each is told from itself."""
_NONE = Decoded("", "utf-8")


class Note(Protocol):
    """Keeps what a person should know of a file."""

    def __call__(self, key: str, path: Path, **figures: Any) -> None:
        """`key` is that of a finding, `figures` are for its sentences."""


class CaptionReader:
    """Reads captions; lives for one scan."""

    def __init__(self, note: Note) -> None:
        self._note = note
        self._foreign: dict[Path, bytes] = {}
        """Caption files that are no UTF-8."""
        self._read: dict[Path, Decoded] = {}
        """Caption files of images that have several."""

    def captioned(self, image: ImageEntry, main: Path, further: Sequence[Path]) -> ImageEntry:
        """`image` with what its caption files say: `main`, and one more caption in each of `further`."""
        first = self._decoded(main)
        if not further:
            return replace(image, caption=first.text or None, caption_path=main, caption_encoding=first.encoding)
        self._read |= {main: first, **{path: self._decoded(path) for path in further}}
        return self._composed(replace(image, caption_path=main, further=tuple(further), apart=True))

    def settled(self, images: Sequence[ImageEntry]) -> list[ImageEntry]:
        """The images with captions that are no UTF-8 read in the encoding that is likeliest for all of them, or else for each."""
        if not self._foreign:
            return list(images)
        together = encodings.likely(encodings.sampled(self._foreign.values()))
        for path, data in self._foreign.items():
            decoded = captions.decode(data, together[:1])
            self._read[path] = decoded if decoded.encoding == encodings.named(together[0]) else captions.decode(data)
        return [self._composed(image) if self._has_foreign(image) else image for image in images]

    def _has_foreign(self, image: ImageEntry) -> bool:
        return any(path in self._foreign for path in (image.caption_path, *image.further))

    def _composed(self, image: ImageEntry) -> ImageEntry:
        read = [self._read[path] for path in (image.caption_path, *image.further) if path is not None]
        texts = [captions.whole(one.text) if image.further else one.text for one in read]
        encoding = next((one.encoding for one in read if not one.encoding.startswith("utf-8")), read[0].encoding)
        return replace(image, caption="\n".join(filter(None, texts)) or None, caption_encoding=encoding)

    def _decoded(self, path: Path) -> Decoded:
        try:
            with decoding.open_regular(path) as file:
                data = file.read(captions.LONGEST_BYTES + 1)
        except (decoding.ImageError, OSError) as error:
            self._note("caption_unreadable", path, reason=str(error))
            return _NONE
        decoded = captions.decode(data, (_UNSETTLED,))
        if decoded.encoding == captions.NO_TEXT:
            self._note("caption_unreadable", path, reason="is not text")
            return _NONE
        if decoded.encoding == _UNSETTLED:
            if sum(map(len, self._foreign.values())) < _MOST_FOREIGN_BYTES:
                self._foreign[path] = data  # what it is is told from all of them together, when all were read
            else:
                decoded = captions.decode(data)
        if not decoded.text:
            self._note("caption_empty", path)
        if decoded.cut:
            self._note("caption_too_long", path, kib=captions.LONGEST_BYTES // 1024)
        return decoded
