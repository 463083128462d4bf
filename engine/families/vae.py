"""Images to latents and back, as the VAE of each family scales them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from loratui.engine.families.model import LatentDistribution
from loratui.engine.families.parts import finite


def scale_and_shift(vae: Any) -> tuple[float, float]:
    """(scaling factor, shift) of a VAE; latents for the denoiser are (z − shift) · scaling."""
    return float(vae.config.scaling_factor), float(vae.config.shift_factor or 0.0)


def downscale(vae: Any) -> int:
    """Pixels to a latent, along one side."""
    return int(2 ** (len(vae.config.block_out_channels) - 1))


@torch.no_grad()
def encode(vae: Any, pixels: Tensor) -> LatentDistribution:
    """The distribution of one image (3, H, W) in [−1, 1], computed in fp32: bf16 loses detail, fp16 overflows on SDXL.

    Raises `NotFiniteError`.
    """
    scaling, shift = scale_and_shift(vae)
    parameter = next(vae.parameters())
    distribution = vae.encode(pixels[None].to(parameter.device, parameter.dtype)).latent_dist
    mean, std = (distribution.mean[0].float() - shift) * scaling, distribution.std[0].float() * scaling
    return LatentDistribution(finite(mean.cpu(), "latents"), finite(std.cpu(), "latents"))


@torch.no_grad()
def decode(vae: Any, latents: Tensor) -> Tensor:
    """(3, H, W) uint8 on the CPU from (1, C, h, w) latents of the denoiser."""
    scaling, shift = scale_and_shift(vae)
    pixels = vae.decode((latents.float() / scaling + shift).to(next(vae.parameters()).dtype)).sample[0].float()
    image: Tensor = ((pixels.clamp(-1, 1) + 1) * 127.5).round().to("cpu", torch.uint8)
    return image
