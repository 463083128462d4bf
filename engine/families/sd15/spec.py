"""Stable Diffusion 1.5: one CLIP text encoder, a UNet with cross attention, noise or v prediction on a DDPM schedule."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from loratui.engine.families.common.autoencoder_kl import vae_part
from loratui.engine.families.common.clip import CLIP_L, CLIP_TOKENIZER
from loratui.engine.families.common.unet_layers import (
    CONVOLUTIONS,
    UNET_BLOCKS,
    UNET_FEWEST_LAYERS,
    UNET_ORDER,
    layers_in,
    target_sets,
)
from loratui.engine.families.common.unet_names import ALL_BUT_DIFFUSERS, sd15, unchanged
from loratui.engine.families.common.unet_network import UNET
from loratui.engine.families.elsewhere import Elsewhere
from loratui.engine.families.figures import FamilyFigures, ImageMemory, StepTime
from loratui.engine.families.lora import LoraLayout, LoraSpec, Original
from loratui.engine.families.spec import FamilySpec, PartSpec, Source, TextSpec, VaeSpec
from loratui.presets.schema import LYCORIS, Adapter

_OPEN_RAIL = "CreativeML Open RAIL-M"

LOKR_WHOLE_FROM = 16
"""Rank from which both factors of the narrowest layer that reads text (320 by 768) are stored whole."""


def _unread_by(adapter: Adapter, layout: LoraLayout, trains_text: bool) -> Collection[str]:
    del trains_text
    if layout == "peft":
        return ALL_BUT_DIFFUSERS
    if adapter.kind not in LYCORIS:
        return ()
    # InvokeAI knows SD1.5 by the width of its text states, which it reads from LoKr's factors only if they are whole.
    whole = adapter.rank >= LOKR_WHOLE_FROM and adapter.factor == -1
    return {"diffusers"} if adapter.kind == "loha" or whole else {"diffusers", "invokeai"}


SD15 = FamilySpec(
    name="sd15",
    title="SD1.5",
    long_title="Stable Diffusion 1.5",
    choice="SD1.5",
    model="loratui.engine.families.sd15.model",
    objective="diffusion",
    parts=(
        PartSpec("unet", "denoiser", "diffusers.UNet2DConditionModel", "UNet", networks=(UNET,)),
        vae_part(
            "SD1.5 VAE",
            Source("stabilityai/sd-vae-ft-mse", "diffusion_pytorch_model.safetensors", "MIT", 334_643_276),
            found_by_shape=False,  # SDXL's has the same tensors
        ),
        replace(CLIP_L, lora_prefix="lora_te_"),
        CLIP_TOKENIZER,
        PartSpec("scheduler", "scheduler"),
    ),
    claims=lambda unet: not unet["added"],
    reads=lambda unet, _: {"text_encoder": unet["width"], "vae": unet["inputs"]},
    pipelines=("StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline"),
    other_pipelines={
        "StableDiffusionInpaintPipeline": ("an inpainting model, which also takes a mask", "base_inpainting"),
        "StableDiffusionInstructPix2PixPipeline": ("an instruct-pix2pix model, which also takes an image", "base_instruct"),
        "StableDiffusionUpscalePipeline": ("an upscaling model", "base_upscaler"),
        "LatentConsistencyModelPipeline": ("a distilled model for few steps (LCM), which a LoRA would undo", "base_distilled"),
    },
    vae=VaeSpec(channels=4, scaling=0.18215),
    text=TextSpec(reader="text_encoder", several_windows=True, clip_skip=1),
    native_px=(256, 768),
    usual_rates=(2e-5, 5e-4),
    targets=target_sets(linear_projection=False),
    lora=LoraSpec(
        original=unchanged,
        readable=lambda module: (Original(sd15(module), (module,)),),
        peft_prefix="unet",
        unread_by=_unread_by,
        architecture="stable-diffusion-v1/lora",
        base_version="sd_v1",
        webui_version="SD1",
        implementation="diffusers",
    ),
    convolutions=CONVOLUTIONS,
    layers=layers_in,
    blocks=UNET_BLOCKS,
    pass_order=UNET_ORDER,
    fewest_layers=UNET_FEWEST_LAYERS,
    cross_attention_width=768,
    tag_bases={
        **dict.fromkeys(("fluffyrock", "bb95", "furry", "e621"), "e621"),
        **dict.fromkeys(("anything", "anylora", "booru", "anime"), "image boards"),
    },
    folders=("sd-1", "sd15"),
    bundled=Path(__file__).parent / "bundled",
    # Measured on one H200 at a time, torch 2.11, on bases of true shapes with random weights: docs/performance.md.
    figures=FamilyFigures(
        resolution=512,
        text_tokens=0,
        weights_gib=1.60,
        block_share=0.282,
        largest_block_gib=0.059,
        text_encoders_gib=0.46,
        reading_gib=0.5,
        kept=ImageMemory(0.2, 1.3),
        again=ImageMemory(0.25, 0.27),
        kept_time=StepTime(0.006, 0.0177, 0.15),
        again_time=StepTime(0.009, 0.0266, 0.43),
        compiled_share=0.35,
        fp8_time=None,
        measured_batches=(2,),
        ram_gib=(3.2, 4.8),
        load_s=(15.0, 30.0),
        guidance_passes=2,
        text_bytes=77 * 768 * 4,
        latent_bytes_per_px=2 * 4 * 4 / 64,
        download_bytes=4_300_000_000,
    ),
    bases=(
        Source("stable-diffusion-v1-5/stable-diffusion-v1-5", "", _OPEN_RAIL, 4_265_000_000),
        Source("SG161222/Realistic_Vision_V5.1_noVAE", "", _OPEN_RAIL, 4_265_000_000),
        Source("Lykon/AnyLoRA", "", _OPEN_RAIL, 4_265_000_000),
    ),
    elsewhere=Elsewhere(
        names={
            "onetrainer": ("STABLE_DIFFUSION_15",),
            "ai-toolkit": ("sd1", "sd15", "sd"),
            "simpletuner": ("sd1x",),
            "on-site": ("sd_1_5", "sd15", "sd1"),
        },
        layers={"onetrainer": {"attn-mlp": "sd-scripts", "attn-only": "attention"}},
        near_layers={"onetrainer": {"full": ("all+conv", "loratui's set leaves out the first and the last convolution.")}},
        usual_layers={"ai-toolkit": "all", "simpletuner": "attention"},
    ),
    default_preset="sd15-portrait",
    demo_preset="demo",
    licence="Stable Diffusion 1.5 is under CreativeML OpenRAIL-M; a fine-tuned base may have terms of its own: its page says.",
)
"""Modules of the target sets at full size, in the order diffusers, attention, attention+ff, sd-scripts, all, sd-scripts+conv:
128, 128, 160, 192, 184, 278."""
