"""What is natural among the photos, from each against the others (leave-one-out), and where images fall in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from loratui.engine.proof.protocol import CLEARLY, LEAST_PHOTOS, Shot, Value, by_seed, natural
from loratui.engine.words import count

Matrix = NDArray[np.float64]
Vector = Sequence[float]
"""What a model says of an image."""
MOSTLY = 0.5
"""Share of the images from which a word is said of all."""
SOME_COPIED = 0.2
"""Share of images above the photos' own nearness from which it is said."""


def similarity(ones: Sequence[Vector], others: Sequence[Vector]) -> Matrix:
    """1 − d² / 2 for each pair, where d is the distance of the two descriptions: the cosine, where they have length 1."""
    a, b = np.array(ones, dtype=np.float64), np.array(others, dtype=np.float64)
    found: Matrix = 1 - np.maximum((a**2).sum(1)[:, None] + (b**2).sum(1)[None, :] - 2 * a @ b.T, 0) / 2
    return found


def among(photos: Sequence[Vector]) -> list[tuple[float, float]]:
    """For each photo, its mean and its largest similarity to the others; empty for fewer than two."""
    if len(photos) < 2:
        return []
    found = similarity(photos, photos)
    others = ~np.eye(len(photos), dtype=bool)
    return [(float(row[keep].mean()), float(row[keep].max())) for row, keep in zip(found, others, strict=True)]


def copied(to_photos: Matrix, photos: Sequence[Vector]) -> NDArray[np.bool_]:
    """For each row of similarities to the photos: whether it is nearer to one photo than the photos are to each other, and this
    nearness stands out from that to the other photos as it does for no photo. A face in the middle of all photos is near to each
    of them, more than they are to each other, and no copy."""
    own = among(photos)
    nearest = natural([most for _, most in own])
    stands_out = natural([most - mean for mean, most in own])
    assert nearest is not None
    assert stands_out is not None
    most = to_photos.max(axis=1)
    found: NDArray[np.bool_] = (most > nearest[1] + CLEARLY) & (most - to_photos.mean(axis=1) > stands_out[1] + CLEARLY)
    return found


def placed(
    shots: Sequence[Shot], own: Sequence[Vector], bases: Sequence[Vector], photos: Sequence[Vector], which: str
) -> Value:
    """The mean similarity of images to the photos, the natural range, and where the images fall.

    `own`: what was read of each image; `bases`: of the base's images; `which`: words that say which photos count, before `that differ`.
    """
    to_photos = similarity(own, photos)
    each = to_photos.mean(axis=1)
    value, spread = by_seed(zip(shots, each.tolist(), strict=True))
    base = float(similarity(bases, photos).mean()) if bases else None
    found = {shot.path: one for shot, one in zip(shots, each.tolist(), strict=True)}
    bounds = natural([mean for mean, _ in among(photos)])
    if bounds is None:
        unknown = (
            f"{count(len(photos), 'photo')} {which}that differ: too few to know what is natural (at least {LEAST_PHOTOS})."
        )
        return Value(value, spread, base, figure=f"{value:.2f}", unknown=unknown, images=found)
    above = copied(to_photos, photos)
    below = ~above & (each < bounds[0] - CLEARLY)
    shares = {"below": float(below.mean()), "within": float((~above & ~below).mean()), "above": float(above.mean())}
    return Value(
        value,
        spread,
        base,
        bounds,
        figure=f"{value:.2f}",
        means=_means(shares),
        images=found,
        more={name: round(share, 4) for name, share in shares.items()} | {"compared": len(shots), "photos": len(photos)},
    )


def _means(shares: Mapping[str, float]) -> str:
    if shares["above"] >= MOSTLY:
        return "copies of photos rather than a likeness"
    copies = f"; {shares['above']:.0%} as near as a copy" if shares["above"] >= SOME_COPIED else ""
    if shares["within"] >= MOSTLY:
        return "as like as the photos are to each other" + copies
    if shares["below"] > MOSTLY:
        return "less like than the photos are to each other" + copies
    return "partly as like as the photos are to each other" + copies
