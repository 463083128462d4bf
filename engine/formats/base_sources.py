"""Where bases, and parts that a base does not bring along, can be had: repository, file, size and licence."""

from __future__ import annotations

from collections.abc import Mapping

from loratui.engine.formats.base_parts import MissingPart, PartName, Source
from loratui.presets.schema import Family

_FLUX_ENCODERS = "comfyanonymous/flux_text_encoders"
_CLIP_L = Source(_FLUX_ENCODERS, "clip_l.safetensors", "MIT", 246_144_152)
_DEV_LICENCE = "FLUX.1 [dev] Non-Commercial License"

_OPEN_RAIL = "CreativeML Open RAIL-M"

_BASES = {
    base.repo: base
    for base in (
        Source("stable-diffusion-v1-5/stable-diffusion-v1-5", "", _OPEN_RAIL, 4_265_000_000),
        Source("SG161222/Realistic_Vision_V5.1_noVAE", "", _OPEN_RAIL, 4_265_000_000),
        Source("Lykon/AnyLoRA", "", _OPEN_RAIL, 4_265_000_000),
        Source("stabilityai/stable-diffusion-xl-base-1.0", "", "CreativeML Open RAIL++-M", 13_876_000_000),
        Source("John6666/pony-realism-v22main-sdxl", "", "Fair AI Public License 1.0-SD", 6_940_000_000),
        Source("black-forest-labs/FLUX.1-dev", "", _DEV_LICENCE, 33_740_000_000, gated=True),
        Source("ashen0209/Flux-Dev2Pro", "", _DEV_LICENCE, 23_800_000_000),
    )
}
"""The bases of the presets. Sizes are about those of what a download takes; it says the exact one before it begins."""

_TITLES: Mapping[tuple[Family, PartName], str] = {
    ("flux", "text_encoder"): "CLIP-L text encoder",
    ("flux", "text_encoder_2"): "T5-XXL text encoder",
    ("flux", "tokenizer_2"): "T5 tokenizer",
    ("flux", "vae"): "FLUX VAE (ae)",
    ("flux", "transformer"): "FLUX transformer",
    ("sdxl", "text_encoder"): "CLIP-L text encoder",
    ("sdxl", "text_encoder_2"): "CLIP-G text encoder",
    ("sdxl", "vae"): "SDXL VAE",
    ("sd15", "text_encoder"): "CLIP-L text encoder",
    ("sd15", "vae"): "SD1.5 VAE",
}

_SOURCES: Mapping[tuple[Family, PartName], tuple[Source, ...]] = {
    ("flux", "text_encoder"): (_CLIP_L,),
    ("flux", "text_encoder_2"): (
        Source(_FLUX_ENCODERS, "t5xxl_fp16.safetensors", "Apache-2.0", 9_787_841_024),
        Source(_FLUX_ENCODERS, "t5xxl_fp8_e4m3fn.safetensors", "Apache-2.0", 4_893_934_904),
    ),
    ("flux", "tokenizer_2"): (Source("google-t5/t5-base", "tokenizer.json", "Apache-2.0", 1_389_353),),
    ("flux", "vae"): (
        Source("black-forest-labs/FLUX.1-schnell", "ae.safetensors", "Apache-2.0", 335_304_388, gated=True),
        Source("black-forest-labs/FLUX.1-dev", "ae.safetensors", _DEV_LICENCE, 335_304_388, gated=True),
    ),
    ("sdxl", "text_encoder"): (_CLIP_L,),
    ("sdxl", "text_encoder_2"): (
        Source(
            "stabilityai/stable-diffusion-xl-base-1.0",
            "text_encoder_2/model.fp16.safetensors",
            "CreativeML Open RAIL++-M",
            1_389_382_176,
        ),
    ),
    ("sdxl", "vae"): (Source("stabilityai/sdxl-vae", "sdxl_vae.safetensors", "MIT", 334_641_164),),
    ("sd15", "text_encoder"): (_CLIP_L,),
    ("sd15", "vae"): (Source("stabilityai/sd-vae-ft-mse", "diffusion_pytorch_model.safetensors", "MIT", 334_643_276),),
}
"""The first of each is proposed. Sizes are those of the hub's pages; a download asks the hub itself before it begins."""

_SETTINGS: Mapping[PartName, str] = {
    "vae": "base.vae",
    "text_encoder": "base.text_encoder",
    "text_encoder_2": "base.text_encoder_2",
}


def known_base(model: str) -> Source | None:
    """Where a base that a preset names can be had; None for any other."""
    return _BASES.get(model)


def missing_part(family: Family, part: PartName) -> MissingPart:
    """What is known of a part of `family` that is not there."""
    title = _TITLES.get((family, part), part.replace("_", " "))
    return MissingPart(part, title, _SETTINGS.get(part, ""), _SOURCES.get((family, part), ()))
