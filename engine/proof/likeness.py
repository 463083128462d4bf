"""Likeness by faces, calibrated on this person: how near the images are to the photos, against the photos to each other."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from loratui.engine.proof.calibration import among, copied, placed, similarity
from loratui.engine.proof.copies import CopyRisk
from loratui.engine.proof.protocol import LEAST_PHOTOS, Near, Photo, References, Shot, Value, by_seed


@dataclass(frozen=True)
class Likeness:
    """The mean similarity of each image's face to the photos' faces."""

    id: str = "likeness"
    title: str = "Likeness by faces"
    unit: str = "similarity, 1 is the same"
    about: str = (
        "How like the faces are to the faces in your photos, where 1 is the same. The photos compared with each other give "
        "what is natural for this person: below it is another face; an image that is nearer to one photo than the photos are "
        "to each other is a copy of it rather than a likeness."
    )
    limits: str = (
        "Only images with exactly one face that the model finds, so hardly any profiles. Glasses, age and expression count "
        "too. Faces of drawings are often not found. Photos that hardly differ make a narrow range."
    )

    def needs(self, references: References) -> str:
        """A face model, and photos with faces."""
        return references.no_faces or (references.no_photos if not references.photos else "")

    def of(self, images: Sequence[Shot], references: References) -> Value:
        """The mean over the images, the natural range, and where the images fall."""
        shots = [shot for shot in images if _single(shot)]
        photos = [photo for photo in references.distinct() if _single(photo)]
        if not photos:
            return Value.not_known("In none of the photos exactly one face was found.")
        if not shots:
            return Value.not_known(_none_found(images))
        bases = [bare for shot in shots if (bare := references.base.get(shot.key)) and _single(bare)]
        return placed(shots, _of(shots), _of(bases), _of(photos), "with one face ")


@dataclass(frozen=True)
class FacesFound:
    """The share of images with exactly one face."""

    id: str = "one_face"
    title: str = "Images with one face"
    unit: str = "share of the images"
    about: str = (
        "In how many of the images exactly one face is found. Likeness is only known of these: many images without a face, "
        "or with several, are a fault of their own if you asked for one person."
    )
    limits: str = "A detector misses profiles, small and covered faces, and most drawn ones."

    def needs(self, references: References) -> str:
        """A face model."""
        return references.no_faces

    def of(self, images: Sequence[Shot], references: References) -> Value:
        """The share, and the shares with none and with several."""
        counts = [(shot, shot.faces.count) for shot in images if shot.faces is not None]
        if not counts:
            return Value.not_known("The face model could read none of the images.")
        value, spread = by_seed((shot, float(number == 1)) for shot, number in counts)
        none = sum(number == 0 for _, number in counts) / len(counts)
        several = sum(number > 1 for _, number in counts) / len(counts)
        bases = [base.faces.count for shot, _ in counts if (base := references.base.get(shot.key)) and base.faces]
        said = ", ".join(
            f"{share:.0%} {what}" for share, what in ((none, "without a face"), (several, "with several")) if share
        )
        return Value(
            value,
            spread,
            sum(number == 1 for number in bases) / len(bases) if bases else None,
            figure=f"{value:.0%}",
            means=said or "one face in each",
            images={shot.path: float(number) for shot, number in counts},
            more={"none": round(none, 4), "several": round(several, 4)},
        )


@dataclass(frozen=True)
class ByFace:
    """By the faces' descriptions."""

    def needs(self, references: References) -> str:
        """A face model, and a face in a photo."""
        if references.no_faces:
            return references.no_faces
        return "" if any(map(_single, references.photos)) else "In none of the photos exactly one face was found."

    def nearest(self, shots: Sequence[Shot], photos: Sequence[Photo]) -> Mapping[str, Near]:
        """The photo with the most similar face."""
        ones, others = [shot for shot in shots if _single(shot)], [photo for photo in photos if _single(photo)]
        if not ones or not others:
            return {}
        found = similarity(_of(ones), _of(others))
        return {
            shot.path: Near(others[at].name, float(row[at]))
            for shot, row, at in zip(ones, found, found.argmax(axis=1).tolist(), strict=True)
        }

    def among(self, photos: Sequence[Photo]) -> list[float]:
        """Each photo against the others."""
        return [most for _, most in leave_one_out([photo for photo in photos if _single(photo)])]

    def stand_out(self, shots: Sequence[Shot], references: References) -> Collection[str]:
        """Not a face in the middle of the photos, which is near to each."""
        ones, photos = [s for s in shots if _single(s)], [photo for photo in references.distinct() if _single(photo)]
        if len(photos) < LEAST_PHOTOS or not ones:
            return {shot.path for shot in ones}
        found = copied(similarity(_of(ones), _of(photos)), _of(photos))
        return {shot.path for shot, one in zip(ones, found, strict=True) if one}

    def why_none(self, images: Sequence[Shot]) -> str:
        """Why no image could be compared."""
        return _none_found(images)


def leave_one_out(photos: Sequence[Photo]) -> list[tuple[float, float]]:
    """For each photo, its mean and its largest similarity to the others; empty for fewer than two."""
    return among(_of(photos))


def _single(image: Shot | Photo) -> bool:
    return image.faces is not None and image.faces.count == 1 and bool(image.faces.embedding)


def _of(images: Sequence[Shot] | Sequence[Photo]) -> list[tuple[float, ...]]:
    return [image.faces.embedding for image in images if image.faces is not None]


def _none_found(images: Sequence[Shot]) -> str:
    counts = [shot.faces.count for shot in images if shot.faces is not None]
    if not counts:
        return "The face model could read none of the images."
    several = sum(number > 1 for number in counts)
    return f"No image has exactly one face: {several} with several, {len(counts) - several} without a face."


LIKENESS = Likeness()
FACES_FOUND = FacesFound()
COPY_FACE = CopyRisk(
    "copy_face",
    "Nearest by face",
    "How like the most similar face of a photo is, against how like the photos' faces are to each other. A face that is nearer "
    "than that is the photo's own, with its expression and light, also in another scene.",
    "Only images with exactly one face. Two photos of the same moment are nearly the same and hide a copy.",
    ByFace(),
)
