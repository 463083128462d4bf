"""Stable Diffusion XL and its relatives (Pony): two CLIP text encoders, pooled text, and a UNet that reads an image's sizes and crop."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

from loratui.engine.families.common.autoencoder_kl import vae_part
from loratui.engine.families.common.clip import CLIP_L, CLIP_TOKENIZER
from loratui.engine.families.common.text_networks import CLIP, OPEN_CLIP
from loratui.engine.families.common.unet_layers import (
    CONVOLUTIONS,
    UNET_BLOCKS,
    UNET_FEWEST_LAYERS,
    UNET_ORDER,
    layers_in,
    target_sets,
)
from loratui.engine.families.common.unet_names import ALL_BUT_DIFFUSERS, sdxl
from loratui.engine.families.common.unet_network import UNET
from loratui.engine.families.elsewhere import Elsewhere
from loratui.engine.families.figures import FamilyFigures, ImageMemory, StepTime
from loratui.engine.families.lora import LoraLayout, LoraSpec, Original
from loratui.engine.families.network import Config, Sizes
from loratui.engine.families.spec import FamilySpec, PartName, PartSpec, Source, TextSpec, VaeSpec
from loratui.presets.schema import LYCORIS, Adapter

_LICENCE = "CreativeML Open RAIL++-M"
_BASE = "stabilityai/stable-diffusion-xl-base-1.0"


def _reads(unet: Sizes, config: Config) -> Mapping[PartName, int]:
    """The UNet takes six sizes beside the pooled state of the second encoder, and the states of both side by side."""
    sizes = config.get("addition_time_embed_dim", 256)
    second = unet["added"] - 6 * sizes if type(sizes) is int and 0 < sizes < unet["added"] else 0
    return {"text_encoder_2": second, "text_encoder": unet["width"] - second if second else 0, "vae": unet["inputs"]}


def _original(module: str) -> Original:
    return Original(sdxl(module), (module,))


def _unread_by(adapter: Adapter, layout: LoraLayout, trains_text: bool) -> Collection[str]:
    del trains_text
    return ALL_BUT_DIFFUSERS if layout == "peft" else {"diffusers"} if adapter.kind in LYCORIS else ()


SDXL = FamilySpec(
    name="sdxl",
    title="SDXL",
    long_title="SDXL",
    choice="SDXL (Pony too)",
    model="loratui.engine.families.sdxl.model",
    objective="diffusion",
    parts=(
        PartSpec("unet", "denoiser", "diffusers.UNet2DConditionModel", "UNet", networks=(UNET,)),
        vae_part(
            "SDXL VAE",
            Source("stabilityai/sdxl-vae", "sdxl_vae.safetensors", "MIT", 334_641_164),
            found_by_shape=False,  # SD1.5's has the same tensors
        ),
        CLIP_L,
        PartSpec(
            "text_encoder_2",
            "text_encoder",
            "transformers.CLIPTextModelWithProjection",
            "CLIP-G text encoder",
            networks=(CLIP, OPEN_CLIP),
            lora_prefix="lora_te2_",
            lora_level="text_model.",
            sources=(Source(_BASE, "text_encoder_2/model.fp16.safetensors", _LICENCE, 1_389_382_176),),
            trainable=True,
            tokenizer="tokenizer",
            window=77,
            pooled=True,
        ),
        CLIP_TOKENIZER,
        replace(CLIP_TOKENIZER, name="tokenizer_2"),
        PartSpec("scheduler", "scheduler"),
    ),
    claims=lambda unet: bool(unet["added"]),
    reads=_reads,
    fewer_layers="it may be a distilled version such as SSD-1B",
    pipelines=("StableDiffusionXLPipeline", "StableDiffusionXLImg2ImgPipeline"),
    other_pipelines={
        "StableDiffusionXLInpaintPipeline": ("an inpainting model, which also takes a mask", "base_inpainting"),
        "StableDiffusionXLInstructPix2PixPipeline": ("an instruct-pix2pix model, which also takes an image", "base_instruct"),
    },
    vae=VaeSpec(channels=4, scaling=0.13025),
    text=TextSpec(reader="text_encoder", several_windows=True, clip_skip=2),
    native_px=(1024, 1536),
    usual_rates=(2e-5, 5e-4),
    targets=target_sets(linear_projection=True),
    lora=LoraSpec(
        original=_original,
        readable=lambda module: (_original(module),),
        peft_prefix="unet",
        unread_by=_unread_by,
        architecture="stable-diffusion-xl-v1-base/lora",
        base_version="sdxl_base_v1-0",
        webui_version="SDXL",
        implementation="https://github.com/Stability-AI/generative-models",
    ),
    convolutions=CONVOLUTIONS,
    layers=layers_in,
    blocks=UNET_BLOCKS,
    pass_order=UNET_ORDER,
    fewest_layers=UNET_FEWEST_LAYERS,
    cross_attention_width=2048,
    tag_bases={
        **dict.fromkeys(("furry", "e621"), "e621"),
        **dict.fromkeys(("pony", "illustrious", "noob", "noobai", "animagine", "wai", "booru", "anime"), "image boards"),
    },
    folders=("sdxl",),
    bundled=Path(__file__).parent / "bundled",
    # Measured on one H200 at a time, torch 2.11, on bases of true shapes with random weights: docs/performance.md.
    figures=FamilyFigures(
        resolution=1024,
        text_tokens=0,
        weights_gib=4.78,
        block_share=0.851,
        largest_block_gib=0.065,
        text_encoders_gib=3.05,
        reading_gib=3.1,
        kept=ImageMemory(0.3, 8.3),
        again=ImageMemory(0.4, 1.05),
        kept_time=StepTime(0.030, 0.062, 0.50),
        again_time=StepTime(0.045, 0.093, 1.28),
        compiled_share=0.35,
        fp8_time=None,
        measured_batches=(1, 2),
        ram_gib=(6.7, 10.0),
        load_s=(20.0, 40.0),
        guidance_passes=2,
        text_bytes=77 * 2048 * 4,
        latent_bytes_per_px=2 * 4 * 4 / 64,
        download_bytes=6_940_000_000,
    ),
    bases=(
        Source(_BASE, "", _LICENCE, 13_876_000_000),
        Source("John6666/pony-realism-v22main-sdxl", "", "Fair AI Public License 1.0-SD", 6_940_000_000),
    ),
    elsewhere=Elsewhere(
        names={
            "kohya_ss": ("sdxl",),
            "sd-scripts": ("sdxl_train_network.py",),
            "onetrainer": ("STABLE_DIFFUSION_XL_10_BASE",),
            "ai-toolkit": ("sdxl", "is_xl"),
            "simpletuner": ("sdxl",),
            "on-site": ("sdxl", "pony", "illustrious", "noobai"),
        },
        in_names=r"xl|pony|illustrious|noob|animagine",
        layers={"onetrainer": {"attn-mlp": "sd-scripts", "attn-only": "attention"}},
        near_layers={"onetrainer": {"full": ("all+conv", "loratui's set leaves out the first and the last convolution.")}},
        usual_layers={"ai-toolkit": "all", "simpletuner": "attention"},
    ),
    default_preset="sdxl-person",
    demo_preset="demo:sdxl",
    licence="SDXL 1.0 is under CreativeML Open RAIL++-M; Pony, Illustrious and other fine-tuned bases have terms of their own.",
)
"""Modules of the target sets at full size, in the order diffusers, attention, attention+ff, sd-scripts, all, sd-scripts+conv:
560, 560, 700, 722, 743, 788."""
