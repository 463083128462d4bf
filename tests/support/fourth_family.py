"""A fourth family that no code knows: one Qwen text encoder, no CLIP, a shared VAE, ComfyUI's names in LoRA files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from loratui.engine.families.common.autoencoder_kl import AUTOENCODER_KL
from loratui.engine.families.common.text_networks import text_config_sizes
from loratui.engine.families.flux.spec import FLUX
from loratui.engine.families.lora import LoraSpec, Original
from loratui.engine.families.network import Config, Network, Sizes, Tensors, has, read, whole
from loratui.engine.families.spec import FamilySpec, Layer, PartSpec, Source, TextSpec, VaeSpec
from loratui.engine.findings import Finding

NAME: Any = "quartz"

WIDTH, TEXT, LAYERS = 48, 40, 3


def _refusals(tensors: Tensors, sizes: Sizes) -> Iterator[Finding]:
    del sizes
    if has(tensors, "control_layers."):
        yield Finding.of("base_control", problem="this is a control model.", remedy="")


TRANSFORMER = Network(
    name="quartz",
    signs=(("diffusers", "noise_refiner.0.attention.to_q.weight"),),
    sizes=read(
        width=(0, "all_x_embedder.weight"),
        layers=r"layers\.(\d+)\.",
        inputs=(1, "all_x_embedder.weight"),
        text=(1, "cap_embedder.weight"),
    ),
    config_sizes=lambda config: whole(width=config["dim"], layers=config["n_layers"]) if config else {},
    words={"width": "channels", "layers": "layers"},
    title=lambda _: "a Quartz transformer",
    elastic={"layers": "n_layers"},
    exact=True,
    refusals=_refusals,
)

QWEN = Network(
    name="qwen3",
    signs=(("diffusers", "model.layers.0.self_attn.q_norm.weight"),),
    sizes=read(
        width=(1, "model.embed_tokens.weight"),
        vocabulary=(0, "model.embed_tokens.weight"),
        layers=r"model\.layers\.(\d+)\.",
    ),
    config_sizes=text_config_sizes,
    words={"width": "wide", "vocabulary": "tokens", "layers": "layers"},
    title=lambda sizes: f"a Qwen3 text encoder of {sizes['layers']} layers",
)


def _layers(config: Config) -> Iterator[Layer]:
    for at in range(config["n_layers"]):
        for name in ("to_q", "to_k", "to_v", "to_out.0"):
            yield Layer(f"layers.{at}.attention.{name}", config["dim"], config["dim"])


def _originals(module: str) -> tuple[Original, ...]:
    """The makers fuse q, k and v."""
    layer, _, name = module.partition(".attention.")
    fused = ("to_q", "to_k", "to_v")
    if name in fused:
        return (Original(f"{layer}.attention.qkv", tuple(f"{layer}.attention.{one}" for one in fused), (1, 1, 1)),)
    return (Original(module.replace("to_out.0", "out"), (module,)),)


def fourth(folder: Path) -> FamilySpec:
    """The family, with its configurations below `folder`."""
    for part, config in {
        "transformer": {"dim": WIDTH, "n_layers": LAYERS},
        "vae": {"latent_channels": 16},
        "text_encoder": {"hidden_size": TEXT, "num_hidden_layers": 2, "vocab_size": 100},
        "scheduler": {"num_train_timesteps": 1000},
    }.items():
        (folder / part).mkdir(parents=True)
        name = "scheduler_config.json" if part == "scheduler" else "config.json"
        (folder / part / name).write_text(json.dumps(config))
    attention = (r"layers\.\d+\.attention\.to_(q|k|v|out\.0)",)
    return FamilySpec(
        name=NAME,
        blocks=("Block",),
        title="Quartz",
        long_title="Quartz Image",
        choice="Quartz",
        model="no.module.of.this.name",
        objective="flow",
        parts=(
            PartSpec("transformer", "denoiser", "x.Transformer", "Quartz transformer", networks=(TRANSFORMER,)),
            PartSpec("vae", "vae", "diffusers.AutoencoderKL", "Quartz VAE", networks=(AUTOENCODER_KL,)),
            PartSpec(
                "text_encoder",
                "text_encoder",
                "transformers.Qwen3Model",
                "Qwen3 text encoder",
                networks=(QWEN,),
                sources=(Source("quartz/image", "text_encoder/model.safetensors", "Apache-2.0", 8_000_000_000),),
                tokenizer="tokenizer",
                window=512,
            ),
            PartSpec(
                "tokenizer",
                "tokenizer",
                "transformers.Qwen2Tokenizer",
                "Qwen tokenizer",
                patterns=(r"[a-z]+",),
                is_tokenizer=lambda model: "<|im_start|>" in model["vocab"],
            ),
            PartSpec("scheduler", "scheduler"),
        ),
        claims=lambda sizes: sizes["text"] == TEXT,
        reads=lambda sizes, _: {"text_encoder": sizes["text"], "vae": sizes["inputs"] // 4},
        pipelines=("QuartzPipeline",),
        vae=VaeSpec(channels=16, patch=2, normalisation="per_channel", frames=True),
        text=TextSpec(reader="text_encoder"),
        native_px=(512, 1536),
        usual_rates=(2e-5, 4e-4),
        targets=dict.fromkeys(FLUX.targets, attention),
        lora=LoraSpec(
            original=lambda module: Original(module, (module,)),
            readable=_originals,
            peft_prefix="diffusion_model",
            layout="peft",
            unread_by=lambda adapter, layout, trains_text: {"automatic1111"},
            architecture="quartz/lora",
            base_version="quartz",
            implementation="https://example.org/quartz",
        ),
        layers=_layers,
        bundled=folder,
        figures=replace(FLUX.figures, weights_gib=12.0),
        bases=(Source("quartz/image", "", "Apache-2.0", 20_000_000_000),),
        default_preset="quartz-person",
        demo_preset="demo:quartz",
        licence="Quartz is under Apache 2.0.",
    )


def transformer(layers: int = LAYERS) -> dict[str, tuple[int, ...]]:
    """Tensors of its denoiser."""
    blocks = {
        f"{place}.attention.{name}.weight": (WIDTH, WIDTH)
        for place in ("noise_refiner.0", *(f"layers.{at}" for at in range(layers)))
        for name in ("to_q", "to_k", "to_v", "to_out.0")
    }
    return {"all_x_embedder.weight": (WIDTH, 64), "cap_embedder.weight": (WIDTH, TEXT), **blocks}


def qwen(width: int = TEXT) -> dict[str, tuple[int, ...]]:
    """Tensors of its text encoder."""
    layers = {f"model.layers.{at}.self_attn.q_norm.weight": (8,) for at in range(2)}
    return {"model.embed_tokens.weight": (100, width), **layers}
