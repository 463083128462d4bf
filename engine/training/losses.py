"""The distance between prediction and target, and the weight of each noise level."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from loratui.engine.families.model import Prediction
from loratui.presets.schema import Training

LEAST_SIGMA = 1e-2
"""Below it the weight σ⁻² of a nearly clean image would outweigh all others."""


def weighted_loss(
    prediction: Tensor,
    target: Tensor,
    noise_level: Tensor,
    snr: Tensor | None,
    settings: Training,
    predicts: Prediction,
    masks: Tensor | None = None,
) -> Tensor:
    """(B,) the loss of each image under `settings`; `masks` as in `per_sample_loss`.

    `noise_level` is (B,) each input's share of the way to pure noise, 0 to 1 (t/T or σ); `snr` is (B,) its
    signal-to-noise ratio, None for flow matching, which has no weights made from it.
    """
    width = huber_width(settings, noise_level, snr) if settings.loss == "huber" else settings.huber_c
    value = per_sample_loss(prediction, target, kind=settings.loss, huber_c=width, masks=masks)
    if snr is None:
        assert settings.min_snr_gamma == 0, "refused before the start"
        assert not settings.debiased_estimation
        assert not settings.scale_v_loss
        return value * flow_weight(noise_level, settings)
    if settings.min_snr_gamma:
        value = value * min_snr_weight(snr, settings.min_snr_gamma, predicts)
    if settings.debiased_estimation:
        value = value * debiased_weight(snr, predicts)
    if settings.scale_v_loss and predicts == "v":
        clipped = snr.clamp(max=1000.0)
        value = value * (clipped / (clipped + 1))  # the squared error of v weighted like that of ε; source: sd-scripts
    return value


def per_sample_loss(
    prediction: Tensor,
    target: Tensor,
    *,
    kind: Literal["mse", "huber"] = "mse",
    huber_c: Tensor | float = 0.1,
    masks: Tensor | None = None,
) -> Tensor:
    """(B,) mean loss of each sample over its other dimensions, in fp32.

    `huber` is the pseudo-Huber loss 2c(√(d² + c²) − c), which is quadratic for |d| ≪ c and linear beyond; c may differ
    for each sample, as (B,). `masks` are (B, h, w) weights of the latents' cells with a mean of 1 for each sample, so the loss
    is the weighted mean, and as large as without them where the error is the same everywhere.
    """
    difference = prediction.float() - target.float()
    square = difference.square()
    if kind == "mse":
        return _mean(square, masks)
    width = torch.as_tensor(huber_c, dtype=torch.float32, device=square.device).view(-1, *(1 for _ in square.shape[1:]))
    # The same as 2c(√(d² + c²) − c), whose difference has few digits left where d ≪ c.
    return _mean(2 * width * square / (torch.sqrt(square + width**2) + width), masks)


def _mean(value: Tensor, masks: Tensor | None) -> Tensor:
    """(B,) mean of (B, C, …, h, w)."""
    if masks is not None:
        value = value * masks.reshape(len(value), *(1 for _ in value.shape[1:-2]), *value.shape[-2:])
    return value.flatten(1).mean(1)


def huber_width(settings: Training, noise_level: Tensor, snr: Tensor | None) -> Tensor:
    """(B,) c of the Huber loss at each noise level; c₀ is `huber_c`.

    `exponential`: c₀^(t/T). `snr`: (1 − c₀)/(1 + σ)² + c₀ with σ = 1/√SNR. Source: sd-scripts, `get_huber_threshold`.
    """
    narrowest = settings.huber_c
    if settings.huber_schedule == "exponential":
        return torch.exp(noise_level.float() * math.log(narrowest))
    if settings.huber_schedule == "snr":
        assert snr is not None, "refused before for flow matching"
        return (1 - narrowest) / (1 + snr.rsqrt()).square() + narrowest
    return torch.full_like(noise_level, narrowest, dtype=torch.float32)


def flow_weight(sigma: Tensor, settings: Training) -> Tensor:
    """(B,) weight of a flow-matching loss at each σ: 1, σ⁻² (`sigma_sqrt`), or 2/(π(1 − 2σ + 2σ²)) (`cosmap`).

    Source: Esser et al., "Scaling Rectified Flow Transformers for High-Resolution Image Synthesis", 2024.
    """
    if settings.weighting == "sigma_sqrt":
        return sigma.clamp(min=LEAST_SIGMA).float() ** -2
    if settings.weighting == "cosmap":
        return 2 / (math.pi * (1 - 2 * sigma + 2 * sigma.square()))
    return torch.ones_like(sigma)


def min_snr_weight(snr: Tensor, gamma: float, prediction: Prediction) -> Tensor:
    """(B,) min-SNR weight: min(S, γ)/S for ε and min(S, γ)/(S+1) for v.

    Source: Hang et al., "Efficient Diffusion Training via Min-SNR Weighting Strategy", 2023. The v form has S+1 because
    the squared error of v is (S+1) times that of x₀.
    """
    clipped = snr.clamp(max=gamma)
    return clipped / snr if prediction == "epsilon" else clipped / (snr + 1)


def debiased_weight(snr: Tensor, prediction: Prediction) -> Tensor:
    """(B,) debiased-estimation weight: 1/√min(S, 1000) for ε, 1/(min(S, 1000)+1) for v.

    Its mean over uniform timesteps of SD's schedule is about 3, so it works like a three times higher learning rate.
    """
    clipped = snr.clamp(max=1000.0)
    return clipped.rsqrt() if prediction == "epsilon" else 1 / (clipped + 1)
