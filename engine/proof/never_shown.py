"""Whether the images show what was asked for and what the set never shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from loratui.engine.proof.protocol import References, Shot, Value, by_seed
from loratui.engine.words import count

AS_THE_BASE = 0.8
"""Share of the base's from which it is as good as the base's."""
LOST = 0.4
"""Share of the base's up to which it is lost."""


@dataclass(frozen=True)
class NeverShown:
    """The share of images that show it, against the base's."""

    id: str = "never_shown"
    title: str = "Never shown in the photos"
    unit: str = "share of the images"
    about: str = (
        "Two things that none of your captions names are asked for, such as a hat or a view from behind. A LoRA that learnt too "
        "much can no longer make them, though the base can: they are the first to go."
    )
    limits: str = (
        "Captions do not say all that photos show. A few images say little. What it asks for may not suit the subject: compare "
        "with the base's images."
    )

    def needs(self, references: References) -> str:
        """That something is never shown."""
        return "" if references.never else "There are no captions, or they name all that it could ask for."

    def of(self, images: Sequence[Shot], references: References) -> Value:
        """The share of the images in which the reader sees what was asked for."""
        more: Mapping[str, Any] = {"prompts": list(references.never)}
        read = [(shot, float(shot.shows)) for shot in images if shot.shows is not None]
        if not read:
            return Value(
                unknown=f"Nothing here can read it. Look yourself at the images of {asked_for(references)}.", more=more
            )
        value, spread = by_seed(read)
        bases = [
            (bare, float(bare.shows)) for shot, _ in read if (bare := references.base.get(shot.key)) and bare.shows is not None
        ]
        base = by_seed(bases)[0] if bases else None
        figure = f"{value:.0%} of {count(len(read), 'image')}" + ("" if base is None else f", the base's {base:.0%}")
        return Value(
            value,
            spread,
            base,
            figure=figure,
            means=f"{_means(value, base)} ({asked_for(references)})",
            images={shot.path: shown for shot, shown in read},
            more={**more, "ratio": value / base if base else None},
        )


def asked_for(references: References) -> str:
    """The prompts, in words."""
    return " and ".join(f"“{prompt}”" for prompt in references.never)


def _means(value: float, base: float | None) -> str:
    if base is None:
        return "without the base's images to compare with"
    if not base:
        return "the base cannot make it either"
    if value >= AS_THE_BASE * base:
        return "it still makes what the photos never show"
    return "it makes only what the photos show" if value <= LOST * base else "it partly lost what the photos never show"


NEVER_SHOWN = NeverShown()
