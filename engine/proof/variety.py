"""How much images of the same prompt differ between seeds, against the base's."""

from __future__ import annotations

import itertools
import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from loratui.engine.proof.against_base import NO_BASE
from loratui.engine.proof.protocol import GONE, References, Shot, Value

SAME = 0.02
"""Mean distance up to which images are the same but for noise."""
FAR_LESS, LESS, MORE = 0.5, 0.8, 1.25
"""Shares of the base's variety for each word."""


@dataclass(frozen=True)
class Variety:
    """The mean distance between seeds."""

    id: str = "variety"
    title: str = "Variety"
    unit: str = "distance, 0 to 1"
    about: str = (
        "How much the images of one prompt differ from seed to seed, against the base's with the same seeds. A memorised "
        "photo comes back with every seed: then there is little variety left."
    )
    limits: str = (
        "It compares colours and shapes at 16 × 16, so it sees another background rather than another expression. A LoRA "
        "of one person or style varies less than the base by right."
    )

    def needs(self, references: References) -> str:
        """Nothing but the images."""
        del references
        return ""

    def of(self, images: Sequence[Shot], references: References) -> Value:
        """The mean over prompts, and the base's over the same prompts and seeds."""
        by_prompt = _by_prompt(images)
        if not by_prompt:
            return Value.not_known(GONE)
        of_seed = _distances(by_prompt)
        if not of_seed:
            return Value.not_known("There is one seed for each prompt. Variety needs at least two.")
        value = statistics.fmean(of_seed.values())
        spread = statistics.stdev(of_seed.values())
        base, ratio = self._of_base(by_prompt, references)
        if base is None:
            return Value(value, spread, figure=f"{value:.3f}", means=_alone(value), unknown=NO_BASE)
        if ratio is None:
            return Value(value, spread, base, figure=f"{value:.3f}", means="the base's images do not differ either")
        means = _alone(value) or _against(ratio)
        more = {"ratio": round(ratio, 4)}
        return Value(value, spread, base, figure=f"{ratio:.2f} of the base's", means=means, more=more)

    def _of_base(self, by_prompt: dict[str, list[Shot]], references: References) -> tuple[float | None, float | None]:
        """The base's over the same prompts and seeds, and the mean share of it that the images of each prompt have: a prompt that
        leaves much open must not count more."""
        bases = {
            prompt: [references.base[s.key] for s in shots if s.key in references.base] for prompt, shots in by_prompt.items()
        }
        found = _distances(_by_prompt([bare for shots in bases.values() for bare in shots]))
        if not found:
            return None, None
        shares = []
        for prompt, shots in by_prompt.items():
            own, bare = _distances({prompt: shots}), _distances(_by_prompt(bases[prompt]))
            if own and bare and (base := statistics.fmean(bare.values())) > SAME / 2:
                shares.append(statistics.fmean(own.values()) / base)
        return statistics.fmean(found.values()), statistics.fmean(shares) if shares else None


def _by_prompt(images: Sequence[Shot]) -> dict[str, list[Shot]]:
    found: dict[str, list[Shot]] = defaultdict(list)
    for shot in images:
        if shot.pixels is not None:
            found[shot.prompt].append(shot)
    return found


def _distances(by_prompt: dict[str, list[Shot]]) -> dict[int, float]:
    """The mean distance of each seed's images to those of the other seeds."""
    of_seed: dict[int, list[float]] = defaultdict(list)
    for shots in by_prompt.values():
        small = {shot.path: np.frombuffer(shot.pixels.small, np.uint8) / 255.0 for shot in shots if shot.pixels}
        for one, other in itertools.combinations(shots, 2):
            if one.seed != other.seed:
                distance = float(np.sqrt(np.mean((small[one.path] - small[other.path]) ** 2)))
                of_seed[one.seed].append(distance)
                of_seed[other.seed].append(distance)
    return {seed: statistics.fmean(values) for seed, values in of_seed.items()}


def _alone(value: float) -> str:
    return "every seed gives nearly the same image" if value <= SAME else ""


def _against(ratio: float) -> str:
    if ratio < FAR_LESS:
        return "far less varied than the base"
    if ratio < LESS:
        return "less varied than the base"
    return "more varied than the base" if ratio > MORE else "as varied as the base"


VARIETY = Variety()
