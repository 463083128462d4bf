"""Trains the base's UNet together with its text encoder: epsilon prediction on latents of drawn portraits."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from loratui.presets.bases.make.gpu import adamw, as_shipped, capture, cosine, count_parameters, log, mixed, settle
from loratui.presets.bases.make.vocabulary import TOKENS

BETAS = (0.00085, 0.012)
"""First and last beta of Stable Diffusion 1.5's noise schedule (scaled linear)."""

TIMESTEPS = 1000

_LEARNING_RATE = 1.2e-3
_MIN_SNR = 5.0
_NOISE_OFFSET = 0.07
_CAPTION_DROPOUT = 0.1
_AVERAGE = 0.999


def new_text_encoder(tokenizer: Any) -> Any:
    """A `CLIPTextModel` of three narrow layers."""
    from transformers import CLIPTextConfig, CLIPTextModel

    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=128,
            intermediate_size=384,
            num_hidden_layers=3,
            num_attention_heads=4,
            max_position_embeddings=TOKENS,
            hidden_act="quick_gelu",
            projection_dim=128,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def new_unet() -> Any:
    """A `UNet2DConditionModel` with Stable Diffusion 1.5's blocks, three levels instead of four."""
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        sample_size=32,
        in_channels=4,
        out_channels=4,
        layers_per_block=1,
        cross_attention_dim=128,
        attention_head_dim=4,
        norm_num_groups=16,
        block_out_channels=(64, 96, 96),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    )


def train_unet(latents: Tensor, texts: Tensor, empty: Tensor, tokenizer: Any, *, steps: int, batch: int) -> tuple[Any, Any]:
    """Train on scaled latents (n, 4, 32, 32) and the tokens of their captions (n, captions, 77); `empty` are those of "".

    Loss weighted by min-SNR with gamma 5 (Hang et al. 2023, for epsilon: min(SNR, 5) / SNR), offset noise, a tenth of the
    captions dropped for guidance; the result is a running average of the weights. Returns UNet and text encoder.
    """
    device = latents.device
    unet = new_unet().to(device, memory_format=torch.channels_last)
    text_encoder = new_text_encoder(tokenizer).to(device)
    log("UNet:", count_parameters(unet), "parameters; text encoder:", count_parameters(text_encoder))
    predict = torch.compile(unet) if device.type == "cuda" else unet
    betas = torch.linspace(BETAS[0] ** 0.5, BETAS[1] ** 0.5, TIMESTEPS) ** 2
    kept = torch.cumprod(1 - betas, 0).to(device)
    signal, noise_level, snr = kept.sqrt(), (1 - kept).sqrt(), kept / (1 - kept)
    weight = snr.clamp(max=_MIN_SNR) / snr
    parameters = [*unet.parameters(), *text_encoder.parameters()]
    average = [p.detach().clone() for p in parameters]
    keep = torch.tensor(0.0, device=device)
    rate = torch.tensor(0.0, device=device)
    optimizer = adamw(parameters, rate, weight_decay=1e-2)
    shown = torch.zeros((), device=device)

    def step() -> None:
        rows = torch.randint(len(latents), (batch,), device=device)
        clean, tokens = latents[rows], texts[rows, torch.randint(texts.shape[1], (batch,), device=device)]
        dropped = torch.rand(batch, 1, device=device) < _CAPTION_DROPOUT
        tokens = torch.where(dropped, empty, tokens)
        noise = torch.randn_like(clean) + _NOISE_OFFSET * torch.randn(batch, 4, 1, 1, device=device)
        t = torch.randint(TIMESTEPS, (batch,), device=device)
        noisy = signal[t].view(-1, 1, 1, 1) * clean + noise_level[t].view(-1, 1, 1, 1) * noise
        with mixed(device):
            guess = predict(noisy, t, text_encoder(tokens).last_hidden_state, return_dict=False)[0]
        loss = ((guess.float() - noise).pow(2).mean((1, 2, 3)) * weight[t]).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0, foreach=device.type == "cuda")
        optimizer.step()
        optimizer.zero_grad(set_to_none=False)
        with torch.no_grad():
            torch._foreach_mul_(average, keep)
            torch._foreach_add_(average, torch._foreach_mul([p.detach() for p in parameters], 1 - keep))
            shown.lerp_(loss.detach(), 0.02)

    run = capture(step, device)
    log("UNet: first steps done")
    for k in range(steps):
        rate.fill_(_LEARNING_RATE * cosine(k, steps, 400))
        keep.fill_(min(_AVERAGE, (1 + k) / (10 + k)))
        run()
        if k % 20 == 0:
            settle(device)
        if (k + 1) % max(1, steps // 12) == 0:
            log(f"UNet {k + 1}/{steps}, loss {shown.item():.5f}")
    with torch.no_grad():
        for parameter, mean in zip(parameters, average, strict=True):
            parameter.copy_(mean)
    frozen = [as_shipped(m).eval().requires_grad_(False) for m in (unet, text_encoder)]
    return frozen[0], frozen[1]
