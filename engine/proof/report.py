"""Reads the validation's images and the photos, measures them, and keeps what was found in `validation/measures.json`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from loratui.engine import sealed
from loratui.engine.dataset import decoding
from loratui.engine.planning.validation_grid import filled, words
from loratui.engine.proof.judgement import about
from loratui.engine.proof.kept import FORMAT
from loratui.engine.proof.losses import Losses
from loratui.engine.proof.never import Attribute, captions_of, never_shown
from loratui.engine.proof.notes import read_checklist
from loratui.engine.proof.parts import Subject, measure_parts
from loratui.engine.proof.prompts import is_trigger_alone, plain
from loratui.engine.proof.protocol import (
    AttributeReader,
    EmbeddingError,
    FaceReader,
    ImageReader,
    Near,
    Photo,
    References,
    Shot,
    TextReader,
)
from loratui.engine.proof.reading import looked_at, near_groups, read_attributes, read_image, read_photo, trained_on
from loratui.engine.proof.readings import Readings
from loratui.engine.proof.verdict.judge import judge
from loratui.engine.runs.records import Image as Made
from loratui.engine.untrusted import finite
from loratui.engine.words import count

if TYPE_CHECKING:
    from loratui.engine.dataset.ledger import LedgerEntry
    from loratui.engine.runs.directory import RunDirectory
    from loratui.presets.schema import Settings

NO_LAYOUTS = "The layouts of the photos are not known: they are compared when an image is made."


@dataclass(frozen=True)
class Readers:
    """What can be read on this machine."""

    faces: FaceReader | None = None
    no_faces: str = ""
    """Why faces are not read."""
    layouts: Mapping[str, Sequence[Near]] = field(default_factory=dict)
    """For each photo, those with the nearest layouts; empty if the base was not loaded now."""
    losses: Losses = Losses()
    """What was measured with the base loaded, now or before."""
    texts: TextReader | None = None
    no_texts: str = ""
    """Why images are not compared with their prompts."""
    things: ImageReader | None = None
    no_things: str = ""
    """Why images are not compared as things and styles."""
    attributes: AttributeReader | None = None
    """What says what an image shows."""


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
        **judge(parts, read_checklist(run.validation / "checklist.json"), about(run, settings, subject.file, subject.strength)),
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
    trained = trained_on(photos)
    chosen = looked_at(trained)
    total = len(listed) + len(chosen)
    shots = []
    asked = functools.cache(lambda prompt: _text(readers.texts, plain(prompt, *own)))
    own = settings.dataset.trigger, settings.dataset.class_word
    fill = words(settings)
    never = {filled(one.template, fill): one for one in never_shown(settings, captions_of(photos))}
    for at, image in enumerate(listed):
        shots.append(_shot(run, image, settings, kept, readers, asked, never.get(image.prompt)))
        progress(at + 1, total)
    shape = _shape(run, shots)
    read: list[Photo] = []
    gone: list[str] = []
    for at, entry in enumerate(chosen):
        photo = read_photo(entry, shape, kept, readers.faces, readers.things)
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
        losses=readers.losses,
        no_texts=readers.no_texts,
        no_things=readers.no_things,
        trigger=settings.dataset.trigger,
        class_word=settings.dataset.class_word,
        never=tuple(never),
        same_face=readers.faces.same_face if readers.faces else None,
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


def _text(reader: TextReader | None, words: str) -> tuple[float, ...]:
    """What a text says; empty where it is not known."""
    if reader is None:
        return ()
    try:
        return reader.text(words)
    except EmbeddingError as error:
        print(f"A prompt is not compared: {error}", flush=True)
        return ()


def _shot(
    run: RunDirectory,
    image: Made,
    settings: Settings,
    kept: Readings,
    readers: Readers,
    asked: Callable[[str], tuple[float, ...]],
    never: Attribute | None,
) -> Shot:
    dataset = settings.dataset
    seen, faces, (says, thing) = read_image(run.file(image.path), kept, readers.faces, readers.texts, readers.things)
    text = asked(image.prompt) if says else ()
    shown = read_attributes(run.file(image.path), kept, readers.attributes) if never and never.feature else None
    return Shot(
        path=image.path,
        prompt=image.prompt,
        seed=image.seed,
        file=image.file if image.strength else "",
        strength=image.strength,
        grid=image.grid,
        alone=is_trigger_alone(image.prompt, dataset.trigger, dataset.class_word),
        pixels=seen,
        faces=faces,
        layout=Near(image.nearest, image.similarity) if image.nearest and image.similarity is not None else None,
        fits=sum(a * b for a, b in zip(says, text, strict=True)) if len(says) == len(text) > 0 else None,
        thing=thing,
        never=never is not None,
        shows=None if shown is None or never is None else shown.get(never.feature) == never.value,
    )


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
        found.append(replace(photo, layouts=tuple(layouts or ())))
    return found


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
