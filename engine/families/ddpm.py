"""DDPM noise and its sampling, which SD1.5 and SDXL share: x_t = √ᾱ_t·x₀ + √(1−ᾱ_t)·ε over 1000 steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from loratui.engine.errors import UsageError
from loratui.engine.families.model import NoisyInput, Prediction, SamplePlan, first_noise
from loratui.engine.families.parts import on_device
from loratui.presets.schema import Base

STORED: Mapping[str, Prediction] = {"epsilon": "epsilon", "v_prediction": "v"}
"""Prediction types as schedule files name them."""

ZERO_SNR_RESCALE = 0.7
"""Share by which guided predictions are rescaled to the spread of unguided ones, where the schedule ends in pure noise.
Source: Lin et al., "Common Diffusion Noise Schedules and Sample Steps are Flawed", 2023, §3.4."""

Denoise = Callable[[Tensor, Tensor], Tensor]
"""(2B, C, …, h, w) input and (2B,) timesteps -> prediction; the first half is for the negative prompts."""


class Diffusion:
    """The schedule of one base, and what its denoiser predicts."""

    def __init__(
        self,
        config: Mapping[str, Any],
        base: Base,
        *,
        prediction: Literal["epsilon", "v"] | None = None,
        zero_terminal_snr: bool = False,
    ) -> None:
        """`config` is the base's schedule; its other files and the recipe override it. Raises `UsageError` for another prediction."""
        from diffusers import DDPMScheduler

        named = str(config.get("prediction_type", "epsilon"))
        chosen = (prediction or STORED.get(named)) if base.prediction == "auto" else base.prediction
        if chosen is None:
            raise UsageError(f"The base predicts {named!r}, which cannot be trained.")
        self.prediction: Prediction = chosen
        told = zero_terminal_snr or bool(config.get("rescale_betas_zero_snr"))
        self.zero_terminal_snr = told if base.zero_terminal_snr == "auto" else base.zero_terminal_snr == "on"
        own = dict(config) | {
            "prediction_type": next(k for k, v in STORED.items() if v == chosen),
            "rescale_betas_zero_snr": self.zero_terminal_snr,
        }
        scheduler = DDPMScheduler.from_config({k: v for k, v in own.items() if k != "_class_name"})
        self._alphas_cumprod = scheduler.alphas_cumprod.double()
        # Samples must start as the base was trained: only trailing steps reach the last timestep, pure noise.
        self._config = dict(scheduler.config) | ({"timestep_spacing": "trailing"} if self.zero_terminal_snr else {})
        if chosen == "epsilon" and float(self._alphas_cumprod[-1]) == 0.0:
            raise UsageError(
                "The base's schedule ends in pure noise (zero terminal SNR), from which noise cannot be predicted.",
                "Set base.prediction to v, if it is a v-prediction model; else set base.zero_terminal_snr to off.",
            )

    def add_noise(self, latents: Tensor, noise: Tensor, uniform: Tensor) -> NoisyInput:
        """t = ⌊1000·u⌋; the target is ε, or v = √ᾱ·ε − √(1−ᾱ)·x₀.

        Sources: Ho et al., "Denoising Diffusion Probabilistic Models", 2020; Salimans and Ho, "Progressive Distillation", 2022.
        """
        steps = len(self._alphas_cumprod)
        timesteps = (uniform.double().cpu() * steps).long().clamp(max=steps - 1)
        kept = self._alphas_cumprod[timesteps]
        shape = (-1, *(1 for _ in latents.shape[1:]))
        signal = on_device(kept.sqrt().float().view(shape), latents.device)
        spread = on_device((1 - kept).sqrt().float().view(shape), latents.device)
        target = noise if self.prediction == "epsilon" else signal * noise - spread * latents
        snr = on_device((kept / (1 - kept)).float(), latents.device)
        timesteps = on_device(timesteps, latents.device)
        return NoisyInput(signal * latents + spread * noise, timesteps, target, timesteps.float() / steps, snr)

    @torch.no_grad()
    def sample(
        self,
        plans: Sequence[SamplePlan],
        shape: tuple[int, ...],
        device: torch.device,
        denoise: Denoise,
        on_step: Callable[[int, int], None],
    ) -> Tensor:
        """(B, C, …, h, w) latents of B plans of one kind, each of `shape` (1, C, …, h, w), by DPM-Solver++ 2M with classifier-free
        guidance.

        `denoise` gets all negative halves, then all positive ones; without guidance, only these.
        """
        from diffusers import DPMSolverMultistepScheduler

        # A separate scheduler: set_timesteps would shrink the table that training draws from.
        scheduler = DPMSolverMultistepScheduler.from_config(self._config)
        steps, guidance = plans[0].steps, plans[0].guidance
        scheduler.set_timesteps(steps)
        latents = (first_noise(plans, shape) * scheduler.init_noise_sigma).to(device)
        copies = 1 if guidance == 1.0 else 2
        for done, timestep in enumerate(scheduler.timesteps, 1):
            latent_model_input = scheduler.scale_model_input(torch.cat([latents] * copies), timestep)
            prediction = denoise(latent_model_input, timestep.expand(len(latent_model_input)).to(device)).float()
            if copies == 2:
                negative, positive = prediction.chunk(2)
                prediction = self._guided(negative, positive, guidance)
            latents = scheduler.step(prediction, timestep, latents).prev_sample
            on_step(done, steps)
        assert isinstance(latents, Tensor)
        return latents

    def _guided(self, negative: Tensor, positive: Tensor, guidance: float) -> Tensor:
        guided = negative + guidance * (positive - negative)
        if not self.zero_terminal_snr:
            return guided
        dimensions = tuple(range(1, guided.dim()))
        spread = positive.std(dimensions, keepdim=True) / guided.std(dimensions, keepdim=True)
        return ZERO_SNR_RESCALE * guided * spread + (1 - ZERO_SNR_RESCALE) * guided
