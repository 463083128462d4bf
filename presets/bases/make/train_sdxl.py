"""Trains the embedded base of SDXL's shape: the UNet with both text encoders, on the latents of SD1.5's base."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from loratui.presets.bases.make.gpu import as_shipped, count_parameters, log, mixed
from loratui.presets.bases.make.loop import BatchSchedule, train
from loratui.presets.bases.make.train_unet import BETAS, TIMESTEPS
from loratui.presets.bases.make.train_vae import scale_latents
from loratui.presets.bases.make.vocabulary import TOKENS, forget_padding

SCALING = 0.13025
"""SDXL's factor between the autoencoder's latents and the UNet's."""

PAD_2 = 0
"""What SDXL fills its second encoder's tokens with after the end mark."""

_MIN_SNR = 5.0
_NOISE_OFFSET = 0.07
_EMPTY, _ZEROS = 0.06, 0.06
"""Shares of captions that become the empty one, and of text states that become zeros, as SDXL's negative prompt is."""

_USUAL_SIZE = 0.5
_PIXELS = 128


def new_text_encoders(tokenizer: Any) -> tuple[Any, Any]:
    """`CLIPTextModel` and `CLIPTextModelWithProjection`.

    The second has ten layers, however narrow: programs know an SDXL file by a key of that layer.
    """
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    shared = {
        "vocab_size": len(tokenizer),
        "max_position_embeddings": TOKENS,
        "num_attention_heads": 4,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    first = CLIPTextConfig(
        hidden_size=96, intermediate_size=288, num_hidden_layers=3, hidden_act="quick_gelu", projection_dim=96,
        pad_token_id=tokenizer.pad_token_id, **shared,
    )  # fmt: skip
    second = CLIPTextConfig(
        hidden_size=64, intermediate_size=192, num_hidden_layers=10, hidden_act="gelu", projection_dim=64,
        pad_token_id=PAD_2, **shared,
    )  # fmt: skip
    return CLIPTextModel(first), CLIPTextModelWithProjection(second)


def new_unet() -> Any:
    """A `UNet2DConditionModel` with SDXL's levels and layers: no attention in the first, most transformer blocks in the last."""
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        sample_size=32,
        in_channels=4,
        out_channels=4,
        layers_per_block=2,
        cross_attention_dim=96 + 64,
        attention_head_dim=[2, 4, 4],
        norm_num_groups=16,
        block_out_channels=(48, 64, 64),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=[1, 1, 2],
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=32,
        projection_class_embeddings_input_dim=64 + 6 * 32,
    )


def rescaled_vae(folder: Path) -> Any:
    """The autoencoder in `folder` with its latents made larger, so that SDXL's factor fits them; images stay the same."""
    from diffusers import AutoencoderKL

    vae = AutoencoderKL.from_pretrained(folder, local_files_only=True)
    scale_latents(vae, vae.config.scaling_factor / SCALING)
    vae.register_to_config(scaling_factor=SCALING, _name_or_path="sdxl")
    return as_shipped(vae).eval().requires_grad_(False)


