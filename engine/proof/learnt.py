"""What the LoRA has learnt, by losses at fixed noise and by how far its images are from the base's."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from loratui.engine.proof.against_base import NO_BASE
from loratui.engine.proof.losses import LEVELS, Pair, Row, drop
from loratui.engine.proof.photos import NO_LOSSES
from loratui.engine.proof.protocol import GONE, References, Shot, Value, by_seed

_NOTHING = 1e-3
_NOISY = 2
"""Levels from here on are noisy: there the subject is settled, before them fine detail."""
_LITTLE = 0.02
"""Share of the loss below which hardly anything is learnt."""
_MOSTLY, _HARDLY = 0.6, 0.3
"""Shares of what was learnt, or of what the base does, for each word."""
_SAME = 0.15
"""Share of the distance between seeds up to which an image is the base's."""


def _of_file(images: Sequence[Shot], references: References) -> Mapping[str, Pair]:
    """The losses with the images' file, where they are known at their strength."""
    first = images[0]
    return references.losses.of_file.get(first.file, {}) if first.strength == references.losses.strength else {}


def _by_level(pairs: Sequence[tuple[Row, Row]]) -> list[float]:
    """The mean drop at each level of noise."""
    return [statistics.fmean(drop(old[at : at + 1], new[at : at + 1]) for old, new in pairs) for at in range(len(LEVELS))]


@dataclass(frozen=True)
class Learnt:
    """How much smaller the loss of the photos is with the LoRA."""

    id: str = "learnt"
    title: str = "Photos learnt"
    unit: str = "share of the base's loss"
    about: str = "By how much the LoRA makes the loss of the photos smaller than the base's, at the same noise. Near 0 it has learnt nothing."
    limits: str = "How much is right depends on the base and the photos. It rises with memorising too: see the mirrored photos."

    def needs(self, references: References) -> str:
        """Losses."""
        return "" if references.losses.photos else NO_LOSSES

    def of(self, images: Sequence[Shot], references: References) -> Value:
        """The mean over the photos."""
        found = _of_file(images, references)
        drops = {
            name: drop(references.losses.photos[name].own, pair.own)
            for name, pair in found.items()
            if name in references.losses.photos
        }
        if not drops:
            return Value.not_known("It is measured at the usual strength, of a few files.")
        value = statistics.fmean(drops.values())
        levels = _by_level([(references.losses.photos[name].own, found[name].own) for name in drops])
        means = "the photos are learnt" if value >= _LITTLE else "hardly anything is learnt"
        more = {"levels": [round(one, 4) for one in levels], "photos": {name: round(one, 4) for name, one in drops.items()}}
        return Value(value, figure=f"{value:.1%} less loss", means=means, more=more)


@dataclass(frozen=True)
class Mirrored:
    """The share of what was learnt that holds for mirrored photos too, which were never trained on."""

    id: str = "mirrored"
    title: str = "Learnt of mirrored photos"
    unit: str = "share of what was learnt"
    about: str = (
        "The photos mirrored show the same subject and were never trained on. How much smaller the LoRA makes their loss, as a "
        "share of what it does to the photos themselves: near 1 it has learnt the subject, near 0 or below the photos."
    )
    limits: str = "Nothing with flipped images in the training. A one-sided subject is less than 1 by right."

    def needs(self, references: References) -> str:
        """Losses, of photos whose mirror images were not trained on."""
        if references.losses.flipped:
            return "Mirrored images were trained on too."
        return "" if references.losses.photos else NO_LOSSES

    def of(self, images: Sequence[Shot], references: References) -> Value:
        """The mean over the photos."""
        base, found = references.losses.photos, _of_file(images, references)
        pairs = [(base[name], pair) for name, pair in found.items() if name in base]
        if not pairs:
            return Value.not_known("It is measured at the usual strength, of a few files.")
        own = statistics.fmean(drop(before.own[_NOISY:], pair.own[_NOISY:]) for before, pair in pairs)
        levels = _by_level([(before.other, pair.other) for before, pair in pairs])
        mirrored = statistics.fmean(levels[_NOISY:])
        if own <= _NOTHING:
            return Value.not_known("The LoRA has learnt too little of the photos.")
        share = mirrored / own
        means = (
            "the subject"
            if share >= _MOSTLY
            else "partly the photos"
            if share >= _HARDLY
            else "the photos rather than the subject"
        )
        more = {"drop": round(mirrored, 4), "levels": [round(one, 4) for one in levels]}
        return Value(share, figure=f"{share:.2f} of what was learnt", means=means, more=more)


@dataclass(frozen=True)
class Change:
    """How far the images are from the base's of the same prompt and seed."""

    id: str = "change"
    title: str = "Change from the base"
    unit: str = "share of the distance between seeds"
    about: str = "How far an image is from the base's of the same prompt and seed, as a share of how far the base's seeds are apart. Near 0 the LoRA does nothing."
    limits: str = "Colours and shapes at 16 × 16. It does not say whether the change is a good one."

    def needs(self, references: References) -> str:
        """The base's images."""
        return "" if references.base else NO_BASE

    def of(self, images: Sequence[Shot], references: References) -> Value:
        """The mean distance."""
        pairs = [(shot, references.base[shot.key]) for shot in images if shot.key in references.base]
        far = [(shot, _distance(shot, bare)) for shot, bare in pairs if shot.pixels and bare.pixels]
        if not far:
            return Value.not_known(GONE if pairs else NO_BASE)
        among = [
            _distance(one, other)
            for one in references.base.values()
            for other in references.base.values()
            if one.prompt == other.prompt and one.seed < other.seed and one.pixels and other.pixels
        ]
        value, spread = by_seed(far)
        if not among:
            return Value(
                value,
                spread,
                figure=f"{value:.3f}",
                unknown="There is one seed for each prompt.",
                images={s.path: v for s, v in far},
            )
        base = statistics.fmean(among)
        ratio = value / max(base, _NOTHING)
        means = "hardly differs from the base's" if ratio < _SAME else "differs from the base's"
        more = {"ratio": round(ratio, 4)}
        return Value(value, spread, base, figure=f"{ratio:.2f}", means=means, images={s.path: v for s, v in far}, more=more)


def _distance(one: Shot, other: Shot) -> float:
    assert one.pixels is not None
    assert other.pixels is not None
    a, b = (np.frombuffer(shot.pixels.small, np.uint8) / 255.0 for shot in (one, other) if shot.pixels)
    return float(np.sqrt(np.mean((a - b) ** 2)))


LEARNT = Learnt()
MIRRORED = Mirrored()
CHANGE = Change()
