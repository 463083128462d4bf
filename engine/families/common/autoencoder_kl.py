"""AutoencoderKL as files hold it."""

from __future__ import annotations

from loratui.engine.families.network import Network, Sizes, read, told
from loratui.engine.families.spec import PartSpec, Source


def _title(sizes: Sizes) -> str:
    families = {4: " (as SD1.5 and SDXL have)", 16: " (as FLUX and SD3 have)"}.get(sizes["width"], "")
    return f"a VAE of {sizes['width']} channels{families}"


AUTOENCODER_KL = Network(
    name="vae",
    signs=(
        ("original", "decoder.mid.block_1.conv1.weight"),
        ("diffusers", "decoder.mid_block.resnets.0.conv1.weight"),
    ),
    sizes=read(width=(1, "decoder.conv_in.weight"), encoder=(0, "encoder.conv_in.weight")),
    config_sizes=lambda config: told(config, width=("latent_channels",)),
    words={"width": "channels"},
    title=_title,
    needed={"encoder": "its encoder is missing, which training needs"},
)


def vae_part(title: str, *sources: Source, found_by_shape: bool = True) -> PartSpec:
    """The VAE of a family whose VAE is an AutoencoderKL."""
    return PartSpec(
        "vae",
        "vae",
        "diffusers.AutoencoderKL",
        title,
        networks=(AUTOENCODER_KL,),
        sources=sources,
        found_by_shape=found_by_shape,
    )
