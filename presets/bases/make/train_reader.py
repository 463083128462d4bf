"""Trains the reader on drawn portraits, sharp and as the autoencoder gives them back."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from loratui.presets.bases.make.gpu import adamw, as_shipped, cosine, count_parameters, log, mixed
from loratui.presets.bases.make.people import FEATURES
from loratui.presets.bases.make.reader import Reader, to_pixels
from loratui.presets.bases.make.train_vae import decode, encode

_LEARNING_RATE = 2e-3
_UNSEEN = -100
"""Label that the loss passes over: a bald head shows no hair colour."""


def train_reader(vae: Any, images: Tensor, labels: Tensor, *, steps: int, batch: int) -> Reader:
    """Train on 8-bit images (n, 128, 128, 3) and the indices of their features (n, features), on the images' device.

    Two thirds of each batch have been through the autoencoder with up to 0.15 standard deviations of noise on the latents,
    since that is what sampled images look like; all are moved by up to two pixels and vary a little in brightness.
    """
    device = images.device
    latents = encode(vae, images)
    spread = latents.std() * 0.15 * torch.rand(len(latents), 1, 1, 1, device=device)
    soft = decode(vae, latents + spread * torch.randn_like(latents))
    names = list(FEATURES)
    labels = labels.clone()
    bald = labels[:, names.index("style")] == FEATURES["style"].index("bald")
    labels[bald, names.index("hair")] = _UNSEEN
    reader = Reader().to(device)
    log("reader:", count_parameters(reader), "parameters")
    rate = torch.tensor(0.0, device=device)
    optimizer = adamw(reader.parameters(), rate, weight_decay=2e-2)
    for k in range(steps):
        rate.fill_(_LEARNING_RATE * cosine(k, steps, 100))
        rows = torch.randint(len(images), (batch,), device=device)
        sharp = batch // 3
        pixels = torch.cat([to_pixels(images[rows[:sharp]]), to_pixels(soft[rows[sharp:]])])
        down, right = torch.randint(-2, 3, (2,)).tolist()
        pixels = torch.roll(pixels, (down, right), (2, 3)) * (1 + 0.05 * torch.randn(batch, 1, 1, 1, device=device))
        pixels = pixels + 0.03 * torch.randn_like(pixels)
        with mixed(device):
            scores = reader(pixels)
        loss = torch.stack([functional.cross_entropy(scores[n].float(), labels[rows, j]) for j, n in enumerate(names)]).sum()
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        if (k + 1) % max(1, steps // 5) == 0:
            log(f"reader {k + 1}/{steps}, loss {loss.item():.3f}")
    return as_shipped(reader).eval().requires_grad_(False)
