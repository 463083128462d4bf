"""The verdict on a run from its measured parts and from what the person said, who has the last word."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from loratui.engine.proof.notes import PART_IDS
from loratui.engine.proof.verdict.advice import Seen, advice
from loratui.engine.proof.verdict.axes import Measured, Reading, read_axes
from loratui.engine.proof.verdict.best import best
from loratui.engine.proof.verdict.marked import for_marks
from loratui.engine.proof.verdict.rules import Rules, Weighed, reasons, rules, weigh

if TYPE_CHECKING:
    from loratui.engine.runs.held_out import HeldOut
    from loratui.engine.runs.image_losses import Pull
    from loratui.presets.schema import Settings

BY_PERSON = 0.95
"""Confidence of what the person said."""
MEANS = {"weak": "undertrained", "sticks": "memorised", "same": "memorised", "stiff": "overtrained", "earlier": "overtrained"}
"""What a person marks as seen -> what it means."""
WORDS = {
    "weak": "You saw a weak likeness.",
    "sticks": "You saw details of the photos stick.",
    "same": "You saw that all images are the same.",
    "stiff": "You saw that quality or freedom is lost.",
    "earlier": "You saw that an earlier epoch is right.",
}
LOOKED_AT = {id for id in PART_IDS if id != "next"}
"""The parts that a person judges by their images."""
GOOD_STARS = 4
"""A file with so many is good, whatever was measured."""


class Mark(Protocol):
    """What a person thinks of a file."""

    @property
    def rating(self) -> int:
        """1 to 5 stars; 0: not rated."""


class Notes(Protocol):
    """What a person said about a validation."""

    @property
    def ticked(self) -> Mapping[str, float]:
        """Part -> when it was found good."""

    @property
    def seen(self) -> frozenset[str]:
        """Ids of what was seen."""

    @property
    def files(self) -> Mapping[str, Mark]:
        """LoRA file -> rating."""

    @property
    def chosen(self) -> str:
        """The file to keep; empty if none."""


@dataclass(frozen=True)
class Judged:
    """What a verdict is about."""

    file: str
    """LoRA file, relative to the run."""
    strength: float
    """At which it is meant to be used."""
    settings: Settings | None = None
    """Of the run; None for a file without one."""
    held_out: Sequence[HeldOut] = ()
    """The losses of held-out images while it was trained."""
    pulls: Sequence[Pull] = ()
    """Trained images that stood out by their loss."""
    shown: float | None = None
    """How often each image was shown, as a share of what the preset gives; None if that is not known."""


def judge(parts: Sequence[Mapping[str, Any]], notes: Notes | None, about: Judged, by: Rules | None = None) -> dict[str, Any]:
    """`verdict`, `best` and `advice` as `measures.json` has them. Missing measures count as unknown."""
    by = by or rules()
    found = Measured(parts, about.held_out, about.strength, about.shown)
    axes = read_axes(found)
    weighed = weigh(axes, by)
    verdict = said(notes, about.file) or _verdict(weighed, axes, by)
    liked = _most_liked(notes)
    use = best(found, about.file, about.strength, chosen=(notes.chosen if notes else "") or liked)
    if use is not None and notes is not None and not notes.chosen and use["file"] == liked:
        use["reason"] = "You gave this file the most stars."
    measured = advice(Seen(verdict["kind"], found, axes, about.file, about.settings, about.pulls), use)
    marked = for_marks(notes.seen if notes else (), about.settings)
    done = [one["do"] for one in measured]
    return {"verdict": verdict, "best": use, "advice": [*(one for one in marked if one["do"] not in done), *measured]}


def _verdict(weighed: Weighed, axes: Mapping[str, Reading], by: Rules) -> dict[str, Any]:
    confidence = round(weighed.confidence, 3)
    known = {sign.axis for sign in by.signs} & axes.keys()
    if not known or confidence < by.least or not _seen_of_images(axes):
        why = _why_unclear(weighed, axes)
        return {
            "kind": "unclear",
            "confidence": confidence if known else 0.0,
            "reasons": [*why, *reasons(weighed, axes, by, 2)],
        }
    return {"kind": weighed.kind, "confidence": confidence, "reasons": reasons(weighed, axes, by)}


def _seen_of_images(axes: Mapping[str, Reading]) -> bool:
    """Whether anything is known of the LoRA itself, and not of the photos alone."""
    return bool({"change", "likeness", "learnt", "copied"} & axes.keys())


def _why_unclear(weighed: Weighed, axes: Mapping[str, Reading]) -> list[str]:
    if not _seen_of_images(axes):
        return ["The images of the LoRA are not measured, so nothing can be said of it."]
    lacking = [name for name in ("likeness", "variety", "mirrored") if name not in axes]
    if lacking:
        words = {
            "likeness": "likeness",
            "variety": "variety over seeds",
            "mirrored": "the loss of the photos",
        }
        return [f"Not known: {', '.join(words[name] for name in lacking)}."]
    first, second = sorted(weighed.chances, key=weighed.chances.__getitem__)[:-3:-1]
    return [f"The measures speak for {first.replace('_', ' ')} and for {second.replace('_', ' ')}."]


def said(notes: Notes | None, file: str) -> dict[str, Any] | None:
    """The verdict on a file that the person gave outright, as `measures.json` has one; None if there is none."""
    if notes is None:
        return None
    marked = [id for id in MEANS if id in notes.seen]
    mark = notes.files.get(file)
    if marked:
        kinds = [MEANS[id] for id in marked]
        return {"kind": max(kinds, key=kinds.count), "confidence": BY_PERSON, "reasons": [WORDS[id] for id in marked]}
    if mark is not None and mark.rating >= GOOD_STARS:
        return {"kind": "good", "confidence": BY_PERSON, "reasons": [f"You gave the file {mark.rating} of 5 stars."]}
    if notes.ticked.keys() >= LOOKED_AT:
        return {"kind": "good", "confidence": BY_PERSON, "reasons": ["You ticked every part."]}
    return None


def _most_liked(notes: Notes | None) -> str:
    """The file with the most stars, if they are many and no other has as many; else empty."""
    stars = sorted(((mark.rating, file) for file, mark in notes.files.items()) if notes else (), reverse=True)
    first = [file for rating, file in stars if rating == stars[0][0] and rating >= GOOD_STARS]
    return first[0] if len(first) == 1 else ""