def text_states(first: Any, second: Any, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """States (n, 77, 160) and pooled text (n, 64) of tokens padded with the end mark.

    States are each encoder's last but one, without the last norm; the second encoder's padding is 0.
    """
    ended = (tokens == first.config.eos_token_id).cumsum(1) > 1
    a = first(tokens, output_hidden_states=True)
    b = second(tokens.masked_fill(ended, PAD_2), output_hidden_states=True)
    return torch.cat([a.hidden_states[-2], b.hidden_states[-2]], -1), b.text_embeds


def invent_sizes(count: int, device: torch.device) -> Tensor:
    """Original height and width, crop top and left, target height and width in pixels, shape (n, 6).

    Half the time the usual ones, else any: the base must not fall apart at sizes of other images.
    """
    original = (torch.rand(count, 2, device=device) * 5 + 6).exp2()
    crop = torch.rand(count, 2, device=device) * 64
    target = torch.full((count, 2), float(_PIXELS), device=device)
    usual = torch.cat([target, torch.zeros_like(target), target], 1)
    odd = torch.cat([original, crop, target], 1).round()
    return torch.where(torch.rand(count, 1, device=device) < _USUAL_SIZE, usual, odd)


def train_sdxl(
    latents: Tensor, texts: Tensor, tokenizer: Any, course: BatchSchedule, batch: int, ready: Callable[[], None]
) -> tuple[Any, Any, Any]:
    """Train on scaled latents (n, 4, 32, 32) and the tokens of n · k captions and last the empty one (n · k + 1, 77).

    `ready` fills both once the first step is compiled. Loss as SD1.5's base. Returns UNet, first and second text encoder.
    """
    device = latents.device
    unet = new_unet().to(device, memory_format=torch.channels_last)
    first, second = (m.to(device) for m in new_text_encoders(tokenizer))
    log("UNet:", count_parameters(unet), "text encoders:", count_parameters(first), count_parameters(second))
    predict = torch.compile(unet) if device.type == "cuda" and course.graph else unet
    betas = torch.linspace(BETAS[0] ** 0.5, BETAS[1] ** 0.5, TIMESTEPS) ** 2
    kept = torch.cumprod(1 - betas, 0).to(device)
    signal, noise_level, snr = kept.sqrt(), (1 - kept).sqrt(), kept / (1 - kept)
    weight = snr.clamp(max=_MIN_SNR) / snr

    captions = len(texts) // len(latents)

    def loss() -> Tensor:
        rows = torch.randint(len(latents), (batch,), device=device)
        which = rows * captions + torch.randint(captions, (batch,), device=device)
        chance = torch.rand(batch, device=device)
        clean, tokens = latents[rows], texts[torch.where(chance < _EMPTY, len(texts) - 1, which)]
        said = (chance > _EMPTY + _ZEROS).float().unsqueeze(1)
        noise = torch.randn_like(clean) + _NOISE_OFFSET * torch.randn(batch, 4, 1, 1, device=device)
        t = torch.randint(TIMESTEPS, (batch,), device=device)
        noisy = signal[t].view(-1, 1, 1, 1) * clean + noise_level[t].view(-1, 1, 1, 1) * noise
        with mixed(device):
            states, pooled = text_states(first, second, tokens)
            added = {"text_embeds": pooled * said, "time_ids": invent_sizes(batch, device)}
            guess = predict(noisy, t, states * said.unsqueeze(-1), added_cond_kwargs=added, return_dict=False)[0]
        error: Tensor = (guess.float() - noise).pow(2).mean((1, 2, 3))
        return (error * weight[t]).mean()

    train(dataclasses.replace(course, name="UNet"), [p for m in (unet, first, second) for p in m.parameters()], loss, ready)
    unet, first, second = (as_shipped(m).eval().requires_grad_(False) for m in (unet, first, second))
    return unet, first, second


def save_sdxl(base: Path, vae: Any, unet: Any, first: Any, second: Any, tokenizer: Any) -> None:
    """Write the diffusers folder as fp16, with SDXL's scheduler and its second tokenizer, which pads with token 0."""
    from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline
    from transformers import CLIPTokenizer

    scheduler = EulerDiscreteScheduler(
        num_train_timesteps=TIMESTEPS,
        beta_start=BETAS[0],
        beta_end=BETAS[1],
        beta_schedule="scaled_linear",
        prediction_type="epsilon",
        timestep_spacing="leading",
        steps_offset=1,
    )
    tokenizer.save_pretrained(base / "tokenizer")
    second_tokenizer = CLIPTokenizer.from_pretrained(
        base / "tokenizer", local_files_only=True, pad_token=tokenizer.convert_ids_to_tokens(PAD_2)
    )
    StableDiffusionXLPipeline(
        vae=vae.half(),
        text_encoder=first.half(),
        text_encoder_2=second.half(),
        tokenizer=tokenizer,
        tokenizer_2=second_tokenizer,
        unet=unet.half(),
        scheduler=scheduler,
        force_zeros_for_empty_prompt=True,
        add_watermarker=False,
    ).save_pretrained(base)
    for name in ("tokenizer", "tokenizer_2"):
        forget_padding(base / name)
    for module in (vae, first, second, unet):
        as_shipped(module)
