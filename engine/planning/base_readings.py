"""What an untouched base made of a person's images, and what it must have been mistaken for where that is no sense. No torch.

All losses are mean squared errors over several noise levels with fixed noise. The limits come from readings of the embedded
bases: right ones on their own drawings, on photos, textures, pages and plain colours that they never saw, and broken ones
(docs/performance.md, "What a base makes of images"). They are set where no right base came near, however foreign the
images, so a base is refused only where something is surely wrong.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from loratui.engine import families
from loratui.engine.findings import Finding
from loratui.presets.schema import Family

LEVELS = (0.1, 0.3, 0.5, 0.7, 0.9)
"""Noise levels as numbers that training could draw: 0 is a clean image, 1 pure noise."""
JUDGED = slice(1, 4)
"""Near a clean image a base knows little of images that it never saw, and near pure noise there is nothing to know."""

MOST_OF_LINEAR, MOST_OF_LINEAR_EMBEDDED = 1.0, 1.4
"""A base's loss against that of the best multiple of the input, which knows nothing of images and is never worse than
predicting nothing. The embedded bases have 0.03 to 0.09 on their own kind and up to 1.18 on images that they never saw the
like of; with a foreign VAE they have 1.6 and more. A full base has seen images of every kind."""
NOISE_AT_THE_END = 0.3
"""Read as noise near pure noise: what predicts noise has 0.01 there even on foreign images, what predicts v has 0.8."""
LATENT_STD = (0.25, 3.0)
"""Of scaled latents: 0.59 to 1.53 was met, on plain colours too."""
NOT_THE_IMAGE = ((13.0, 0.6), (18.0, 0.3))
"""PSNR in dB and correlation of an image that the VAE encoded and decoded, below both of a pair: right ones have 17 dB and 0.4
on textures and 19 dB and 0.5 on a dark image, scrambled ones 9 to 16 dB and at most 0.22."""
SCALE_OFF = 0.02
LEAST_TEXT_GAIN = 0.9
"""Loss with an empty caption against that with the own: 1.03 to 1.17 on a base's own kind, 0.98 to 1.02 on other images."""


@dataclass(frozen=True, kw_only=True)
class BaseReadings:
    """What was measured of one base. Each tuple has a number for each of `levels`."""

    family: Family
    embedded: bool
    prediction: str
    """What the base is taken to predict: `epsilon`, `v` or `flow`."""
    levels: tuple[float, ...]
    noise: tuple[float, ...]
    """Share of noise in the input at each level: √(1−ᾱ), or σ."""
    loss: tuple[float, ...]
    nothing: tuple[float, ...]
    """The loss of predicting zero."""
    linear: tuple[float, ...]
    """The loss of the best multiple of the input."""
    other: tuple[float, ...]
    """The loss of the same answers if the base predicted the other of epsilon and v; empty for flow."""
    cosine: tuple[float, ...]
    """Between answer and target; below 0 the answer points the other way."""
    text_gain: float | None
    """Loss with an empty caption against that with the own; None where all captions are empty or it was not read."""
    latent_mean: float
    latent_std: float
    vae_scale: tuple[float, float] | None
    """Scaling factor and shift; None where each channel has its own."""
    vae_psnr_db: float | None
    """Of one image, encoded and decoded; None where memory did not suffice."""
    vae_correlation: float | None
    images: int
    draws: int
    """Noises for each level."""
    seconds: float

    @property
    def of_nothing(self) -> float:
        """Mean share of the loss of predicting nothing, over the levels that are judged."""
        return _ratio(self.loss, self.nothing)

    @property
    def of_linear(self) -> float:
        """Mean share of the loss of the best multiple of the input."""
        return _ratio(self.loss, self.linear)

    def to_json(self) -> dict[str, Any]:
        """All of it with plain values."""
        names = {field.name: field.name for field in dataclasses.fields(self)}
        names["images"] = "pictures"  # its key from the first
        return {key: _rounded(getattr(self, name)) for name, key in names.items()} | {
            "of_nothing": _rounded(self.of_nothing),
            "of_linear": _rounded(self.of_linear),
        }


