"""Trains the bases' autoencoders on drawn portraits: 128 × 128 px to latents and back."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from loratui.presets.bases.make.gpu import adamw, as_shipped, capture, cosine, count_parameters, log, mixed, settle
from loratui.presets.bases.make.reader import to_pixels

FACE = (slice(24, 96), slice(26, 102))
"""Rows and columns where eyes, glasses and mouth are."""

_LEARNING_RATE = 2e-3


def new_vae() -> Any:
    """An `AutoencoderKL` that halves the sides twice: a third halving, as Stable Diffusion's, would lose the eyes at 128 px."""
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        latent_channels=4,
        sample_size=128,
        block_out_channels=(32, 48, 64),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        layers_per_block=1,
        norm_num_groups=8,
    )


def train_vae(images: Tensor, steps: int, batch: int) -> Any:
    """Train on 8-bit images of shape (n, 128, 128, 3) that lie on the device to train on.

    The loss is `reconstruction_loss`.
    """
    device = images.device
    vae = new_vae().to(device, memory_format=torch.channels_last)
    log("autoencoder:", count_parameters(vae), "parameters")
    weight = face_weight(device)
    encoder = [*vae.encoder.parameters(), *vae.quant_conv.parameters()]
    decoder = [*vae.decoder.parameters(), *vae.post_quant_conv.parameters()]
    rate = torch.tensor(0.0, device=device)
    optimizer = adamw([*encoder, *decoder], rate, weight_decay=1e-4)
    shown = torch.zeros((), device=device)

    def step() -> None:
        loss = reconstruction_loss(vae, images[torch.randint(len(images), (batch,), device=device)], weight)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_([*encoder, *decoder], 1.0, foreach=device.type == "cuda")
        optimizer.step()
        optimizer.zero_grad(set_to_none=False)
        with torch.no_grad():
            shown.lerp_(loss.detach(), 0.02)

    run = capture(step, device)
    for k in range(steps):
        rate.fill_(_LEARNING_RATE * cosine(k, steps, 100))
        run()
        if k % 20 == 0:
            settle(device)
        if (k + 1) % max(1, steps // 8) == 0:
            log(f"autoencoder {k + 1}/{steps}, loss {shown.item():.4f}")
    return as_shipped(vae).eval().requires_grad_(False)


def face_weight(device: torch.device) -> Tensor:
    """Weight of each pixel, shape (1, 1, 128, 128), mean 1: three times as much in the face."""
    weight = torch.ones(1, 1, 128, 128, device=device)
    weight[:, :, FACE[0], FACE[1]] = 3.0
    return weight / weight.mean()


def reconstruction_loss(vae: Any, images: Tensor, weight: Tensor) -> Tensor:
    """Absolute and squared error and the error of neighbouring pixels' differences, all three weighted by `weight`.

    A weak pull draws the latents towards a normal distribution. `images` are 8-bit, shape (n, 128, 128, 3).
    """
    pixels = to_pixels(images).contiguous(memory_format=torch.channels_last)
    with mixed(images.device):
        posterior = vae.encode(pixels).latent_dist
        result = vae.decode(posterior.sample()).sample
    error = result.float() - pixels
    rows = (weight[:, :, 1:] * (error[:, :, 1:] - error[:, :, :-1]).abs()).mean()
    columns = (weight[..., 1:] * (error[..., 1:] - error[..., :-1]).abs()).mean()
    mean, logvar = posterior.mean.float(), posterior.logvar.float()
    divergence = 0.5 * (mean**2 + logvar.exp() - 1 - logvar).mean()
    loss: Tensor = (weight * error.abs()).mean() + 2 * (weight * error**2).mean() + 0.5 * (rows + columns) + 2e-4 * divergence
    return loss


def scale_latents(vae: Any, factor: float) -> None:
    """Make the latents `factor` times as large, noise included, and let the decoder undo it; images stay the same."""
    last, first = (
        (vae.quant_conv, vae.post_quant_conv) if vae.quant_conv is not None else (vae.encoder.conv_out, vae.decoder.conv_in)
    )
    channels = vae.config.latent_channels
    with torch.no_grad():
        last.weight[:channels] *= factor
        last.bias[:channels] *= factor
        last.bias[channels:] += 2 * math.log(factor)
        first.weight /= factor


def encode(vae: Any, images: Tensor) -> Tensor:
    """Latents of 8-bit images, unscaled, shape (n, channels, height, width)."""
    with torch.no_grad(), mixed(images.device):
        return torch.cat([vae.encode(to_pixels(part)).latent_dist.mode().float() for part in _parts(images)])


def decode(vae: Any, latents: Tensor) -> Tensor:
    """8-bit images of shape (n, 128, 128, 3) from unscaled latents."""
    with torch.no_grad(), mixed(latents.device):
        parts = [vae.decode(part).sample.float() for part in _parts(latents)]
    return ((torch.cat(parts).clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def _parts(rows: Tensor) -> list[Tensor]:
    return [rows[start : start + 500] for start in range(0, len(rows), 500)]


def signal_to_noise_db(images: Tensor, again: Tensor) -> float:
    """Mean peak signal-to-noise ratio, dB, of 8-bit images and their copies."""
    error = (images.float() - again.float()) / 255
    return float((-10 * error.pow(2).mean((1, 2, 3)).log10()).mean())
