"""Flow matching as in FLUX: x_σ = (1−σ)·x₀ + σ·ε, with the noise levels of training and of sampling."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from loratui.engine.families.model import NoisyInput, SamplePlan, first_noise
from loratui.engine.families.parts import on_device
from loratui.presets.schema import Training

SMALLEST = 2.0**-25
"""Half the distance between two drawn numbers; 0 itself has no quantile of the normal distribution."""

Denoise = Callable[[Tensor, Tensor], Tensor]
"""(B, C, …, h, w) input and (B,) σ -> prediction."""


def shift_of(tokens: int, config: Mapping[str, Any]) -> float:
    """The shift towards noise for an image of `tokens` tokens: e^μ, μ on a straight line through two sizes.

    By default FLUX.1-dev's line: μ = 0.5 at 256 tokens and 1.15 at 4096, not clamped.
    """
    least, most = config.get("base_image_seq_len", 256), config.get("max_image_seq_len", 4096)
    low, high = config.get("base_shift", 0.5), config.get("max_shift", 1.15)
    return math.exp(low + (high - low) * (tokens - least) / (most - least))


def trained_sigmas(uniform: Tensor, training: Training, shift: float) -> Tensor:
    """(B,) σ in (0, 1), fp64, from uniform numbers; `shift` is that of the images' size.

    With n = Φ⁻¹(u) and s = sigmoid(scale·n): `sigmoid` is s, `shift` and `flux_shift` are k·s / (1 + (k−1)·s).
    Source: Esser et al., "Scaling Rectified Flow Transformers for High-Resolution Image Synthesis", 2024, §3.1 and §5.3.2.
    """
    drawn = uniform.double().cpu().clamp(SMALLEST, 1 - SMALLEST)
    if training.timestep_sampling == "uniform":
        return drawn
    middle = torch.sigmoid(training.timestep_scale * torch.special.ndtri(drawn))
    k = {"sigmoid": 1.0, "shift": training.timestep_shift}.get(training.timestep_sampling, shift)
    return k * middle / (1 + (k - 1) * middle)


def add_noise(latents: Tensor, noise: Tensor, sigmas: Tensor) -> NoisyInput:
    """The input at σ, and the velocity ε − x₀ as the target; σ itself is the timestep, 0 to 1."""
    sigma = on_device(sigmas.float(), latents.device)
    share = sigma.view(-1, *(1 for _ in latents.shape[1:]))
    return NoisyInput((1 - share) * latents + share * noise, sigma, noise - latents, sigma)


@torch.no_grad()
def sample(
    plans: Sequence[SamplePlan],
    shape: tuple[int, ...],
    config: Mapping[str, Any],
    tokens: int,
    device: torch.device,
    denoise: Denoise,
    on_step: Callable[[int, int], None],
) -> Tensor:
    """(B, C, …, h, w) latents of B plans of one kind, each of `shape` (1, C, …, h, w), by Euler steps along the base's own schedule,
    shifted for the image's size."""
    from diffusers import FlowMatchEulerDiscreteScheduler

    scheduler = FlowMatchEulerDiscreteScheduler.from_config(dict(config))
    steps = plans[0].steps
    scheduler.set_timesteps(sigmas=np.linspace(1.0, 1 / steps, steps), mu=math.log(shift_of(tokens, config)))
    latents = first_noise(plans, shape).to(device)
    for done, timestep in enumerate(scheduler.timesteps, 1):
        prediction = denoise(latents, (timestep / 1000).expand(len(plans)).to(device)).float()
        latents = scheduler.step(prediction, timestep, latents).prev_sample
        on_step(done, steps)
    return latents
