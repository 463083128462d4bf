"""The distance between prediction and target, and the weight of each noise level."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Prediction = Literal["epsilon", "v"]
"""What a denoiser predicts: the noise, or the velocity of Salimans and Ho."""


def per_sample_loss(
    prediction: Tensor, target: Tensor, *, kind: Literal["mse", "huber"] = "mse", huber_c: float = 0.1
) -> Tensor:
    """(B,) mean loss of each sample over its other dimensions, in fp32.

    `huber` is the pseudo-Huber loss 2c(√(d² + c²) − c), which is quadratic for |d| ≪ c and linear beyond.
    """
    difference = prediction.float() - target.float()
    square = difference.square()
    value = square if kind == "mse" else 2 * huber_c * (torch.sqrt(square + huber_c**2) - huber_c)
    return value.flatten(1).mean(1)


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
