"""The families whose denoiser is a UNet with DDPM noise: SD1.5 and SDXL."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from loratui.engine.errors import UsageError
from loratui.engine.families import clip, loading
from loratui.engine.families.common.clip import CLIP_L
from loratui.engine.families.ddpm import Diffusion
from loratui.engine.families.diffusers_model import DiffusersModel
from loratui.engine.families.model import Joiner, NoisyInput, PromptEmbeds, SamplePlan, SizeConditioning
from loratui.engine.families.parts import on_device


class UNetModel(DiffusersModel):
    """A base with a UNet. The families differ in what the UNet reads of a caption and an image."""

    def _read_configs(self) -> None:
        files = self._files
        self._diffusion = Diffusion(
            loading.scheduler_config(files),
            self._settings.base,
            prediction=files.prediction,
            zero_terminal_snr=files.zero_terminal_snr,
        )
        self.prediction = self._diffusion.prediction

    def _check_denoiser(self, denoiser: Any) -> None:
        if denoiser.config.in_channels != self.spec.vae.channels:
            raise UsageError(
                f"This UNet takes {denoiser.config.in_channels} channels: it is an inpainting model.",
                "Choose the ordinary text-to-image version of the same base.",
            )

    def empty_texts(self) -> PromptEmbeds:
        config: Any = self.denoiser.config
        return PromptEmbeds({"states": torch.zeros(CLIP_L.window, config.cross_attention_dim)}, 0)

    @staticmethod
    def join_projections(block: nn.Module, joiner: Joiner) -> None:
        from diffusers.models.attention_processor import Attention, FusedAttnProcessor2_0

        for attention in (module for module in block.modules() if isinstance(module, Attention)):
            crosses = attention.is_cross_attention
            layers = [attention.to_k, attention.to_v] if crosses else [attention.to_q, attention.to_k, attention.to_v]
            for made in joiner.joined(layers):
                setattr(attention, "to_kv" if crosses else "to_qkv", made)
                attention.set_processor(FusedAttnProcessor2_0())

    def add_noise(self, latents: Tensor, noise: Tensor, uniform: Tensor) -> NoisyInput:
        return self._diffusion.add_noise(latents, noise, uniform)

    def text_conditioning(self, embeds: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """`states` (B, tokens, width)."""
        return {"states": on_device(clip.of_equal_length([one["states"] for one in embeds]), self.device)}

    def predict(self, noisy_model_input: Tensor, timesteps: Tensor, conditioning: Mapping[str, Tensor]) -> Tensor:
        unet = self.denoiser
        dtype = next(unet.parameters()).dtype
        added = {name: value for name, value in conditioning.items() if name != "states"}
        output: Tensor = unet(
            noisy_model_input.to(dtype),
            timesteps,
            conditioning["states"].to(dtype),
            added_cond_kwargs=added or None,
            return_dict=False,
        )[0]
        return output

    @torch.no_grad()
    def sample_together(self, plans: Sequence[SamplePlan], on_step: Callable[[int, int], None]) -> list[Tensor]:
        one = plans[0]
        negative = list(map(self._negative, plans)) if one.guidance != 1.0 else []
        text = [*negative, *(plan.prompt_embeds for plan in plans)]
        sizes = [SizeConditioning.whole(one.width, one.height)] * len(text)
        conditioning = self.conditioning(text, sizes)

        def denoise(latent_model_input: Tensor, timesteps: Tensor) -> Tensor:
            with self._sampling():
                return self.predict(latent_model_input, timesteps, conditioning)

        shape = self._latent_shape(one.width, one.height)
        latents = self._diffusion.sample(plans, shape, self.device, denoise, on_step)
        return [self.decode_image(each) for each in latents]

    def _negative(self, plan: SamplePlan) -> PromptEmbeds:
        return plan.negative_prompt_embeds
