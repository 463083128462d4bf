"""What the weights of the loss do to the learning rate, taken together over all noise levels."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache

from loratui.engine import families
from loratui.presets.schema import Settings

STEPS = 1000
FIRST_BETA, LAST_BETA = 0.00085, 0.012
"""SD's noise schedule ("scaled linear"), which SD1.5, SDXL and their finetunes share."""

SNR_CAP = 1000.0
"""Debiased estimation and the scaling of v take no ratio above this."""

WORTH_SAYING = 1.25
"""A factor on the learning rate below this, or above its inverse, is lost in the choice of the rate."""


def mean_loss_weight(settings: Settings) -> float:
    """Mean weight of the loss over the timesteps that training draws: it works like a factor on the learning rate.

    1 without weights, and for flow matching. A base is taken to predict noise unless the recipe says v.
    """
    training, v = settings.training, settings.base.prediction == "v"
    if families.family(settings.base.family).objective == "flow" or not (
        training.min_snr_gamma or training.debiased_estimation or training.scale_v_loss
    ):
        return 1.0
    total = shares = 0.0
    for t, snr in enumerate(_snr()):
        # The share of draws in [t, t+1) when t = 1000·u^(1/(1+b)) and u is uniform.
        share = ((t + 1) / STEPS) ** (1 + training.high_noise_bias) - (t / STEPS) ** (1 + training.high_noise_bias)
        total += share * math.prod(_weights(settings, snr, v))
        shares += share
    return total / shares


def in_words(settings: Settings) -> str:
    """Such as "its loss weights work like a 3.0 times higher rate"; empty where they hardly change it."""
    factor = mean_loss_weight(settings)
    if 1 / WORTH_SAYING < factor < WORTH_SAYING:
        return ""
    return f"its loss weights work like {f'a {factor:.1f} times higher' if factor > 1 else f'1/{1 / factor:.1f} of the'} rate"


def _weights(settings: Settings, snr: float, v: bool) -> Iterator[float]:
    training, capped = settings.training, min(snr, SNR_CAP)
    if training.min_snr_gamma:
        yield min(snr, training.min_snr_gamma) / (snr + 1 if v else snr)
    if training.debiased_estimation:
        yield 1 / (capped + 1) if v else capped**-0.5
    if training.scale_v_loss and v:
        yield capped / (capped + 1)


@lru_cache(maxsize=1)
def _snr() -> tuple[float, ...]:
    """ᾱ/(1−ᾱ) of each timestep."""
    kept, ratios = 1.0, []
    for t in range(STEPS):
        kept *= 1 - (math.sqrt(FIRST_BETA) + (math.sqrt(LAST_BETA) - math.sqrt(FIRST_BETA)) * t / (STEPS - 1)) ** 2
        ratios.append(kept / (1 - kept))
    return tuple(ratios)
