"""AutoencoderKL as files hold it."""

from __future__ import annotations

from loratui.engine.families.network import Config, Names, Network, Sizes, Tensors, dimension, told


def _sizes(tensors: Tensors, names: Names) -> Sizes:
    del names
    return {
        "width": dimension(tensors, "decoder.conv_in.weight", 1),
        "encoder": int("encoder.conv_in.weight" in tensors),
    }


def _config_sizes(config: Config) -> Sizes:
    return told(config, width=("latent_channels",))


def _title(sizes: Sizes) -> str:
    families = {4: " (as SD1.5 and SDXL have)", 16: " (as FLUX and SD3 have)"}.get(sizes["width"], "")
    return f"a VAE of {sizes['width']} channels{families}"


AUTOENCODER_KL = Network(
    name="vae",
    signs=(
        ("original", "decoder.mid.block_1.conv1.weight"),
        ("diffusers", "decoder.mid_block.resnets.0.conv1.weight"),
    ),
    sizes=_sizes,
    config_sizes=_config_sizes,
    words={"width": "channels"},
    title=_title,
    needed={"encoder": "its encoder is missing, which training needs"},
)
