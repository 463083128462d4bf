"""Reads images for the measures: each once, where its reading is kept."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loratui.engine.dataset import decoding
from loratui.engine.dataset.similar import NEAR_BITS, alike
from loratui.engine.proof import hashes, pixels
from loratui.engine.proof.pixels import Pixels, read_pixels, thumbnail
from loratui.engine.proof.protocol import (
    AttributeReader,
    EmbeddingError,
    FaceError,
    FaceReader,
    Faces,
    ImageReader,
    Part,
    Photo,
)
from loratui.engine.proof.readings import Readings

if TYPE_CHECKING:
    from PIL.Image import Image

    from loratui.engine.dataset.ledger import LedgerEntry


MOST_PHOTOS = 500
"""Of a larger dataset so many photos are looked at, evenly spread."""


def trained_on(entries: Sequence[LedgerEntry]) -> list[LedgerEntry]:
    """The photos of the person or thing: what is shown in training, without images of the class."""
    return [entry for entry in entries if entry.repeats and not entry.regularisation]


def looked_at(entries: Sequence[LedgerEntry]) -> list[LedgerEntry]:
    """Of many photos some, evenly spread."""
    if len(entries) <= MOST_PHOTOS:
        return list(entries)
    return [entries[at * len(entries) // MOST_PHOTOS] for at in range(MOST_PHOTOS)]


def read_image(
    path: Path | None, kept: Readings, reader: FaceReader | None, *others: ImageReader | None
) -> tuple[Pixels | None, Faces | None, list[tuple[float, ...]]]:
    """Pixels and faces of an image, and what each other reader says of it; None or empty for what cannot be read."""
    digest = "" if path is None else _digest(path)
    opened = _Opened(path if digest else None)
    vectors = [_embedding(digest, opened, kept, other) for other in others]
    return _pixels(digest, opened, kept), _faces(digest, opened, kept, reader), vectors


def read_attributes(path: Path | None, kept: Readings, reader: AttributeReader | None) -> Mapping[str, str] | None:
    """What an image shows; None for what cannot be read."""
    digest = "" if path is None else _digest(path)
    if reader is None or not digest:
        return None
    name = f"attributes/{reader.id}"
    found = kept.get(name, digest, lambda table: {str(key): str(value) for key, value in table.items()})
    if found is None and (image := _Opened(path).image()) is not None:
        found = dict(reader.attributes(image))
        kept.put(name, digest, found)
    return found


def read_photo(
    entry: LedgerEntry, shape: float, kept: Readings, faces: FaceReader | None, things: ImageReader | None = None
) -> Photo | None:
    """A photo with its parts of a shape, width over height; None if it can no longer be read."""
    opened = _Opened(entry.path)
    digest = entry.sha256 or _digest(entry.path)
    seen = _pixels(digest, opened, kept)
    if seen is None:
        return None
    reader = f"parts/{hashes.VERSION}/{shape:.3f}"
    parts = kept.get(reader, digest, _parts_from)
    if parts is None and (image := opened.image()) is not None:
        parts = hashes.parts_of(image, shape)
        kept.put(reader, digest, [f"{part.hash:016x}{part.thumbnail.hex()}" for part in parts])
    texts = entry.lines or (entry.caption,)
    found = _faces(digest, opened, kept, faces)
    return Photo(entry.relative, seen, parts or (), found, texts=texts, thing=_embedding(digest, opened, kept, things))


def near_groups(photos: Sequence[Photo]) -> list[list[str]]:
    """Photos that show nearly the same: connected pairs, by the limits for near-duplicates in a dataset."""
    groups: list[list[tuple[str, int, bytes]]] = []
    for photo in photos:
        if photo.pixels is None:
            continue
        own, small = photo.pixels.hash, thumbnail(photo.pixels.small)
        near = [
            group
            for group in groups
            if any((hashed ^ own).bit_count() <= NEAR_BITS and alike(other, small) for _, hashed, other in group)
        ]
        joined = [(photo.name, own, small), *(member for group in near for member in group)]
        groups = [*(group for group in groups if group not in near), joined]
    return [[name for name, _, _ in group] for group in groups if len(group) > 1]


def _parts_from(value: Any) -> tuple[Part, ...]:
    parts = tuple(Part(int(text[:16], 16), bytes.fromhex(text[16:])) for text in value)
    if not all(0 <= part.hash < 1 << 64 and len(part.thumbnail) == 192 for part in parts):
        raise ValueError("these are no parts")
    return parts


class _Opened:
    """An image that is decoded when the first reader needs it, and once."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._image: Image | None = None
        self._failed = path is None

    def image(self) -> Image | None:
        """None if it cannot be decoded."""
        if self._image is None and not self._failed:
            try:
                assert self._path is not None
                self._image = decoding.load_rgb(self._path)
            except (decoding.ImageError, OSError):
                self._failed = True
        return self._image


def _pixels(digest: str, opened: _Opened, kept: Readings) -> Pixels | None:
    reader = f"pixels/{pixels.VERSION}"
    found = kept.get(reader, digest, Pixels.from_json)
    if found is None and (image := opened.image()) is not None:
        found = read_pixels(image)
        kept.put(reader, digest, found.to_json())
    return found


def _faces(digest: str, opened: _Opened, kept: Readings, reader: FaceReader | None) -> Faces | None:
    if reader is None:
        return None
    found = kept.get(f"faces/{reader.id}", digest, _faces_from)
    if found is None and (image := opened.image()) is not None:
        try:
            found = reader.read(image)
        except FaceError:
            return None
        kept.put(f"faces/{reader.id}", digest, [found.count, [round(value, 5) for value in found.embedding]])
    return found


def _faces_from(value: Any) -> Faces:
    number, embedding = value
    figures = tuple(float(one) for one in embedding)
    if not isinstance(number, int) or number < 0 or not all(abs(figure) <= 1 for figure in figures):
        raise ValueError("these are no faces")
    return Faces(number, figures)


def _embedding(digest: str, opened: _Opened, kept: Readings, reader: ImageReader | None) -> tuple[float, ...]:
    if reader is None:
        return ()
    found = kept.get(f"image/{reader.id}", digest, _vector_from)
    if found is None and (image := opened.image()) is not None:
        try:
            found = reader.read(image)
        except EmbeddingError as error:
            print(f"An image is not compared: {error}", flush=True)
            return ()
        kept.put(f"image/{reader.id}", digest, [round(value, 5) for value in found])
    return found or ()


def _vector_from(value: Any) -> tuple[float, ...]:
    figures = tuple(float(one) for one in value)
    if not figures or not all(abs(figure) <= 1 for figure in figures):
        raise ValueError("this is no description")
    return figures


def _digest(path: Path) -> str:
    """SHA-256 of a file; empty if it cannot be read."""
    try:
        with decoding.open_regular(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (decoding.ImageError, OSError):
        return ""
