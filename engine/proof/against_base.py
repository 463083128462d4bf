"""Sharpness, saturation and clipping against the base's images of the same prompt and seed: signs of damage, not proof."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from loratui.engine.proof.pixels import Pixels
from loratui.engine.proof.protocol import GONE, References, Shot, Value, by_seed, of_pixels

UNCHANGED = 0.1
"""Share of the base's figure up to which nothing has changed; more where the seeds differ by more."""
UNCHANGED_CLIPPING = 0.02
"""Share of the pixels up to which clipping has not changed."""
_NOTHING = 1e-6
NO_BASE = "There are no base images of these prompts and seeds; make strength 0 too."


@dataclass(frozen=True)
class AgainstBase:
    """A figure of pixels, as a share of the base's."""

    id: str
    title: str
    unit: str
    about: str
    limits: str
    take: Callable[[Pixels], float]
    less: str
    more: str

    def needs(self, references: References) -> str:
        """Nothing: without base images the figure has only no meaning."""
        del references
        return ""

    def of(self, images: Sequence[Shot], references: References) -> Value:
        """The mean, and the base's."""
        found = of_pixels(images, self.take)
        if not found:
            return Value.not_known(GONE)
        pairs = [
            (shot, value, self.take(bare.pixels))
            for shot, value in found
            if (bare := references.base.get(shot.key)) is not None and bare.pixels is not None
        ]
        each = {shot.path: value for shot, value in found}
        if not pairs:
            value, spread = by_seed(found)
            return Value(value, spread, figure=f"{value:.3g} {self.unit}", unknown=NO_BASE, images=each)
        value, spread = by_seed((shot, value) for shot, value, _ in pairs)
        base = statistics.fmean(of_base for _, _, of_base in pairs)
        if base <= _NOTHING:
            return Value(
                value, spread, base, figure=f"{value:.3g} {self.unit}", means="the base's images have none", images=each
            )
        ratio = value / base
        by_pair = [(shot, own / of_base) for shot, own, of_base in pairs if of_base > _NOTHING]
        _, ratio_spread = by_seed(by_pair)
        tolerance = max(UNCHANGED, ratio_spread or 0.0)
        return Value(
            value,
            spread,
            base,
            figure=f"{ratio:.2f} of the base's",
            means=self._means(ratio, tolerance),
            images=each,
            more={"ratio": round(ratio, 4), "ratio_spread": None if ratio_spread is None else round(ratio_spread, 4)},
        )

    def _means(self, ratio: float, tolerance: float) -> str:
        if abs(ratio - 1) <= tolerance:
            return "unchanged"
        far = "far " if ratio < 0.5 or ratio > 2 else ""
        return f"{far}{self.less if ratio < 1 else self.more}"


@dataclass(frozen=True)
class Clipping:
    """The share of clipped pixels, which may be 0 in the base's images."""

    id: str = "clipped"
    title: str = "Clipped pixels"
    unit: str = "share of the pixels"
    about: str = (
        "The share of pixels in which a colour is at its darkest or brightest value. Many more than in the base's images "
        "are a sign of a burnt LoRA: too much strength, or too high a rate."
    )
    limits: str = "A prompt can ask for black, white or pure colours. It sees no other fault."

    def needs(self, references: References) -> str:
        """Nothing."""
        del references
        return ""

    def of(self, images: Sequence[Shot], references: References) -> Value:
        """The share, and the base's."""
        found = of_pixels(images, lambda pixels: pixels.clipped)
        if not found:
            return Value.not_known(GONE)
        each = {shot.path: value for shot, value in found}
        bases = {shot.key: bare.pixels.clipped for shot, _ in found if (bare := references.base.get(shot.key)) and bare.pixels}
        if not bases:
            value, spread = by_seed(found)
            return Value(value, spread, figure=f"{value:.1%}", unknown=NO_BASE, images=each)
        paired = [(shot, value) for shot, value in found if shot.key in bases]
        value, spread = by_seed(paired)
        base = statistics.fmean(bases[shot.key] for shot, _ in paired)
        _, of_change = by_seed((shot, own - bases[shot.key]) for shot, own in paired)
        changed = value - base
        if abs(changed) <= max(UNCHANGED_CLIPPING, of_change or 0.0):
            means = "unchanged"
        else:
            means = "more than the base: burnt?" if changed > 0 else "less than the base"
        return Value(value, spread, base, figure=f"{value:.1%}, base {base:.1%}", means=means, images=each)


SHARPNESS = AgainstBase(
    "sharpness",
    "Sharpness",
    "levels",
    "The contrast of fine detail, against the base's images of the same prompts and seeds. Training can make images soft, "
    "or rough.",
    "Grain and noise count as sharp, a soft background counts as blurred. A LoRA of a smooth style is softer by right.",
    lambda pixels: pixels.sharpness,
    "softer than the base",
    "rougher than the base: sharper, or grainy",
)
SATURATION = AgainstBase(
    "saturation",
    "Saturation",
    "0 to 1",
    "How strong the colours are, against the base's images of the same prompts and seeds. An overtrained LoRA often "
    "burns the colours in.",
    "A prompt or a style can ask for other colours. It does not see which colours they are.",
    lambda pixels: pixels.saturation,
    "paler than the base",
    "stronger colours than the base",
)
CLIPPED = Clipping()
