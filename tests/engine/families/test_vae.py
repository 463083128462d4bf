"""Images to latents and back as each kind of VAE wants it, against the pipelines of the library."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from random_bases import narrow_vae
from synthetic_family import SPEC, narrow_frames_vae
from torch import Tensor

from loratui.engine.families import vae
from loratui.engine.families.model import LoadOptions
from loratui.engine.families.sd15 import model as sd15
from loratui.engine.families.spec import VaeSpec
from loratui.engine.formats.base_files import identify
from loratui.presets.schema import Settings

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


def model_on(folder: Path, *, tiled: bool = False, tile_px: int = 0) -> Any:
    return sd15.load(
        identify(folder), Settings(), LoadOptions(torch.device("cpu"), torch.float32, vae_tiled=tiled, tile_px=tile_px)
    )


def decoded_sizes(own: Any) -> list[tuple[int, ...]]:
    """The sides of the latents that its decoder gets from now on."""
    seen: list[tuple[int, ...]] = []
    own._parts["vae"].decoder.register_forward_pre_hook(lambda _, given: seen.append(tuple(given[0].shape[-2:])))
    return seen


def test_images_are_decoded_in_tiles_of_the_given_side_and_encoded_whole(base_folder: Path) -> None:
    whole, tiled = model_on(base_folder), model_on(base_folder, tiled=True, tile_px=128)
    pixels = torch.rand(3, 192, 256) * 2 - 1
    latents = [own.encode_image(pixels).mean for own in (whole, tiled)]
    assert torch.equal(*latents)
    seen = decoded_sizes(whole), decoded_sizes(tiled)
    images = [own.decode_image(latents[0]).float() for own in (whole, tiled)]
    assert seen[0] == [(24, 32)]
    assert max(max(sides) for sides in seen[1]) == 16
    assert images[0].shape == images[1].shape
    assert (images[0] - images[1]).abs().mean() < 16, "of 255: a norm sees less of the image in a tile"
    assert torch.equal(tiled.encode_image(pixels).mean, latents[0])
    assert torch.equal(tiled.decode_image(latents[0][..., :16, :16]), whole.decode_image(latents[0][..., :16, :16]))


def run_out_once(monkeypatch: pytest.MonkeyPatch, name: str) -> list[Any]:
    """Has GPU memory run out the first time that an image is encoded or decoded; returns the VAEs that were used."""
    real, used = getattr(vae, name), []

    def failing(own: Any, *given: Any) -> Any:
        used.append(own)
        if len(used) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(own, *given)

    monkeypatch.setattr(vae, name, failing)
    return used


def test_an_image_too_large_for_the_card_is_encoded_on_the_cpu(base_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own, pixels = model_on(base_folder, tile_px=128), torch.rand(3, 64, 64) * 2 - 1
    expected = model_on(base_folder).encode_image(pixels).mean
    used = run_out_once(monkeypatch, "encode")
    own.latent_scale()  # loads it
    own.device = torch.device("meta")  # so that only a VAE which is loaded for the CPU can work
    first = own.encode_image(pixels).mean
    assert own.encodes_on_cpu
    assert torch.equal(first, expected)
    assert torch.equal(own.encode_image(pixels).mean, expected)
    assert len({id(one) for one in used}) == 2, "the one on the card is dropped"
    own.free_vae()
    assert not own.encodes_on_cpu


def test_an_image_too_large_for_the_card_is_decoded_in_tiles(base_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    latents = torch.randn(4, 32, 32)
    run_out_once(monkeypatch, "decode")
    with pytest.raises(torch.OutOfMemoryError):
        model_on(base_folder).decode_image(latents)
    run_out_once(monkeypatch, "decode")
    own = model_on(base_folder, tile_px=128)
    seen = decoded_sizes(own)
    own.decode_image(latents)
    own.decode_image(latents)
    assert seen
    assert max(max(sides) for sides in seen) == 16, "and the next are, too"