def judge(read: BaseReadings) -> Finding | None:
    """The mistake that explains the readings best; None for a base that is what it was taken for, as far as can be told."""
    return next((found for rule in MISTAKES for found in rule(read)), None)


def _not_finite(read: BaseReadings) -> Iterator[Finding]:
    if not all(math.isfinite(number) for number in (*read.loss, read.latent_mean, read.latent_std)):
        yield Finding.of("base_mistaken.not_finite")


def _vae(read: BaseReadings) -> Iterator[Finding]:
    psnr_db, correlation = read.vae_psnr_db, read.vae_correlation
    if psnr_db is None or correlation is None:
        return
    if any(psnr_db < least and correlation < alike for least, alike in NOT_THE_IMAGE):
        yield Finding.of("base_mistaken.vae", psnr_db=psnr_db)


def _scale(read: BaseReadings) -> Iterator[Finding]:
    low, high = LATENT_STD
    off, scale = False, "each channel by numbers of its own"
    if read.vae_scale is not None:
        (scaling, shift), usual = read.vae_scale, families.family(read.family).vae
        off = abs(scaling / usual.scaling - 1) > SCALE_OFF or abs(shift - usual.shift) > SCALE_OFF
        told = f"scaling factor {scaling:g}" + (f", shift {shift:g}" if shift or usual.shift else "")
        should = f", where {usual.scaling:g}{f' and {usual.shift:g}' if usual.shift else ''} is the family's"
        scale = told if read.embedded else told + should
    if not low <= read.latent_std <= high or (off and not read.embedded):
        yield Finding.of("base_mistaken.vae_scale", scale=scale, spread=read.latent_std)


def _prediction(read: BaseReadings) -> Iterator[Finding]:
    """Near pure noise the two differ most, and there a base that predicts noise is right whatever the images show."""
    if not read.other:
        return
    as_epsilon = (read.loss if read.prediction == "epsilon" else read.other)[-1]
    own, other = read.of_nothing, _mean(read.other)
    right = ""
    if read.prediction == "v" and as_epsilon < NOISE_AT_THE_END:
        right = "epsilon"
    elif read.prediction == "epsilon" and as_epsilon > 2 * NOISE_AT_THE_END and other < 0.9 * own and _mean(read.cosine) > 0.25:
        right = "v"
    if right:
        fix = {"base.prediction": right}
        yield Finding.of("base_mistaken.prediction", told=read.prediction, right=right, own=own, other=other, settings=fix)


def _sign(read: BaseReadings) -> Iterator[Finding]:
    if _mean(read.cosine) <= -0.4:
        yield Finding.of("base_mistaken.sign")


def _nothing(read: BaseReadings) -> Iterator[Finding]:
    if read.of_linear >= (MOST_OF_LINEAR_EMBEDDED if read.embedded else MOST_OF_LINEAR):
        yield Finding.of("base_mistaken.nothing", of_nothing=read.of_nothing, of_linear=read.of_linear)


def _text(read: BaseReadings) -> Iterator[Finding]:
    if read.text_gain is not None and read.text_gain < LEAST_TEXT_GAIN:
        yield Finding.of("base_mistaken.text", gain=read.text_gain)


MISTAKES: tuple[Callable[[BaseReadings], Iterator[Finding]], ...] = (
    _not_finite,
    _vae,
    _scale,
    _sign,
    _prediction,
    _nothing,
    _text,
)
"""The surest first."""


def _ratio(over: Sequence[float], under: Sequence[float]) -> float:
    shares = [a / b if b else math.inf for a, b in zip(over, under, strict=True)]
    return _mean(shares)


def _mean(values: Sequence[float]) -> float:
    judged = values[JUDGED]
    return sum(judged) / len(judged)


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 4) if math.isfinite(value) else None
    return [_rounded(one) for one in value] if isinstance(value, tuple) else value
