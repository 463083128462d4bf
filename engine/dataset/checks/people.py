"""Checks of who is to be seen: faces, several people, mirrored selfies, flipping."""

from __future__ import annotations

import re
from collections.abc import Iterator

from loratui.engine.dataset.checks.case import Case, Check, Hit
from loratui.engine.dataset.findings import listed, number_of

SMALL_FACE = 0.01
"""Share of the image's area below which a face is too small to be learnt."""

_SEVERAL = re.compile(
    r"\b(two|three|four|five|several|many)\s+(people|persons|women|men|girls|boys|friends)\b|\b(couple|crowd|group of|"
    r"multiple (girls|boys|people))\b|\b[2-9]\+?(girls|boys)\b",
    re.IGNORECASE,
)


def _several(case: Case) -> Iterator[Hit]:
    files = tuple(image.relative for image, facts in case.measured() if len(facts.faces or ()) > 1)
    if files and case.identity:
        yield Hit(f"{number_of(files)} with more than one face: {listed(files)}.", files)


def _none(case: Case) -> Iterator[Hit]:
    files = tuple(image.relative for image, facts in case.measured() if facts.faces == ())
    if files and case.settings.dataset.subject == "person":
        yield Hit(f"{number_of(files)} without a face that was found: {listed(files)}.", files)


def _small(case: Case) -> Iterator[Hit]:
    files = tuple(
        image.relative
        for image, facts in case.measured()
        if facts.faces and max(face.box.area for face in facts.faces) < SMALL_FACE
    )
    if files and case.settings.dataset.subject == "person":
        yield Hit(f"{number_of(files)} with a very small face: {listed(files)}.", files)


def _named(case: Case) -> Iterator[Hit]:
    files = tuple(image.relative for image in case.captioned if any(map(_SEVERAL.search, case.texts(image))))
    if files and case.identity:
        yield Hit(f"{number_of(files)} with several people, by their captions: {listed(files)}.", files)


def _selfies(case: Case) -> Iterator[Hit]:
    selfies = tuple(image.relative for image in case.scan.training if image.traits.front_camera)
    if case.identity and 0 < len(selfies) < len(case.scan.training):
        yield Hit(f"{number_of(selfies)} by a front camera among others, perhaps mirrored: {listed(selfies)}.", selfies)


def _flip(case: Case) -> Iterator[Hit]:
    if case.identity and case.settings.dataset.flip:
        yield Hit(f"Images are also trained mirrored, although the set teaches a {case.settings.dataset.subject}.")


CHECKS = (
    Check(
        "several_faces",
        "warning",
        "faces",
        "The likenesses of several people mix (FLUX guide).",
        "Crop to one person, or say in the caption who is who.",
        _several,
    ),
    Check(
        "no_face", "info", "faces", "A likeness needs a face (FLUX guide).", "Look at it, and leave it out if need be.", _none
    ),
    Check("small_face", "info", "faces", "So few pixels hold no likeness (FLUX guide).", "Crop closer to the face.", _small),
    Check(
        "several_people",
        "info",
        "headers",
        "The likenesses of several people mix (FLUX guide).",
        "Crop to one person, or make sure that the caption says who is who.",
        _named,
    ),
    Check(
        "selfies",
        "info",
        "headers",
        "Some phones store selfies mirrored; with others beside them, left and right get mixed (Skullkid).",
        "Compare a parting or a mole, and mirror those that are the wrong way round.",
        _selfies,
    ),
    Check(
        "flip_identity",
        "warning",
        "headers",
        "No face is symmetric: a flipped one is another (guides 001 and 002).",
        "Turn it off: dataset.flip=false.",
        _flip,
    ),
)
