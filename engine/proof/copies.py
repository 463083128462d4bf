"""Copy risk, apart from likeness: how near the images are to a photo, against how near the photos are to each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from loratui.engine.dataset.similar import NEAR_BITS, alike
from loratui.engine.proof.hashes import BITS, agreement
from loratui.engine.proof.kept import NEARLY_THE_SAME
from loratui.engine.proof.pixels import thumbnail
from loratui.engine.proof.protocol import CLEARLY, GONE, LEAST_PHOTOS, Near, Photo, References, Shot, Value, by_seed, natural
from loratui.engine.words import count

COPY = 1 - NEAR_BITS / BITS
"""Share of equal bits from which two images are nearly the same; the limit for near-duplicates in a dataset."""
AS_BASE = 0.05
"""The base knows no photo: an image that is nearer to one than the base's by no more than this was not copied."""
LIMITS_OF_PHOTOS = "If the photos are nearly alike, their own nearness is high and hides a copy."


class Comparison(Protocol):
    """A way to find the nearest photo."""

    def needs(self, references: References) -> str:
        """What it lacks."""

    def nearest(self, shots: Sequence[Shot], photos: Sequence[Photo]) -> Mapping[str, Near]:
        """The nearest photo of each image that can be compared, by the image's path."""

    def among(self, photos: Sequence[Photo]) -> list[float]:
        """For each photo, how near the nearest other is."""

    def stand_out(self, shots: Sequence[Shot], references: References) -> Collection[str]:
        """The paths of the images that are near one photo rather than near them all."""

    def why_none(self, images: Sequence[Shot]) -> str:
        """Why no image could be compared."""


@dataclass(frozen=True)
class CopyRisk:
    """The nearest photo by one comparison."""

    id: str
    title: str
    about: str
    limits: str
    by: Comparison
    unit: str = "nearness, 1 is the same"

    def needs(self, references: References) -> str:
        """Photos, and what the comparison needs."""
        return (references.no_photos if not references.photos else "") or self.by.needs(references)

    def of(self, images: Sequence[Shot], references: References) -> Value:
        """The nearest pair, and where it lies in what is natural."""
        nearest = self.by.nearest(images, references.photos)
        found = [(shot, nearest[shot.path]) for shot in images if shot.path in nearest]
        if not found:
            return Value.not_known(self.by.why_none(images))
        at_most, near = max(found, key=lambda pair: (pair[1].sure, pair[1].value))
        _, spread = by_seed((shot, found_near.value) for shot, found_near in found)
        bases = [references.base[shot.key] for shot, _ in found if shot.key in references.base]
        of_base = self.by.nearest(bases, references.photos) if bases else {}
        base = max((other.value for other in of_base.values()), default=None)
        known = -1.0 if base is None else base + AS_BASE
        among = self.by.among(references.distinct())
        natural_range = natural(among)
        one_photo = self.by.stand_out([shot for shot, _ in found], references)
        above = [
            shot
            for shot, other in found
            if natural_range and other.value > natural_range[1] + CLEARLY and shot.path in one_photo
        ]
        return Value(
            near.value,
            spread,
            base,
            natural_range,
            figure=f"{near.value:.2f} to {near.photo}",
            means=self._means(near, natural_range, base, bool(above)),
            unknown="" if natural_range else _too_few(len(among)),
            images={shot.path: other.value for shot, other in found},
            more={
                "image": at_most.path,
                "photo": near.photo,
                "copies": round(sum(other.sure and other.value > known for _, other in found) / len(found), 4),
                "share_above": round(len(above) / len(found), 4) if natural_range else None,
                "nearest": [{"path": shot.path, "photo": other.photo, "value": round(other.value, 4)} for shot, other in found],
                "attracts": _attracts(other for _, other in found),
            },
        )

    def _means(self, near: Near, among: tuple[float, float] | None, base: float | None, above: bool) -> str:
        if base is not None and near.value <= base + AS_BASE:
            return "no copy: the base's are as near"
        if near.sure:
            return "a copy of this photo"
        if among is None:
            return "look at the pair"
        return "nearer than the photos to each other" if above else "no sign of a copy"


