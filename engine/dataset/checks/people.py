"""Checks of who is to be seen: faces, several people, mirrored selfies, flipping."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from loratui.engine.dataset.checks.case import Case, Check, some
from loratui.engine.dataset.facts import Face
from loratui.engine.findings import Finding
from loratui.presets.schema import Settings

SMALL_FACE = 0.01
"""Share of the image's area below which a face is too small to be learnt."""

_SEVERAL = re.compile(
    r"\b(two|three|four|five|several|many)\s+(people|persons|women|men|girls|boys|friends)\b|\b(couple|crowd|group of|"
    r"multiple (girls|boys|people))\b|\b[2-9]\+?(girls|boys)\b",
    re.IGNORECASE,
)


def _faces(code: str, holds: Callable[[tuple[Face, ...]], bool], *, person: bool = True) -> Callable[[Case], Iterator[Finding]]:
    """A check of the faces that were found, where a likeness is taught: of a person, or of a character too."""

    def find(case: Case) -> Iterator[Finding]:
        wanted = case.settings.dataset.subject == "person" if person else case.identity
        faces = ((image.relative, facts.faces) for image, facts in case.measured() if wanted)
        return some(code, (name for name, own in faces if own is not None and holds(own)))

    return find


def _small(faces: tuple[Face, ...]) -> bool:
    return bool(faces) and max(face.box.area for face in faces) < SMALL_FACE


def _named(case: Case) -> Iterator[Finding]:
    several = (image.relative for image in case.captioned if any(map(_SEVERAL.search, case.texts(image))))
    return some("several_people", several if case.identity else ())


def _selfies(case: Case) -> Iterator[Finding]:
    selfies = tuple(image.relative for image in case.scan.training if image.traits.front_camera)
    if case.identity and len(selfies) < len(case.scan.training):
        yield from some("selfies", selfies)


def of_mirroring(settings: Settings) -> Iterator[Finding]:
    """Whether a being that is to be recognised is trained mirrored too."""
    dataset = settings.dataset
    if dataset.flip and dataset.subject in ("person", "character"):
        yield Finding.of("flip_identity", subject=dataset.subject, settings={"dataset.flip": False})


CHECKS = (
    Check("several_faces", "faces", _faces("several_faces", lambda faces: len(faces) > 1, person=False)),
    Check("no_face", "faces", _faces("no_face", lambda faces: not faces)),
    Check("small_face", "faces", _faces("small_face", _small)),
    Check("several_people", "headers", _named),
    Check("selfies", "headers", _selfies),
    Check("flip_identity", "headers", lambda case: of_mirroring(case.settings)),
)
