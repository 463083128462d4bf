"""Everything random in training, each draw a pure function of the run's seed, the batch's number and a purpose.

No draw depends on an earlier one, so a resumed run draws exactly what the uninterrupted run would have drawn.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from loratui.presets.schema import Training


def derived_seed(seed: int, *path: int | str) -> int:
    """A 63-bit seed from `seed` and a path such as ("noise", 41), well mixed."""
    text = ":".join(str(part) for part in (seed, *path))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def generator(seed: int, *path: int | str) -> torch.Generator:
    """A CPU generator for `derived_seed`; CPU, so that every machine draws the same numbers."""
    return torch.Generator("cpu").manual_seed(derived_seed(seed, *path))


@dataclass(frozen=True)
class Draw:
    """What one batch draws for latents of shape (B, C, …, h, w)."""

    noise: Tensor
    """(B, C, …, h, w) fp32, N(0, 1), offset and multi-resolution noise included."""
    uniform: Tensor
    """(B,) fp32 in [0, 1); the family turns it into timesteps or sigmas."""
    latent_noise: Tensor
    """(B, C, …, h, w) fp32, N(0, 1); picks one latent from the VAE's distribution."""
    input_noise: Tensor
    """(B, C, …, h, w) fp32: `noise`, perturbed where the input gets more noise than the target accounts for."""


def draw(shape: Sequence[int], *, seed: int, micro_step: int, settings: Training | None = None) -> Draw:
    """The draw of batch number `micro_step` (counted over the whole run), for latents of `shape`.

    With `noise_offset` c, noise gains c·n per image and channel, n ~ N(0, 1), and so does the target
    (N. Guttenberg, "Diffusion with Offset Noise", 2023). With `input_perturbation` γ, the input's noise gains γ·ξ,
    ξ ~ N(0, 1) (Ning et al., "Input Perturbation Reduces Exposure Bias in Diffusion Models", 2023).
    """
    settings = settings or Training()
    source = generator(seed, "noise", micro_step)
    noise = torch.randn(*shape, generator=source)
    uniform = torch.rand(shape[0], generator=source)
    latent_noise = torch.randn(*shape, generator=source)
    if settings.noise_offset:
        noise = noise + settings.noise_offset * torch.randn(shape[0], shape[1], *(1 for _ in shape[2:]), generator=source)
    if settings.multires_noise_iterations:
        noise = multires(noise, settings.multires_noise_iterations, settings.multires_noise_discount, source)
    input_noise = noise
    if settings.input_perturbation:
        input_noise = noise + settings.input_perturbation * torch.randn(*shape, generator=source)
    return Draw(noise, uniform, latent_noise, input_noise)


def multires(noise: Tensor, iterations: int, discount: float, source: torch.Generator) -> Tensor:
    """`noise` (B, C, …, h, w) with up to `iterations` coarser layers of noise, each `discount` times as strong as the one before.

    Layer i, from 0, is 1/rⁱ the size of `noise`, r ~ U(2, 4) drawn for each, down to one pixel; each image is scaled back
    to a spread of 1. Source: sd-scripts' `pyramid_noise_like`, after J. Whitaker, "Multi-Resolution Noise for Diffusion
    Model Training", 2023.
    """
    *leading, height, width = noise.shape
    for layer in range(iterations):
        shrink = (2 + 2 * float(torch.rand((), generator=source))) ** layer
        h, w = max(1, int(height / shrink)), max(1, int(width / shrink))
        coarse = torch.randn(leading[0], math.prod(leading[1:]), h, w, generator=source)
        noise = noise + discount**layer * F.interpolate(coarse, (height, width), mode="bilinear").view(noise.shape)
        if h == 1 or w == 1:
            break
    return noise / noise.std(dim=tuple(range(1, noise.dim())), keepdim=True)


def high_noise_uniform(uniform: Tensor, bias: float) -> Tensor:
    """`uniform` bent towards 1, that is noise: u^(1/(1+bias)), of density (1+bias)·u^bias; unchanged for bias 0."""
    return uniform if bias == 0 else uniform.pow(1.0 / (1.0 + bias))