@dataclass(frozen=True)
class ByHash:
    """By perceptual hashes of the photo's parts."""

    def needs(self, references: References) -> str:
        """Nothing but photos."""
        del references
        return ""

    def nearest(self, shots: Sequence[Shot], photos: Sequence[Photo]) -> Mapping[str, Near]:
        """A photo that is nearly the same, else the one with the part that agrees in most bits."""
        found: dict[str, Near] = {}
        for photo in photos:
            for path, near in _by_parts(shots, photo).items():
                if path not in found or (near.sure, near.value) > (found[path].sure, found[path].value):
                    found[path] = near
        return found

    def among(self, photos: Sequence[Photo]) -> list[float]:
        """A photo's first part is its largest."""
        whole = [photo for photo in photos if photo.parts]
        hashes = [photo.parts[0].hash for photo in whole]
        best = [0.0] * len(whole)
        for at, photo in enumerate(whole):
            for other, value in enumerate(agreement(hashes, [part.hash for part in photo.parts]).max(axis=1).tolist()):
                if other != at:
                    best[other] = max(best[other], value)
        return best if len(whole) > 1 else []

    def stand_out(self, shots: Sequence[Shot], references: References) -> Collection[str]:
        """Those that are nearly the same: images of one kind agree in many bits."""
        return {path for path, near in self.nearest(shots, references.photos).items() if near.sure}

    def why_none(self, images: Sequence[Shot]) -> str:
        """They have no pixels."""
        del images
        return GONE


@dataclass(frozen=True)
class ByLayout:
    """By the layouts of latents, which the trainer compared when it made the images."""

    def needs(self, references: References) -> str:
        """That they were compared."""
        return references.no_layouts

    def nearest(self, shots: Sequence[Shot], photos: Sequence[Photo]) -> Mapping[str, Near]:
        """What was written down."""
        del photos
        return {
            shot.path: replace(shot.layout, sure=shot.layout.value >= NEARLY_THE_SAME)
            for shot in shots
            if shot.layout is not None
        }

    def among(self, photos: Sequence[Photo]) -> list[float]:
        """The nearest other photo that is no near-duplicate."""
        names = {photo.name for photo in photos}
        return [
            best
            for photo in photos
            if (best := next((near.value for near in photo.layouts if near.photo in names), None)) is not None
        ]

    def stand_out(self, shots: Sequence[Shot], references: References) -> Collection[str]:
        """All of them."""
        del references
        return {shot.path for shot in shots}

    def why_none(self, images: Sequence[Shot]) -> str:
        """Images of earlier versions."""
        return "They were made before loratui compared images." if any(shot.pixels for shot in images) else GONE


def _by_parts(shots: Sequence[Shot], photo: Photo) -> dict[str, Near]:
    """How near each image is to a photo. The same, as in a dataset, if hash and thumbnail of a part are those of near-duplicates."""
    read = [(shot.path, shot.pixels) for shot in shots if shot.pixels is not None]
    if not read or not photo.parts:
        return {}
    found = agreement([pixels.hash for _, pixels in read], [part.hash for part in photo.parts])
    nearest = {}
    for (path, pixels), row in zip(read, found.tolist(), strict=True):
        own = thumbnail(pixels.small)
        same = [value for part, value in zip(photo.parts, row, strict=True) if value >= COPY and alike(part.thumbnail, own)]
        nearest[path] = Near(photo.name, max(same or row), bool(same))
    return nearest


def _attracts(found: Iterable[Near]) -> list[dict[str, object]]:
    return [{"photo": photo, "images": images} for photo, images in Counter(near.photo for near in found).most_common(10)]


def _too_few(photos: int) -> str:
    return f"{count(photos, 'photo')} that differ: too few to know how near they are to each other (at least {LEAST_PHOTOS})."


COPY_LAYOUT = CopyRisk(
    "copy_layout",
    "Nearest by layout",
    "How near an image comes to a training photo by where light, colours and shapes are, against how near the photos are to "
    "each other and the base's images to the photos. Pose, framing and background of a photo that come back unasked were "
    "memorised.",
    f"It finds copies of the layout, not a face that is copied into another scene. {LIMITS_OF_PHOTOS}",
    ByLayout(),
)
COPY_HASH = CopyRisk(
    "copy_hash",
    "Nearest by hash",
    "In how many bits of a perceptual hash an image agrees with a training photo, also with a part of it, mirrored or saved "
    "again. 0.5 is chance. From 0.84 on it is a copy if the colours are where the photo has them too.",
    f"A plain image, or one with the same simple layout, agrees by chance more often. {LIMITS_OF_PHOTOS}",
    ByHash(),
)
