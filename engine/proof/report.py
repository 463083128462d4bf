"""Reads the validation's images and the photos, measures them, and keeps what was found in `validation/measures.json`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loratui.engine import sealed
from loratui.engine.dataset import decoding
from loratui.engine.dataset.similar import NEAR_BITS, alike
from loratui.engine.proof import hashes, pixels
from loratui.engine.proof.kept import FORMAT
from loratui.engine.proof.parts import Subject, measure_parts
from loratui.engine.proof.pixels import Pixels, read_pixels, thumbnail
from loratui.engine.proof.prompts import is_trigger_alone
from loratui.engine.proof.protocol import FaceError, FaceReader, Faces, Near, Part, Photo, References, Shot
from loratui.engine.proof.readings import Readings
from loratui.engine.runs.records import Image as Made
from loratui.engine.untrusted import finite
from loratui.engine.words import count

if TYPE_CHECKING:
    from PIL.Image import Image

    from loratui.engine.dataset.ledger import LedgerEntry
    from loratui.engine.runs.directory import RunDirectory
    from loratui.presets.schema import Settings

NO_LAYOUTS = "The layouts of the photos are not known: they are compared when an image is made."
MOST_PHOTOS = 500
"""Of a larger dataset so many photos are looked at, evenly spread."""


@dataclass(frozen=True)
class Readers:
    """What can be read on this machine."""

    faces: FaceReader | None = None
    no_faces: str = ""
    """Why faces are not read."""
    layouts: Mapping[str, Sequence[Near]] = field(default_factory=dict)
    """For each photo, those with the nearest layouts; empty if the base was not loaded now."""


def measure_run(
    run: RunDirectory,
    settings: Settings,
    photos: Sequence[LedgerEntry],
    made: Iterable[Made],
    readers: Readers,
    subject: Subject,
    progress: Callable[[int, int], object] = lambda _, __: None,
) -> dict[str, Any]:
    """Measures every image of the validation that was made, and writes `validation/measures.json`.

    `made`: the images as the validation's log tells them, in its order. What was read before is not read again.
    """
    kept = Readings(run.validation / "readings.json")
    try:
        shots, references, counts = _read_all(run, settings, photos, list(latest(made).values()), kept, readers, progress)
    except BaseException:
        kept.keep()
        raise
    parts = measure_parts(shots, references, subject)
    kept.save()
    report = {
        "format": FORMAT,
        "file": subject.file,
        "strength": subject.strength,
        "photos": counts,
        "face_model": readers.faces.title if readers.faces else None,
        "parts": parts,
    }
    sealed.write(run.validation / "measures.json", report, run.path)
    return report


def _read_all(
    run: RunDirectory,
    settings: Settings,
    photos: Sequence[LedgerEntry],
    listed: Sequence[Made],
    kept: Readings,
    readers: Readers,
    progress: Callable[[int, int], object],
) -> tuple[list[Shot], References, dict[str, Any]]:
    """The images, what they are compared with, and how many photos there are."""
    trained = [entry for entry in photos if entry.repeats and not entry.regularisation]
    looked_at = _spread(trained)
    total = len(listed) + len(looked_at)
    shots = []
    for at, image in enumerate(listed):
        shots.append(_shot(run, image, settings, kept, readers))
        progress(at + 1, total)
    shape = _shape(run, shots)
    read: list[Photo] = []
    gone: list[str] = []
    for at, entry in enumerate(looked_at):
        photo = _photo(entry, shape, kept, readers)
        if photo is None:
            gone.append(entry.relative)
        else:
            read.append(photo)
        progress(len(listed) + at + 1, total)
    read = _with_layouts(read, kept, readers)
    references = References(
        base={shot.key: shot for shot in shots if not shot.strength},
        photos=tuple(read),
        likenesses=tuple(near_groups(read)),
        no_photos=f"{count(len(gone), 'photo')} can no longer be read." if gone else "There are no photos.",
        no_faces=readers.no_faces,
        no_layouts="" if any(photo.layouts for photo in read) or len(read) < 2 else NO_LAYOUTS,
    )
    return shots, references, {"trained": len(trained), "read": len(read), "gone": gone[:20]}


def latest(made: Iterable[Made]) -> dict[tuple[str, str, int, str, float], Made]:
    """The images by their places in the grids: of two for one place the later, with what the same image was compared to."""
    found: dict[tuple[str, str, int, str, float], Made] = {}
    near: dict[str, Made] = {image.path: image for image in made if image.nearest}
    for image in made:
        if finite(image.strength) is None or not image.path:
            continue
        file = image.file if image.strength else ""
        found[image.grid, image.prompt, image.seed, file, image.strength] = (
            near.get(image.path, image) if not image.nearest else image
        )
    return found


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


def _spread(entries: Sequence[LedgerEntry]) -> list[LedgerEntry]:
    if len(entries) <= MOST_PHOTOS:
        return list(entries)
    return [entries[at * len(entries) // MOST_PHOTOS] for at in range(MOST_PHOTOS)]


def _shot(run: RunDirectory, image: Made, settings: Settings, kept: Readings, readers: Readers) -> Shot:
    path = run.file(image.path)
    digest = "" if path is None else _digest(path)
    opened = _Opened(path if digest else None)
    dataset = settings.dataset
    return Shot(
        path=image.path,
        prompt=image.prompt,
        seed=image.seed,
        file=image.file if image.strength else "",
        strength=image.strength,
        grid=image.grid,
        alone=is_trigger_alone(image.prompt, dataset.trigger, dataset.class_word),
        pixels=_pixels(digest, opened, kept),
        faces=_faces(digest, opened, kept, readers.faces),
        layout=Near(image.nearest, image.similarity) if image.nearest and image.similarity is not None else None,
    )


def _photo(entry: LedgerEntry, shape: float, kept: Readings, readers: Readers) -> Photo | None:
    """None for a photo that can no longer be read."""
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
    return Photo(entry.relative, seen, parts or (), _faces(digest, opened, kept, readers.faces))


def _parts_from(value: Any) -> tuple[Part, ...]:
    parts = tuple(Part(int(text[:16], 16), bytes.fromhex(text[16:])) for text in value)
    if not all(0 <= part.hash < 1 << 64 and len(part.thumbnail) == 192 for part in parts):
        raise ValueError("these are no parts")
    return parts


def _with_layouts(photos: Sequence[Photo], kept: Readings, readers: Readers) -> list[Photo]:
    """With the nearest layouts, which are known while the base is loaded and kept for later."""
    reader = "layouts/1"
    found = []
    for photo in photos:
        layouts = readers.layouts.get(photo.name)
        if layouts is None:
            layouts = kept.get(reader, photo.name, lambda rows: [Near(str(name), float(value)) for name, value in rows])
        else:
            kept.put(reader, photo.name, [[near.photo, round(near.value, 4)] for near in layouts])
        found.append(Photo(photo.name, photo.pixels, photo.parts, photo.faces, tuple(layouts or ())))
    return found


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


def _digest(path: Path) -> str:
    """SHA-256 of a file; empty if it cannot be read."""
    try:
        with decoding.open_regular(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (decoding.ImageError, OSError):
        return ""


def _shape(run: RunDirectory, shots: Sequence[Shot]) -> float:
    """Width over height of the validation's images."""
    for shot in shots:
        path = run.file(shot.path)
        if shot.pixels is None or path is None:
            continue
        try:
            header = decoding.read_header(path)
        except (decoding.ImageError, OSError):
            continue
        return header.width / header.height
    return 1.0
