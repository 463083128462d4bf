"""Images to latents and back, however a family's VAE is scaled."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from loratui.engine.families.model import LatentDistribution
from loratui.engine.families.parts import finite
from loratui.engine.families.spec import VaeSpec


def shift_and_scale(vae: Any, spec: VaeSpec) -> tuple[float | Tensor, float | Tensor]:
    """(shift, scale) of a VAE; latents for the denoiser are (z − shift) · scale. Numbers, or (C, 1, 1) per channel, with
    another axis where the latents have frames."""
    if spec.normalisation == "scalar":
        return float(vae.config.shift_factor or 0.0), float(vae.config.scaling_factor)
    axes = (-1, 1, 1, 1) if spec.frames else (-1, 1, 1)
    if spec.normalisation == "per_channel":
        mean, deviation = (torch.tensor(one) for one in (vae.config.latents_mean, vae.config.latents_std))
    else:
        mean, deviation = vae.bn.running_mean, (vae.bn.running_var + vae.config.batch_norm_eps).sqrt()
    mean, deviation = (one.to(next(vae.parameters()).device, torch.float32).view(axes) for one in (mean, deviation))
    return mean, 1 / deviation


def latent_shape(vae: Any, spec: VaeSpec, width: int, height: int) -> tuple[int, ...]:
    """(1, C, h, w) of an image's latents, with an axis of 1 after C where the VAE has frames."""
    patch = _patch(spec)
    side = _px_to_a_latent(vae, spec) * patch
    return (1, spec.channels * patch**2, *((1,) if spec.frames else ()), height // side, width // side)


@torch.no_grad()
def encode(vae: Any, spec: VaeSpec, pixels: Tensor) -> LatentDistribution:
    """The distribution of one image (3, H, W) in [−1, 1], computed in fp32: bf16 loses detail, and fp16 overflows on SDXL.
    Its spread is 0 where the family takes the mode.

    Raises `NotFiniteError`.
    """
    shift, scale = shift_and_scale(vae, spec)
    parameter = next(vae.parameters())
    image = pixels[None].to(parameter.device, parameter.dtype)
    distribution = vae.encode(image[:, :, None] if spec.frames else image).latent_dist
    mean, std = (F.pixel_unshuffle(one.float(), _patch(spec))[0] for one in (distribution.mean, distribution.std))
    mean, std = (mean - shift) * scale, std * scale if spec.sampled else torch.zeros_like(std)
    return LatentDistribution(finite(mean.cpu(), "latents"), finite(std.cpu(), "latents"))


@torch.no_grad()
def decode(vae: Any, spec: VaeSpec, latents: Tensor) -> Tensor:
    """(3, H, W) uint8 on the CPU from (1, C, …, h, w) latents of the denoiser."""
    shift, scale = shift_and_scale(vae, spec)
    parameter = next(vae.parameters())
    z = F.pixel_shuffle(latents.to(parameter.device).float() / scale + shift, _patch(spec))
    pixels = vae.decode(z.to(parameter.dtype)).sample[0].float()
    if spec.frames:
        pixels = pixels[:, 0]
    image: Tensor = ((pixels.clamp(-1, 1) + 1) * 127.5).round().to("cpu", torch.uint8)
    return image


@contextmanager
def tiles(vae: Any, spec: VaeSpec, side_px: int) -> Iterator[None]:
    """Within the block, a VAE decodes in tiles of this side, which are blended where they overlap."""
    vae.enable_tiling()
    sizes = {"tile_sample_min_size": side_px, "tile_latent_min_size": side_px // _px_to_a_latent(vae, spec)}
    before = {name: getattr(vae, name) for name in sizes if hasattr(vae, name)}  # others keep tiles of their own
    for name in before:
        setattr(vae, name, sizes[name])
    try:
        yield
    finally:
        vae.disable_tiling()
        for name, size in before.items():
            setattr(vae, name, size)


def _px_to_a_latent(vae: Any, spec: VaeSpec) -> int:
    """Along one side, from the VAE's own configuration: a small base can have fewer levels than its family."""
    levels = getattr(vae.config, "block_out_channels", None)
    return 2 ** (len(levels) - 1) if levels else int(getattr(vae, "spatial_compression_ratio", spec.px))


def _patch(spec: VaeSpec) -> int:
    """Latents that become one before normalisation, along one side: a batch norm's statistics are those of such patches.

    Channel c at (dy, dx) of a patch becomes number patch²·c + patch·dy + dx.
    """
    return spec.patch if spec.normalisation == "batch_norm" else 1
