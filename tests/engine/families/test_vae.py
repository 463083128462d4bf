"""Images to latents and back as each kind of VAE wants it, against the pipelines of the library."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from random_bases import narrow_vae
from synthetic_family import SPEC, narrow_frames_vae
from torch import Tensor

from loratui.engine.families import vae
from loratui.engine.families.spec import VaeSpec

SCALAR, FRAMES = VaeSpec(channels=4), SPEC.vae
BATCH_NORM = VaeSpec(channels=4, patch=2, normalisation="batch_norm")


def scalar_vae() -> Any:
    return narrow_vae(scaling_factor=0.3611, shift_factor=0.1159)


def batch_norm_vae() -> Any:
    """FLUX.2's kind, with statistics as if it had been trained."""
    from diffusers import AutoencoderKLFlux2

    made = AutoencoderKLFlux2(
        latent_channels=4,
        layers_per_block=1,
        block_out_channels=(8, 8, 8, 8),
        norm_num_groups=4,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
    )
    made.bn.running_mean.copy_(torch.linspace(-1, 1, 16))
    made.bn.running_var.copy_(torch.linspace(0.5, 2, 16))
    return made


def as_flux(own: Any, z: Tensor) -> Tensor:
    return (z - 0.1159) * 0.3611


def as_qwen_image(own: Any, z: Tensor) -> Tensor:
    """As `QwenImagePipeline` scales what it has."""
    mean = torch.tensor(own.config.latents_mean).view(1, -1, 1, 1, 1)
    return (z - mean) * (1.0 / torch.tensor(own.config.latents_std).view(1, -1, 1, 1, 1))


def as_flux_2(own: Any, z: Tensor) -> Tensor:
    from diffusers import Flux2KleinPipeline

    patched = Flux2KleinPipeline._patchify_latents(z)
    mean, variance = (one.view(1, -1, 1, 1) for one in (own.bn.running_mean, own.bn.running_var))
    return (patched - mean) / torch.sqrt(variance + own.config.batch_norm_eps)


KINDS = [
    (SCALAR, scalar_vae, as_flux, (4, 8, 12)),
    (FRAMES, narrow_frames_vae, as_qwen_image, (4, 1, 8, 12)),
    (BATCH_NORM, batch_norm_vae, as_flux_2, (16, 4, 6)),
]


@pytest.mark.parametrize(("spec", "make", "scaled", "shape"), KINDS, ids=["scalar", "per channel", "batch norm"])
@torch.no_grad()
def test_latents_are_scaled_as_the_library_does_it_and_decode_back(
    spec: VaeSpec, make: Any, scaled: Any, shape: tuple[int, ...]
) -> None:
    torch.manual_seed(0)
    own = make().eval()
    pixels = torch.rand(3, 64, 96) * 2 - 1
    latents = vae.encode(own, spec, pixels)
    assert latents.mean.shape == latents.std.shape == shape
    assert vae.latent_shape(own, spec, 96, 64) == (1, *shape)
    reference = own.encode(pixels[None, :, None] if spec.frames else pixels[None]).latent_dist
    assert torch.allclose(latents.mean, scaled(own, reference.mean)[0], atol=1e-6)
    # One deviation above the mean lies one scaled deviation above the scaled mean.
    above = scaled(own, reference.mean + reference.std)[0]
    assert torch.allclose(latents.mean + latents.std, above, atol=1e-5)
    plain = own.decode(reference.mean).sample[0]
    expected = ((plain[:, 0] if spec.frames else plain).clamp(-1, 1) + 1) * 127.5
    assert (vae.decode(own, spec, latents.mean[None]).float() - expected).abs().max() <= 0.51


@torch.no_grad()
def test_a_family_that_takes_the_mode_has_latents_without_a_spread() -> None:
    own = scalar_vae().eval()
    pixels = torch.rand(3, 64, 96) * 2 - 1
    drawn, mode = (vae.encode(own, replace(SCALAR, sampled=sampled), pixels) for sampled in (True, False))
    assert float(drawn.std.min()) > 0
    assert torch.equal(mode.mean, drawn.mean)
    assert not mode.std.any()
