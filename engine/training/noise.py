"""Everything random in training, each draw a pure function of the run's seed, the batch's number and a purpose.

Nothing depends on what was drawn before, so a resumed run draws exactly what the uninterrupted one would have drawn.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


def derived_seed(seed: int, *path: int | str) -> int:
    """A 63-bit seed from `seed` and a path such as ("noise", 41), well mixed."""
    text = ":".join(str(part) for part in (seed, *path))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def generator(seed: int, *path: int | str) -> torch.Generator:
    """A CPU generator for `derived_seed`; CPU, so that every machine draws the same numbers."""
    return torch.Generator("cpu").manual_seed(derived_seed(seed, *path))


@dataclass(frozen=True)
class Draw:
    """What one batch draws. B is the batch size, the latents have shape (B, C, h, w)."""

    noise: Tensor
    """(B, C, h, w) fp32, N(0, 1), offset noise included."""
    uniform: Tensor
    """(B,) fp32 in [0, 1); the family turns it into timesteps or sigmas."""
    latent_noise: Tensor
    """(B, C, h, w) fp32, N(0, 1); picks one latent out of the VAE's distribution."""


def draw(shape: Sequence[int], *, seed: int, micro_step: int, offset: float = 0.0) -> Draw:
    """The draw of batch number `micro_step` (counted over the whole run), for latents of `shape`.

    With `offset` c, noise gains c·n per picture and channel, n ~ N(0, 1), and so does the target
    (N. Guttenberg, "Diffusion with Offset Noise", 2023).
    """
    source = generator(seed, "noise", micro_step)
    noise = torch.randn(*shape, generator=source)
    uniform = torch.rand(shape[0], generator=source)
    latent_noise = torch.randn(*shape, generator=source)
    if offset:
        noise = noise + offset * torch.randn(shape[0], shape[1], *(1 for _ in shape[2:]), generator=source)
    return Draw(noise, uniform, latent_noise)


def high_noise_uniform(uniform: Tensor, bias: float) -> Tensor:
    """`uniform` bent towards 1, that is towards noise: u^(1/(1+bias)). bias 0 leaves it alone.

    The density becomes (1+bias)·u^bias.
    """
    return uniform if bias == 0 else uniform.pow(1.0 / (1.0 + bias))
