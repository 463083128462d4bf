"""What models of whole images say: whether prompts are followed, and how like things and styles are to the photos."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from loratui.engine.proof.against_base import NO_BASE
from loratui.engine.proof.calibration import placed
from loratui.engine.proof.prompts import is_person
from loratui.engine.proof.protocol import References, Shot, Value, by_seed

AS_WELL = 0.01
"""Difference of the scores up to which a prompt is followed as by the base; more where the seeds differ by more."""
MOSTLY_FACES = 0.5
"""Share of photos with exactly one face from which the subject is a person."""
NOT_FOR_FACES = "The subject is a person: this model is for things and styles. Likeness by faces serves here."
NOT_READ = "The model could read none of the images."


@dataclass(frozen=True)
class Followed:
    """How well the images fit their prompts, against the base's images of the same prompts and seeds."""

    id: str = "followed"
    title: str = "Prompt followed"
    unit: str = "similarity of image and words"
    about: str = (
        "How well the images fit their prompts by an image–text model, with the class word in place of the trigger, against "
        "the base's own images of the same prompts and seeds. A LoRA that is overtrained no longer does what a prompt asks for."
    )
    limits: str = (
        "It sees what is in an image better than how many, where, or which of two has it. It does not know the subject: a "
        "subject that looks unlike its class word scores less by right. About 50 words of a prompt count. It reads English."
    )

    def needs(self, references: References) -> str:
        """An image–text model."""
        return references.no_texts

    def of(self, images: Sequence[Shot], references: References) -> Value:
        """The mean score, and the base's."""
        found = [(shot, shot.fits) for shot in images if shot.fits is not None]
        if not found:
            return Value.not_known(NOT_READ)
        each = {shot.path: score for shot, score in found}
        pairs = [
            (shot, score, bare.fits)
            for shot, score in found
            if (bare := references.base.get(shot.key)) is not None and bare.fits is not None
        ]
        if not pairs:
            value, spread = by_seed(found)
            return Value(value, spread, figure=f"{value:.3f}", unknown=NO_BASE, images=each)
        value, spread = by_seed((shot, score) for shot, score, _ in pairs)
        base = statistics.fmean(of_base for _, _, of_base in pairs)
        difference, apart = by_seed((shot, score - of_base) for shot, score, of_base in pairs)
        more = {
            "difference": round(difference, 4),
            "difference_spread": None if apart is None else round(apart, 4),
            "ratio": round(value / base, 4) if base > 0 else None,
        }
        means = "as well as the base"
        if abs(difference) > max(AS_WELL, apart or 0.0):
            means = "less than by the base" if difference < 0 else "better than by the base"
        return Value(value, spread, base, figure=f"{value:.3f}, base {base:.3f}", means=means, images=each, more=more)


@dataclass(frozen=True)
class Resemblance:
    """The mean similarity of each image to the photos, for things and styles."""

    id: str = "resemblance"
    title: str = "Likeness of things and styles"
    unit: str = "similarity, 1 is the same"
    about: str = (
        "How like the images are to your photos by an image model, where 1 is the same. The photos compared with each other "
        "give what is natural; an image that is nearer to one photo than the photos are to each other is a copy of it."
    )
    limits: str = (
        "It compares whole images, with their background and view, from the middle square of each. It is not for faces: it "
        "tells people apart badly."
    )

    def needs(self, references: References) -> str:
        """An image model, photos, and a subject that is no person."""
        if is_person(references.class_word) if references.class_word else _faces_count(references):
            return NOT_FOR_FACES
        return references.no_things or (references.no_photos if not references.photos else "")

    def of(self, images: Sequence[Shot], references: References) -> Value:
        """The mean over the images, the natural range, and where the images fall."""
        shots = [shot for shot in images if shot.thing]
        photos = [photo.thing for photo in references.distinct() if photo.thing]
        if not shots:
            return Value.not_known(NOT_READ)
        if not photos:
            return Value.not_known("The model could read none of the photos.")
        bases = [bare.thing for shot in shots if (bare := references.base.get(shot.key)) and bare.thing]
        return placed(shots, [shot.thing for shot in shots], bases, photos, "")


def _faces_count(references: References) -> bool:
    """Whether most photos show one face, where faces were read."""
    counts = [photo.faces.count for photo in references.distinct() if photo.faces is not None]
    return bool(counts) and sum(number == 1 for number in counts) / len(counts) >= MOSTLY_FACES


FOLLOWED = Followed()
RESEMBLANCE = Resemblance()
