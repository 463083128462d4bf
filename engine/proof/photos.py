"""Whether the photos and their captions can teach what is asked of them: the trigger, one person, photos that differ, captions that fit."""

from __future__ import annotations

import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from loratui.engine.proof.calibration import similarity
from loratui.engine.proof.losses import drop
from loratui.engine.proof.protocol import Photo, References, Shot, Value
from loratui.engine.words import count

LEAST_OF_A_GROUP = 0.15
"""Share of the faces that makes a group; fewer are odd photos."""
NO_LOSSES = "The base was not loaded for it: it is measured when images are made."


@dataclass(frozen=True)
class TriggerSaid:
    """The share of captions that have the trigger."""

    id: str = "trigger_said"
    title: str = "Captions with the trigger"
    unit: str = "share of the photos"
    about: str = (
        "How many photos have the trigger word in their caption. The LoRA learns nothing for a word that it never reads."
    )
    limits: str = "It compares letters. It does not know whether the word is a good trigger."

    def needs(self, references: References) -> str:
        """A trigger, and photos."""
        return references.no_photos if not references.photos else "" if references.trigger else "This run has no trigger word."

    def of(self, images: Sequence[Shot], references: References) -> Value:
        """The share, and a caption without it."""
        del images
        word = re.compile(rf"(?<!\w){re.escape(references.trigger)}(?!\w)")
        without = [photo for photo in references.photos if not all(map(word.search, photo.texts))]
        share = 1 - len(without) / len(references.photos)
        means = "all have it" if not without else f"{count(len(without), 'caption')} without “{references.trigger}”"
        return Value(share, figure=f"{share:.0%}", means=means, more={"without": [photo.name for photo in without[:20]]})


@dataclass(frozen=True)
class Distinct:
    """The share of photos that differ."""

    id: str = "distinct"
    title: str = "Photos that differ"
    unit: str = "share of the photos"
    about: str = (
        "How many photos are left if of nearly equal ones only one counts. Few that differ teach the photo, not the subject."
    )
    limits: str = "Two photos of the same moment can differ by enough to count as two."

    def needs(self, references: References) -> str:
        """Photos."""
        return references.no_photos if not references.photos else ""

    def of(self, images: Sequence[Shot], references: References) -> Value:
        """The share, and their number."""
        del images
        left = len(references.distinct())
        figure = f"{left} of {count(len(references.photos), 'photo')}"
        groups = [list(group[:20]) for group in references.likenesses[:20]]
        return Value(left / len(references.photos), figure=figure, means="differ", more={"distinct": left, "alike": groups})


@dataclass(frozen=True)
class People:
    """How many people the photos show."""

    id: str = "people"
    title: str = "People in the photos"
    unit: str = "people"
    about: str = (
        "Into how many groups the faces of the photos fall, by the limit of the face model's makers. Photos of two people "
        "under one name teach a mixture."
    )
    limits: str = (
        "Only photos with exactly one face. Brothers and sisters count as one person, a child and the same adult as two."
    )

    def needs(self, references: References) -> str:
        """A face model."""
        return references.no_faces or (references.no_photos if not references.photos else "")

    def of(self, images: Sequence[Shot], references: References) -> Value:
        """The number of groups that are large enough to be meant."""
        del images
        photos = [photo for photo in references.photos if photo.faces and photo.faces.count == 1 and photo.faces.embedding]
        if len(photos) < 2 or references.same_face is None:
            return Value.not_known("In fewer than two photos exactly one face was found.")
        groups = sorted(face_groups(photos, references.same_face), key=len, reverse=True)
        large = [group for group in groups if len(group) >= max(2, LEAST_OF_A_GROUP * len(photos))] or groups[:1]
        odd = [photo.name for group in groups if group not in large for photo in group]
        means = (
            "one person" if len(large) == 1 else f"{len(large)} people: {', '.join(str(len(group)) for group in large)} photos"
        )
        more = {"groups": [[photo.name for photo in group][:20] for group in large], "odd": odd[:20]}
        return Value(float(len(large)), figure=str(len(large)), means=means, more=more)


@dataclass(frozen=True)
class CaptionsFit:
    """How often the base finds a photo's own caption more fitting than another's."""

    id: str = "captions_fit"
    title: str = "Captions fit the photos"
    unit: str = "share of comparisons"
    about: str = (
        "How often the base itself, by its loss, prefers a photo's own caption to that of another photo. 0.5 is chance: then "
        "the captions say nothing true of the photos, or nothing at all."
    )
    limits: str = (
        "A base that does not know what the captions speak of prefers none. Captions that hardly differ are near chance."
    )

    def needs(self, references: References) -> str:
        """Losses, and captions that differ."""
        return (
            "" if references.losses.captions else NO_LOSSES if not references.losses.photos else "The captions do not differ."
        )

    def of(self, images: Sequence[Shot], references: References) -> Value:
        """The share of comparisons that the own caption wins, and the photos that lose all of theirs."""
        del images
        won = {name: [drop(pair.other, pair.own) > 0 for pair in pairs] for name, pairs in references.losses.captions.items()}
        every = [one for wins in won.values() for one in wins]
        share = statistics.fmean(every)
        gains = [drop(pair.other, pair.own) for pairs in references.losses.captions.values() for pair in pairs]
        more = {
            "compared": len(every),
            "gain": round(statistics.fmean(gains), 5),
            "lost": [n for n, w in won.items() if not any(w)],
        }
        return Value(
            share, figure=f"{share:.0%}", means="own captions preferred" if share > 0.6 else "no better than chance", more=more
        )


def face_groups(photos: Sequence[Photo], same: float) -> list[list[Photo]]:
    """Photos by people: groups are joined while the mean similarity of two is at least `same`."""
    found = similarity(
        [photo.faces.embedding for photo in photos if photo.faces], [p.faces.embedding for p in photos if p.faces]
    )
    groups = [[at] for at in range(len(photos))]
    while len(groups) > 1:
        near, a, b = max(
            (float(found[groups[a]][:, groups[b]].mean()), a, b) for a in range(len(groups)) for b in range(a + 1, len(groups))
        )
        if near < same:
            break
        groups[a] += groups.pop(b)
    return [[photos[at] for at in group] for group in groups]


TRIGGER_SAID = TriggerSaid()
DISTINCT = Distinct()
PEOPLE = People()
CAPTIONS_FIT = CaptionsFit()
