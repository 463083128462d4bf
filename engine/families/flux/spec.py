"""FLUX.1-dev: CLIP's pooled text, T5's states, and a transformer over packed latents that was distilled to take the guidance as an input."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from loratui.engine.families.common.autoencoder_kl import vae_part
from loratui.engine.families.common.clip import CLIP_L, CLIP_TOKENIZER
from loratui.engine.families.common.text_networks import T5, T5_PATTERNS, is_t5_tokenizer
from loratui.engine.families.elsewhere import Elsewhere
from loratui.engine.families.figures import FamilyFigures, ImageMemory, StepTime
from loratui.engine.families.flux.layers import TARGETS, layers_in
from loratui.engine.families.flux.names import original, originals
from loratui.engine.families.flux.network import FLUX_TRANSFORMER
from loratui.engine.families.lora import LoraLayout, LoraSpec
from loratui.engine.families.spec import FamilySpec, PartSpec, Source, TextSpec, VaeSpec
from loratui.presets.schema import LYCORIS, Adapter

_ENCODERS = "comfyanonymous/flux_text_encoders"
_DEV_LICENCE = "FLUX.1 [dev] Non-Commercial License"


def _unread_by(adapter: Adapter, layout: LoraLayout, trains_text: bool) -> Collection[str]:
    lycoris, everywhere = adapter.kind in LYCORIS, adapter.targets.startswith("all")
    unread = {"automatic1111"}  # it has no FLUX
    if lycoris or everywhere or (layout == "peft" and trains_text):
        unread.add("invokeai")
    if lycoris or (everywhere and layout == "kohya"):
        unread.add("diffusers")
    return unread


FLUX = FamilySpec(
    name="flux",
    title="FLUX.1-dev",
    long_title="FLUX",
    choice="FLUX.1-dev",
    model="loratui.engine.families.flux.model",
    objective="flow",
    parts=(
        PartSpec(
            "transformer", "denoiser", "diffusers.FluxTransformer2DModel", "FLUX transformer", networks=(FLUX_TRANSFORMER,)
        ),
        vae_part(
            "FLUX VAE (ae)",
            Source("black-forest-labs/FLUX.1-schnell", "ae.safetensors", "Apache-2.0", 335_304_388, gated=True),
            Source("black-forest-labs/FLUX.1-dev", "ae.safetensors", _DEV_LICENCE, 335_304_388, gated=True),
        ),
        replace(CLIP_L, pooled=True),
        PartSpec(
            "text_encoder_2",
            "text_encoder",
            "transformers.T5EncoderModel",
            "T5-XXL text encoder",
            networks=(T5,),
            sources=(
                Source(_ENCODERS, "t5xxl_fp16.safetensors", "Apache-2.0", 9_787_841_024),
                Source(_ENCODERS, "t5xxl_fp8_e4m3fn.safetensors", "Apache-2.0", 4_893_934_904),
            ),
            tokenizer="tokenizer_2",
            window=512,
        ),
        CLIP_TOKENIZER,
        PartSpec(
            "tokenizer_2",
            "tokenizer",
            "transformers.T5TokenizerFast",
            "T5 tokenizer",
            sources=(Source("google-t5/t5-base", "tokenizer.json", "Apache-2.0", 1_389_353),),
            patterns=T5_PATTERNS,
            is_tokenizer=is_t5_tokenizer,
        ),
        PartSpec("scheduler", "scheduler"),
    ),
    reads=lambda flux, _: {
        "text_encoder": flux["pooled"],
        "text_encoder_2": flux["context"],
        "vae": flux["inputs"] // 4,
    },
    pipelines=("FluxPipeline", "FluxImg2ImgPipeline"),
    other_pipelines={
        "FluxKontextPipeline": ("FLUX.1 Kontext, which edits images", "base_instruct"),
        "FluxKontextInpaintPipeline": ("FLUX.1 Kontext, which edits images", "base_instruct"),
        "FluxFillPipeline": ("FLUX.1 Fill, which also takes a mask", "base_inpainting"),
        "FluxControlPipeline": ("a FLUX.1 control model, which also takes edges or depth", "base_control"),
        "FluxPriorReduxPipeline": ("FLUX.1 Redux, an image adapter", "base_is_adapter"),
    },
    vae=VaeSpec(channels=16, patch=2, scaling=0.3611, shift=0.1159),
    text=TextSpec(reader="text_encoder_2"),
    embedded_guidance=True,
    highest_guidance=6.0,  # samples get worse above about 5; SD's usual 7 would be a slip
    fp16=False,
    native_px=(512, 1536),
    usual_rates=(2e-5, 4e-4),
    targets=TARGETS,
    lora=LoraSpec(
        original=original,
        readable=originals,
        peft_prefix="transformer",
        lycoris_prefix="lycoris_",
        layout="peft",
        unread_by=_unread_by,
        architecture="flux-1-dev/lora",
        base_version="flux1",
        implementation="https://github.com/black-forest-labs/flux",
        network_module="networks.lora_flux",
    ),
    layers=layers_in,
    blocks=("FluxTransformerBlock", "FluxSingleTransformerBlock"),
    fewest_layers={"num_layers": 1, "num_single_layers": 1},
    folders=("flux",),
    bundled=Path(__file__).parent / "bundled",
    # Measured on one H200 at a time, torch 2.11, on bases of true shapes with random weights: docs/performance.md.
    figures=FamilyFigures(
        resolution=1024,
        text_tokens=512,
        weights_gib=22.17,
        block_share=0.994,
        largest_block_gib=0.633,
        text_encoders_gib=0.46,
        reading_gib=9.6,
        kept=ImageMemory(0.2, 39.4),
        again=ImageMemory(0.2, 3.15),
        kept_time=StepTime(0.30, 0.23, 0.40),
        again_time=StepTime(0.45, 0.33, 1.21),
        compiled_share=0.33,
        fp8_time=0.83,
        measured_batches=(1,),
        ram_gib=(11.1, 16.0),
        load_s=(30.0, 80.0),
        guidance_passes=1,
        text_bytes=512 * 4096 * 2,
        latent_bytes_per_px=2 * 16 * 4 / 64,
        download_bytes=34_000_000_000,
    ),
    bases=(
        Source("black-forest-labs/FLUX.1-dev", "", _DEV_LICENCE, 33_740_000_000, gated=True),
        Source("ashen0209/Flux-Dev2Pro", "", _DEV_LICENCE, 23_800_000_000),
    ),
    elsewhere=Elsewhere(
        names={
            "kohya_ss": ("flux1_checkbox",),
            "sd-scripts": ("flux_train_network.py", "networks.lora_flux"),
            "model_type": ("flux",),
            "onetrainer": ("FLUX_DEV_1",),
            "ai-toolkit": ("flux", "is_flux"),
            "simpletuner": ("flux",),
            "on-site": ("flux", "flux_dev"),
        },
        in_names=r"flux",
        own_keys=("clip_l", "t5xxl", "ae", "timestep_sampling"),
        layers={
            "onetrainer": {"attn-only": "attention", "blocks": "sd-scripts", "full": "all"},
            "simpletuner": {"all": "attention", "all+ffs": "attention+ff", "ai-toolkit": "sd-scripts"},
        },
        near_layers={
            "onetrainer": {
                "attn-mlp": (
                    "attention+ff",
                    "loratui's attention+ff also has the text stream's feed-forward layers and the single blocks' ends.",
                )
            },
        },
        usual_layers={"ai-toolkit": "sd-scripts", "simpletuner": "attention"},
        part="transformer",
        flavours={"dev": "black-forest-labs/FLUX.1-dev", "schnell": "black-forest-labs/FLUX.1-schnell"},
    ),
    default_preset="flux-identity-18img",
    demo_preset="demo:flux",
    licence=(
        "FLUX.1-dev is for non-commercial use, and so is a LoRA trained on it. If your base is another FLUX, its page says."
    ),
    licences={"schnell": "FLUX.1-schnell is under Apache 2.0."},
)
